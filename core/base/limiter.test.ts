import test from 'ava';
import { assert, array, asyncProperty, constantFrom, integer } from 'fast-check';
import { getEventListeners } from 'node:events';
import { Limiter } from './limiter.ts';
import type { Slot } from './limiter.ts';

test('Limiter.acquire() admits as many as it may, and the others in their turn', async (t) => {
  const limiter = new Limiter({ max: 2, maxWaiting: 10 });
  const slots = [await limiter.acquire(), await limiter.acquire()];
  const order: number[] = [];
  const waiting = [1, 2, 3].map(async (number) => {
    const slot = await limiter.acquire();
    order.push(number);
    slot[Symbol.dispose]();
  });
  t.deepEqual([limiter.active, limiter.waiting], [2, 3]);
  slots[0]?.[Symbol.dispose]();
  await Promise.all(waiting);
  t.deepEqual(order, [1, 2, 3]);
  t.is(limiter.active, 1);
});

test('Limiter.acquire() refuses when too many wait already', async (t) => {
  const limiter = new Limiter({ max: 1, maxWaiting: 1 });
  const slot = await limiter.acquire();
  const waiting = limiter.acquire();
  await t.throwsAsync(limiter.acquire(), { code: 'ERR_BUSY' });
  slot[Symbol.dispose]();
  (await waiting)[Symbol.dispose]();
  t.is(limiter.active, 0);
});

test('Limiter.acquire() leaves the line when its signal aborts, and the signal when it was its turn', async (t) => {
  const limiter = new Limiter({ max: 1, maxWaiting: 5 });
  const slot = await limiter.acquire();
  const { signal } = new AbortController();
  const patient = limiter.acquire({ signal });
  const controller = new AbortController();
  const impatient = limiter.acquire({ signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.throwsAsync(impatient, { message: 'enough' });
  t.is(limiter.waiting, 1);
  slot[Symbol.dispose]();
  (await patient)[Symbol.dispose]();
  t.is(getEventListeners(signal, 'abort').length, 0);
  t.is(limiter.active, 0);
});

test('Limiter gives a slot back once, however often it is disposed', async (t) => {
  const limiter = new Limiter({ max: 1, maxWaiting: 5 });
  const slot = await limiter.acquire();
  slot[Symbol.dispose]();
  slot[Symbol.dispose]();
  t.is(limiter.active, 0);
});

test('Limiter never admits more than it may, and loses no slot, whatever happens', async (t) => {
  const steps = array(constantFrom('acquire', 'release', 'abort'), { maxLength: 60 });
  await assert(
    asyncProperty(integer({ min: 1, max: 4 }), steps, async (max, actions) => {
      const limiter = new Limiter({ max, maxWaiting: 5 });
      const held: Slot[] = [];
      const waiting: { controller: AbortController; done: Promise<void> }[] = [];
      for (const action of actions) {
        if (action === 'release') held.shift()?.[Symbol.dispose]();
        else if (action === 'abort') waiting.shift()?.controller.abort();
        else {
          const controller = new AbortController();
          const done = limiter.acquire(controller).then(
            (slot) => void held.push(slot),
            () => undefined,
          );
          waiting.push({ controller, done });
        }
        t.true(limiter.active <= max);
        await new Promise((resolve) => setImmediate(resolve));
      }
      while (limiter.active > 0 || limiter.waiting > 0) {
        held.shift()?.[Symbol.dispose]();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all(waiting.map(async ({ done }) => done));
      t.is(held.length, 0);
    }),
    { numRuns: 50 },
  );
});
