import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { TestSeed } from '../../test/support/seed.ts';
import { KeptSeeds } from './kept-seeds.ts';
import type { SeedTask } from './seed-task.ts';

const SECOND = 1_000;
const content = { seed: 1, length: 300_000 };

/** What keeps seeds by a clock that the test moves; `wanted` are downloaded by hosts. */
function keeper(): {
  readonly clock: ManualClock;
  readonly kept: KeptSeeds;
  readonly wanted: Set<SeedTask>;
  readonly released: SeedTask[];
} {
  const clock = new ManualClock();
  const wanted = new Set<SeedTask>();
  const released: SeedTask[] = [];
  const kept = new KeptSeeds({
    clock,
    isInDemand: (seed) => wanted.has(seed),
    onReleased: (seed) => void released.push(seed),
  });
  return { clock, kept, wanted, released };
}

test('KeptSeeds keeps what was asked for a while, and as long as hosts download it', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content });
  const seed = await it.fetch('/f');
  await it.seeds.close();
  t.false(seed.stored.inUse);
  const { clock, kept, wanted, released } = keeper();
  t.is(kept.keep(seed), seed);
  clock.advance(4 * SECOND);
  t.true(kept.has(seed) && seed.stored.inUse, 'a moment');
  kept.keep(seed);
  clock.advance(4 * SECOND);
  t.true(kept.has(seed), 'asked for again');
  wanted.add(seed);
  clock.advance(60 * SECOND);
  t.true(kept.has(seed), 'in demand');
  wanted.delete(seed);
  clock.advance(SECOND);
  t.false(kept.has(seed) || seed.stored.inUse);
  t.deepEqual(released, [seed]);
});

test('KeptSeeds.releaseIdle() gives back at once what nobody downloads, and nothing else', async (t) => {
  await using it = await TestSeed.start();
  for (const path of ['/a', '/b']) it.origin.set(path, { content });
  it.origin.set('/c', { content: { ...content, length: 3_000_000 }, stall: { afterBytes: 1_000 } });
  const [idle, used] = [await it.fetch('/a'), await it.fetch('/b')];
  const fetching = await it.resolve('/c');
  const { kept, wanted } = keeper();
  for (const seed of [idle, used, fetching]) kept.keep(seed);
  wanted.add(used);
  kept.releaseIdle();
  t.deepEqual(
    [idle, used, fetching].map((seed) => kept.has(seed)),
    [false, true, true],
  );
});

test('KeptSeeds keeps nothing that failed', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content: { ...content, length: 3_000_000 }, stall: { afterBytes: 1_000 } });
  const seed = await it.resolve('/f');
  const { clock, kept, wanted, released } = keeper();
  kept.keep(seed);
  wanted.add(seed);
  await it.seeds.close();
  clock.advance(5 * SECOND);
  t.deepEqual(released, [seed]);
  t.is(kept.keep(seed), seed);
  t.false(kept.has(seed));
});

test('KeptSeeds[Symbol.asyncDispose]() ends what is being fetched and gives everything back', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content: { ...content, length: 3_000_000 }, stall: { afterBytes: 1_000 } });
  const seed = await it.resolve('/f');
  const { kept } = keeper();
  kept.keep(seed);
  await kept[Symbol.asyncDispose]();
  t.is(seed.failure?.code, 'ERR_INTERRUPTED');
  t.false(kept.has(seed));
});
