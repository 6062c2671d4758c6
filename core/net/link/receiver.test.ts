import test from 'ava';
import { encodeFrame, frameTypes } from './frame.ts';
import { FrameReader } from './frame-reader.ts';
import { Receiver } from './receiver.ts';

function fill(receiver: Receiver, bytes: Uint8Array): void {
  let rest = bytes;
  while (rest.length > 0) {
    const room = receiver.room();
    const part = rest.subarray(0, Math.min(room.length, 16_384));
    room.set(part);
    receiver.filled(part.length);
    rest = rest.subarray(part.length);
  }
}

test('Receiver always offers room, whatever is held, and loses no byte', (t) => {
  const parts: Buffer[] = [];
  const seen: number[] = [];
  const reader = new FrameReader({
    onFrame: (header) => seen.push(header.a),
    onData: (_header, _at, part) => parts.push(Buffer.from(part)),
  });
  const receiver = new Receiver(reader, (error) => t.fail(String(error)));
  const payload = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index % 251));
  const data = encodeFrame({ type: frameTypes.data }, payload);
  const ping = encodeFrame({ type: frameTypes.ping, a: 9 });
  for (const wantsLarge of [false, true]) {
    receiver.wantsLarge = wantsLarge;
    fill(receiver, Buffer.concat([ping.subarray(0, 5)]));
    fill(receiver, Buffer.concat([ping.subarray(5), data, ping, data.subarray(0, 70_000)]));
    fill(receiver, data.subarray(70_000));
  }
  t.deepEqual(Buffer.concat(parts), Buffer.concat([payload, payload, payload, payload]));
  t.deepEqual(seen, [9, 9, 9, 9]);
});

test('Receiver uses a small buffer until data is expected', (t) => {
  const reader = new FrameReader({ onFrame: () => undefined, onData: () => undefined });
  const receiver = new Receiver(reader, (error) => t.fail(String(error)));
  t.true(receiver.room().length <= 16_384);
  receiver.wantsLarge = true;
  t.true(receiver.room().length >= 131_072);
  receiver.wantsLarge = false;
  t.true(receiver.room().length <= 16_384);
});

test('Receiver lends its large buffer to the next link that expects data, and never to two', (t) => {
  const reader = new FrameReader({ onFrame: () => undefined, onData: () => undefined });
  const [one, other] = [1, 2].map(() => new Receiver(reader, (error) => t.fail(String(error))));
  if (one === undefined || other === undefined) return;
  one.wantsLarge = true;
  other.wantsLarge = true;
  const memory = one.room().buffer;
  t.not(other.room().buffer, memory);
  one.wantsLarge = false;
  one.room();
  other.wantsLarge = false;
  other.room();
  one.wantsLarge = true;
  other.wantsLarge = true;
  const again = [one.room().buffer, other.room().buffer];
  t.true(again.includes(memory));
  t.not(again[0], again[1]);
});

test('Receiver reports what a handler throws once, and parses nothing more', (t) => {
  const errors: unknown[] = [];
  let frames = 0;
  const reader = new FrameReader({
    onFrame: () => {
      frames += 1;
      throw new TypeError('a defect');
    },
    onData: () => undefined,
  });
  const receiver = new Receiver(reader, (error) => errors.push(error));
  const ping = encodeFrame({ type: frameTypes.ping });
  fill(receiver, Buffer.concat([ping, ping]));
  receiver.feed(ping);
  t.is(frames, 1);
  t.is(errors.length, 1);
});

test('Receiver drops what comes after stop()', (t) => {
  let frames = 0;
  const reader = new FrameReader({ onFrame: () => (frames += 1), onData: () => undefined });
  const receiver = new Receiver(reader, (error) => t.fail(String(error)));
  receiver.feed(encodeFrame({ type: frameTypes.ping }));
  receiver.stop();
  receiver.feed(encodeFrame({ type: frameTypes.ping }));
  fill(receiver, encodeFrame({ type: frameTypes.ping }));
  t.is(frames, 1);
});

test('Receiver.handOn() hands on a part of a payload that waits for more, and counts every byte', (t) => {
  const parts: [at: number, part: Buffer][] = [];
  const reader = new FrameReader({
    onFrame: () => undefined,
    onData: (_header, at, part) => parts.push([at, Buffer.from(part)]),
  });
  const receiver = new Receiver(reader, (error) => t.fail(String(error)));
  receiver.wantsLarge = true;
  const frame = encodeFrame({ type: frameTypes.data }, Buffer.from('slowly'));
  receiver.handOn();
  fill(receiver, frame.subarray(0, 18));
  t.deepEqual(parts, []);
  receiver.handOn();
  receiver.handOn();
  fill(receiver, frame.subarray(18, 19));
  receiver.feed(frame.subarray(19));
  t.deepEqual(parts, [
    [0, Buffer.from('sl')],
    [2, Buffer.from('owly')],
  ]);
  t.is(receiver.received, frame.length);
});
