import { StreamState, YamuxStream } from '@chainsafe/libp2p-yamux/stream';
import type { Logger } from '@libp2p/interface';
import test from 'ava';
import { Uint8ArrayList } from 'uint8arraylist';
import { WINDOW_BYTES, grantInBulk } from './stream-window.ts';

const DATA = 0;
const WINDOW_UPDATE = 1;
const quiet: Logger = Object.assign(() => undefined, {
  enabled: false,
  error: () => undefined,
  trace: () => undefined,
  newScope: () => quiet,
});

/** A stream that was accepted, and what it granted the sender so far, one number for each frame. */
function accepted(): { stream: YamuxStream; grants: number[] } {
  const grants: number[] = [];
  const stream = new YamuxStream({
    id: '1',
    streamId: 1,
    direction: 'inbound',
    log: quiet,
    maxStreamWindowSize: WINDOW_BYTES,
    state: StreamState.SYNReceived,
    getRTT: () => -1,
    sendFrame: ({ type, length }) => {
      if (isWindowUpdate(type)) grants.push(length);
      return true;
    },
  });
  grantInBulk(stream);
  stream.addEventListener('message', () => undefined);
  return { stream, grants };
}

function isWindowUpdate(type: number): boolean {
  return type === WINDOW_UPDATE;
}

function receive(stream: YamuxStream, bytes: number): void {
  const data = new Uint8ArrayList(new Uint8Array(bytes));
  stream.handleData({ header: { type: DATA, flag: 0, streamID: 1, length: bytes }, data });
}

test('grantInBulk() answers the first chunk, which confirms the stream, and then one half window each', (t) => {
  const { stream, grants } = accepted();
  receive(stream, 100);
  t.deepEqual(grants, [100]);
  for (let sent = 0; sent < 4 * WINDOW_BYTES; sent += 1_024) receive(stream, 1_024);
  t.deepEqual(grants, [100, ...Array.from({ length: 8 }, () => WINDOW_BYTES / 2)]);
});

test('grantInBulk() grants a paused sender nothing, and all that was read when it goes on', (t) => {
  const { stream, grants } = accepted();
  receive(stream, 100);
  stream.pause();
  for (let sent = 0; sent < WINDOW_BYTES; sent += 1_024) receive(stream, 1_024);
  t.deepEqual(grants, [100]);
  stream.resume();
  t.deepEqual(grants, [100, WINDOW_BYTES]);
});
