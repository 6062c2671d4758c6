import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { Bitfield } from '../piece/bitfield.ts';
import type { StoredTask } from '../store/piece-store.ts';
import { TaskReaders } from './task-readers.ts';

const PIECES = 100;

/** Readers of 100 pieces of 10 bytes. */
function started(): { readers: TaskReaders; had: Bitfield; clock: ManualClock } {
  const had = new Bitfield(PIECES);
  const clock = new ManualClock();
  const stored = { pieces: had, pieceLength: 10 } as unknown as StoredTask;
  return { readers: new TaskReaders(stored, clock), had, clock };
}

test('TaskReaders.windows() begin at the first piece that each reader lacks', (t) => {
  const { readers, had } = started();
  t.deepEqual(readers.windows(), []);
  using first = readers.add({ start: 25 });
  using _second = readers.add({ start: 500, end: 520 });
  t.deepEqual(readers.windows(), [
    { first: 2, pieces: 16 },
    { first: 50, pieces: 16 },
  ]);
  for (const piece of [2, 3, 5, 50, 51]) had.set(piece);
  // However slowly he reads; and who has all he wants needs nothing.
  t.deepEqual(readers.windows(), [{ first: 4, pieces: 16 }]);
  had.clear(3);
  readers.lost();
  t.is(readers.windows()[0]?.first, 3);
  first.moveTo(45);
  t.is(readers.windows()[0]?.first, 4);
  first[Symbol.dispose]();
  t.deepEqual(readers.windows(), []);
});

test('TaskReaders.windows() are as long as what comes in within a second, and never many', (t) => {
  const { readers, clock } = started();
  for (let start = 0; start < 200; start += 10) readers.add({ start });
  t.is(readers.windows().length, 8);
  for (let piece = 0; piece < 40; piece += 1) readers.had();
  t.is(readers.windows()[0]?.pieces, 40);
  clock.advance(2_000);
  readers.had();
  clock.advance(1_000);
  readers.had();
  t.is(readers.windows()[0]?.pieces, 16);
});

test('TaskReaders begins where somebody is expected, until he comes', (t) => {
  const { readers } = started();
  readers.expect(77);
  t.is(readers.windows()[0]?.first, 7);
  using _reader = readers.add({ start: 300 });
  t.deepEqual(
    readers.windows().map(({ first }) => first),
    [30],
  );
});

test('TaskReaders tells of news who listens', (t) => {
  const { readers } = started();
  let news = 0;
  const stop = readers.listen(() => (news += 1));
  readers.had();
  readers.news();
  t.is(news, 2);
  stop();
  readers.had();
  t.is(news, 2);
});
