import test from 'ava';
import * as fc from 'fast-check';
import { priorities } from '../base/priority.ts';
import type { Priority } from '../base/priority.ts';
import { Standing } from '../base/standing.ts';
import { FairLimiter } from './fair-limiter.ts';

/** Everybody who wants in, and the order in which they were. */
async function inOrder(limiter: FairLimiter, wants: readonly Priority[]): Promise<string[]> {
  const order: string[] = [];
  const first = await limiter.acquire();
  const all = wants.map(async (priority) => {
    using _slot = await limiter.acquire({ standing: new Standing(priority) });
    order.push(priority);
  });
  first[Symbol.dispose]();
  await Promise.all(all);
  return order;
}

test('FairLimiter admits by class: a release before what came first, and a warm-up before the last of them', async (t) => {
  const limiter = new FairLimiter({ mayEnter: (_priority, { all }) => all < 1, maxWaiting: 200 });
  const wants = [...Array<Priority>(3).fill('warm-up'), ...Array<Priority>(100).fill('release')];
  const order = await inOrder(limiter, wants);
  // The lightest has its first turn at once, as all who saved nothing and owe nothing.
  t.is(order.slice(0, 3).filter((name) => name === 'warm-up').length, 1);
  const second = order.indexOf('warm-up', order.indexOf('warm-up') + 1);
  t.true(second >= 60 && second <= 70, String(second));
});

test('FairLimiter: who is raised while he waits goes before those of his former class', async (t) => {
  const limiter = new FairLimiter({ mayEnter: (_priority, { all }) => all < 1, maxWaiting: 200 });
  const first = await limiter.acquire({ standing: new Standing('warm-up') });
  const order: number[] = [];
  const standings = Array.from({ length: 20 }, () => new Standing('warm-up'));
  const all = standings.map(async (standing, at) => {
    using _slot = await limiter.acquire({ standing });
    order.push(at);
  });
  standings[19]?.raise('release');
  first[Symbol.dispose]();
  await Promise.all(all);
  t.is(order[0], 19);
  t.is(limiter.waiting, 0);
});

test('FairLimiter keeps places for a class, and admits it there though others wait', async (t) => {
  const limiter = new FairLimiter({
    mayEnter: (priority, { all }) => all < (priority === 'release' ? 3 : 2),
    maxWaiting: 1,
  });
  const held = [await limiter.acquire(), await limiter.acquire()];
  const waiting = limiter.acquire();
  await t.throwsAsync(limiter.acquire(), { code: 'ERR_BUSY' });
  using _release = await limiter.acquire({ standing: new Standing('release') });
  t.is(limiter.active, 3);
  held[0]?.[Symbol.dispose]();
  t.is(limiter.waiting, 1);
  held[1]?.[Symbol.dispose]();
  (await waiting)[Symbol.dispose]();
  t.is(limiter.active, 1);
});

test('FairLimiter may leave a place free of a class, which still has its turns', async (t) => {
  const limiter = new FairLimiter({
    mayEnter: (priority, { all, own }) => all < 2 && (priority !== 'warm-up' || own < 1),
    maxWaiting: 9,
  });
  const warmUp = { standing: new Standing('warm-up') };
  const first = await limiter.acquire(warmUp);
  const second = limiter.acquire(warmUp);
  using normal = await limiter.acquire();
  t.deepEqual([limiter.active, limiter.waiting], [2, 1]);
  first[Symbol.dispose]();
  using _second = await second;
  t.is(limiter.active, 2);
  normal[Symbol.dispose]();
  t.is(limiter.active, 1);
});

test('FairLimiter never admits too many, and forgets nobody, whoever leaves the line when', async (t) => {
  const step = fc.record({
    priority: fc.constantFrom(...priorities),
    leaves: fc.boolean(),
    raised: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 4 }),
      async (steps, max) => {
        const limiter = new FairLimiter({
          mayEnter: (_priority, { all }) => all < max,
          maxWaiting: 100,
        });
        let most = 0;
        await Promise.allSettled(
          steps.map(async ({ priority, leaves, raised }) => {
            const controller = new AbortController();
            const standing = new Standing(priority);
            const asked = limiter.acquire({ standing, signal: controller.signal });
            if (raised) standing.raise('release');
            if (leaves) queueMicrotask(() => controller.abort(new Error('enough')));
            using _slot = await asked;
            most = Math.max(most, limiter.active);
            await new Promise((resolve) => setImmediate(resolve));
          }),
        );
        return most <= max && limiter.active === 0 && limiter.waiting === 0;
      },
    ),
  );
  t.pass();
});
