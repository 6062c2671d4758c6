import { Writable } from 'node:stream';
import test from 'ava';
import type { DownloadEvent } from '../../core/swarm/download-events.ts';
import { EventLines } from './event-lines.ts';
import { TASK, doneEvent, progressEvent } from './memory-host.contract.ts';

/** A stream whose reader reads when told. */
class Reader extends Writable {
  readonly seen: DownloadEvent[] = [];
  writes = 0;
  #resume: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 1024 });
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    this.writes += 1;
    const lines = String(chunk).trimEnd().split('\n');
    this.#resume = () => {
      this.seen.push(...lines.map((line) => JSON.parse(line) as DownloadEvent));
      callback();
    };
  }

  /** Reads until nothing is left. */
  async readAll(): Promise<void> {
    while (this.#resume !== undefined) {
      const resume = this.#resume;
      this.#resume = undefined;
      resume();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

const started: DownloadEvent = { type: 'started', task: TASK, url: 'http://o/' };

test('EventLines keeps only the last progress for a reader that stopped, and all of the rest', async (t) => {
  const reader = new Reader();
  const lines = new EventLines(reader);
  lines.send(started);
  for (let received = 1; received <= 100_000; received += 1) {
    lines.send(progressEvent(received));
    lines.send({ type: 'stalled', reason: `wait ${received}`, ms: received });
  }
  t.true(reader.writableLength < 2048, `${reader.writableLength} bytes wait`);
  await reader.readAll();
  t.deepEqual(reader.seen[0], started);
  t.deepEqual(reader.seen.slice(-2), [
    progressEvent(100_000),
    { type: 'stalled', reason: 'wait 100000', ms: 100_000 },
  ]);
  lines.send(progressEvent(100_001));
  await reader.readAll();
  t.deepEqual(reader.seen.at(-1), progressEvent(100_001));
});

test('EventLines writes the beginning with what follows in the same turn, and else at the end of the turn', async (t) => {
  const reader = new Reader();
  const lines = new EventLines(reader);
  lines.send(started);
  await Promise.resolve();
  t.is(reader.writes, 0);
  lines.send(doneEvent());
  lines.close();
  await reader.readAll();
  t.deepEqual(reader.seen, [started, doneEvent()]);
  t.is(reader.writes, 1);

  new EventLines(reader).send(started);
  await new Promise((resolve) => setImmediate(resolve));
  t.is(reader.writes, 2);
  const closed = new EventLines(reader);
  closed.send(started);
  closed.close();
  await reader.readAll();
  t.deepEqual(reader.seen.slice(2), [started, started]);
});

test('EventLines sends the end to a reader that stopped, and no news after it', async (t) => {
  const reader = new Reader();
  const lines = new EventLines(reader);
  lines.send(started);
  for (let received = 1; received <= 100; received += 1) lines.send(progressEvent(received));
  lines.send(doneEvent());
  lines.close();
  await reader.readAll();
  t.deepEqual(reader.seen.at(-1), doneEvent());
  t.false(reader.seen.some((event) => event.type === 'progress' && event.received === 100));
  t.is(reader.listenerCount('drain'), 0);
});

test('EventLines passes over a stream that is gone', (t) => {
  const reader = new Reader();
  const lines = new EventLines(reader);
  reader.destroy();
  t.notThrows(() => lines.send(doneEvent()));
});
