import test from 'ava';
import { CodedError } from '../core/base/error.ts';
import { silentLog } from '../core/base/log.ts';
import type { DownloadEvent, DownloadRequest } from '../core/swarm/download-events.ts';
import { DownloadTally } from './download-tally.ts';

const request: DownloadRequest = { url: 'http://o/x?s3cret' };
const started: DownloadEvent = { type: 'started', task: 'a', url: request.url };
const done: Extract<DownloadEvent, { type: 'done' }> = {
  type: 'done',
  task: 'a',
  version: 'v',
  length: 10,
  seconds: 2,
  duplicate: 0,
  fromPeers: 1,
  fromSeed: 2,
  fromOrigin: 3,
  fromCache: 4,
  explain: {
    sources: [
      { source: 'p', role: 'peer', pieces: 1, bytes: 1, wrongPieces: 2, failures: 0 },
      { source: 'origin', role: 'origin', pieces: 1, bytes: 1, wrongPieces: 1, failures: 0 },
    ],
    waits: [],
    notes: [],
  },
};

async function collect(events: AsyncIterable<DownloadEvent>): Promise<DownloadEvent[]> {
  const all: DownloadEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

async function* told(...events: DownloadEvent[]): AsyncGenerator<DownloadEvent> {
  yield* events;
}

test('DownloadTally counts sources, results and wrong pieces, and passes events on', async (t) => {
  const tally = new DownloadTally(silentLog);
  const { explain: _explain, ...plain } = done;
  t.deepEqual(await collect(tally.count(request, () => told(started, done))), [started, plain]);
  const failed: DownloadEvent = { type: 'failed', ...new CodedError('ERR_URL', 'x').toObject() };
  t.deepEqual(await collect(tally.count(request, () => told(failed))), [failed]);
  t.deepEqual(
    [...tally.results],
    [
      ['done', 1],
      ['ERR_URL', 1],
    ],
  );
  t.is(tally.done, 1);
  t.is(tally.failed, 1);
  t.is(tally.seconds, 2);
  t.deepEqual(tally.bytes, { fromPeers: 1, fromSeed: 2, fromOrigin: 3, fromCache: 4 });
  t.deepEqual(tally.wrongPieces, { peer: 2, seed: 0, origin: 1 });
});

test('DownloadTally leaves the explanation to who asked for it', async (t) => {
  const tally = new DownloadTally(silentLog);
  const asked: DownloadRequest[] = [];
  const download = (wanted: DownloadRequest): AsyncIterable<DownloadEvent> => {
    asked.push(wanted);
    return told(done);
  };
  t.deepEqual(await collect(tally.count({ ...request, explain: true }, download)), [done]);
  await collect(tally.count(request, download));
  t.true(asked.every(({ explain }) => explain === true));
});

test('DownloadTally counts a download whose caller left, and one that broke', async (t) => {
  const tally = new DownloadTally(silentLog);
  for await (const event of tally.count(request, () => told(started, done))) {
    t.is(event.type, 'started');
    break;
  }
  const broken = tally.count(request, () => ({
    [Symbol.asyncIterator]: () => ({ next: async () => Promise.reject(new Error('boom')) }),
  }));
  await t.throwsAsync(collect(broken), { message: 'boom' });
  t.deepEqual(
    [...tally.results],
    [
      ['ERR_INTERRUPTED', 1],
      ['ERR_INTERNAL', 1],
    ],
  );
});
