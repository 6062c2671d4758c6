import test from 'ava';
import { assert, integer, property } from 'fast-check';
import { SeededRandom, SystemRandom, randomHex, randomName } from './random.ts';

function take(seed: number): number[] {
  const random = new SeededRandom(seed);
  return Array.from({ length: 8 }, () => random.next());
}

test('SeededRandom gives the same sequence for the same seed and another for another', (t) => {
  t.deepEqual(take(7), take(7));
  t.notDeepEqual(take(7), take(8));
});

test('Random.below() stays below, and comes to every number', (t) => {
  assert(
    property(integer(), integer({ min: 1, max: 20 }), (seed, below) => {
      for (const random of [new SeededRandom(seed), new SystemRandom()]) {
        const seen = new Set(Array.from({ length: below * 40 }, () => random.below(below)));
        t.true([...seen].every((value) => Number.isInteger(value) && value >= 0 && value < below));
        // The chance that one of 20 is missed by 800 tries is below 1e-16.
        t.is(seen.size, below);
      }
    }),
    { numRuns: 20 },
  );
});

test('SeededRandom.next() is even', (t) => {
  const random = new SeededRandom(1);
  const buckets = Array.from({ length: 10 }, () => 0);
  for (let draw = 0; draw < 10_000; draw += 1) {
    const bucket = random.below(10);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  t.true(
    buckets.every((count) => count > 850 && count < 1_150),
    buckets.join(' '),
  );
});

test('randomHex() has two digits a byte and does not repeat', (t) => {
  t.regex(randomHex(8), /^[0-9a-f]{16}$/);
  t.not(randomHex(8), randomHex(8));
});

test('randomName() gives sixteen hex digits, others each time', (t) => {
  const names = Array.from({ length: 1_000 }, () => randomName());
  t.true(names.every((name) => /^[0-9a-f]{16}$/.test(name)));
  t.is(new Set(names).size, names.length);
});
