import test from 'ava';
import { FRAME_HEADER_BYTES, MAX_INDEXES, frameTypes, readHeader } from './frame.ts';
import { parseIndexes, parseManifest } from './messages.ts';
import { Outbox } from './outbox.ts';

function drain(outbox: Outbox): { type: number; channel: number; payload: Buffer }[] {
  const frames: { type: number; channel: number; payload: Buffer }[] = [];
  for (let frame = outbox.next(); frame !== undefined; frame = outbox.next()) {
    const { type, channel } = readHeader(frame, 0);
    frames.push({ type, channel, payload: frame.subarray(FRAME_HEADER_BYTES) });
  }
  return frames;
}

test('Outbox sends the last word on each piece', (t) => {
  const outbox = new Outbox(3);
  outbox.announce([1, 2, 3], 'have');
  outbox.announce([2], 'unhave');
  outbox.announce([4], 'have');
  const frames = drain(outbox);
  const have = frames.filter(({ type }) => type === frameTypes.have);
  const unhave = frames.filter(({ type }) => type === frameTypes.unhave);
  t.deepEqual(
    have.flatMap(({ payload }) => parseIndexes(payload, 100)),
    [1, 3, 4],
  );
  t.deepEqual(
    unhave.flatMap(({ payload }) => parseIndexes(payload, 100)),
    [2],
  );
  t.true(frames.every(({ channel }) => channel === 3));
  t.is(outbox.next(), undefined);
});

test('Outbox splits what no frame can hold, and says when too much waits', (t) => {
  const outbox = new Outbox(1);
  const pieces = Array.from({ length: MAX_INDEXES + 5 }, (_, piece) => piece);
  t.true(outbox.announce(pieces, 'have'));
  const frames = drain(outbox);
  t.deepEqual(
    frames.flatMap(({ payload }) => parseIndexes(payload, 1_000_000)),
    pieces,
  );
  const many = Array.from({ length: 70_000 }, (_, piece) => piece);
  t.false(outbox.announce(many, 'have'));
});

test('Outbox passes each waiting manifest batch once, several a frame, and none that cannot be sent', (t) => {
  const outbox = new Outbox(1);
  const batches = Array.from(
    { length: 40 },
    (_, index) => `v1.manifest.${index}${'x'.repeat(5000)}`,
  );
  outbox.offer(batches);
  outbox.offer([...batches, 'not a batch', 'y'.repeat(2_000_000)]);
  const frames = drain(outbox);
  t.deepEqual(
    frames.flatMap(({ payload }) => parseManifest(payload)),
    batches,
  );
  t.true(frames.length > 1 && frames.length < batches.length);
});
