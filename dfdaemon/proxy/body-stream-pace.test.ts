import test from 'ava';
import { OriginTrials, Pace, isFaster, isSlow } from './body-stream-pace.ts';

const MIB = 1024 * 1024;

test('Pace counts only the time in which somebody waits, and judges when there was enough of it', (t) => {
  const pace = new Pace();
  t.is(pace.note(100 * MIB, 0), undefined);
  t.is(pace.note(0, 3_999), undefined);
  t.is(pace.note(4 * MIB, 1), 26 * MIB);
  // What came before does not count again.
  t.is(pace.note(MIB, 4_000), MIB / 4);
});

test('a mesh is slow below 1 MiB/s, and an origin has to be half as fast again', (t) => {
  t.true(isSlow(MIB - 1));
  t.false(isSlow(MIB));
  t.true(isFaster(151, 100));
  t.false(isFaster(150, 100));
});

test('OriginTrials lets one body try an origin a minute, unless that was faster', (t) => {
  const trials = new OriginTrials();
  t.true(trials.begin('http://a/1', 0));
  t.false(trials.begin('http://a/2', 59_999));
  t.true(trials.begin('http://b/1', 59_999));
  t.true(trials.begin('http://a/2', 60_000));
  trials.won('http://a/2');
  t.true(trials.begin('http://a/3', 60_001));
});

test('OriginTrials remembers 256 origins, those asked last', (t) => {
  const trials = new OriginTrials();
  for (let origin = 0; origin < 257; origin += 1) t.true(trials.begin(`http://o${origin}/`, 0));
  t.true(trials.begin('http://o0/', 1));
  t.false(trials.begin('http://o256/', 1));
});
