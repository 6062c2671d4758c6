import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { assert, array, integer, property } from 'fast-check';
import { ManualClock, SystemClock } from '../base/clock.ts';
import type { Priority } from '../base/priority.ts';
import { RateLimiter } from './pacing.ts';

/** Time may pass in which no timer fires: this thread does something else. */
class LateClock extends ManualClock {
  #lateMs = 0;

  override monotonic(): number {
    return super.monotonic() + this.#lateMs;
  }

  sleepThrough(ms: number): void {
    this.#lateMs += ms;
  }
}

test('RateLimiter lets everything pass at once when there is no rate', (t) => {
  const limiter = new RateLimiter(0, new ManualClock());
  t.is(limiter.reserve(1e12), 0);
});

test('RateLimiter lets no more pass than its rate, but for 50 ms saved and one block', (t) => {
  const rate = 1_000_000;
  const blocks = array(integer({ min: 1, max: 256 * 1024 }), { minLength: 1, maxLength: 50 });
  assert(
    property(blocks, integer({ min: 0, max: 5_000 }), (sizes, idleMs) => {
      const clock = new ManualClock();
      const limiter = new RateLimiter(rate, clock);
      clock.advance(idleMs);
      const startMs = clock.monotonic();
      let bytes = 0;
      for (const size of sizes) {
        clock.advance(limiter.reserve(size));
        const allowed = ((clock.monotonic() - startMs + 50) / 1000) * rate;
        // The block that passes now is paid for after it.
        t.true(bytes <= allowed + 1, `${bytes} of ${allowed}`);
        bytes += size;
      }
    }),
  );
});

test('RateLimiter is exact within 5 % once it has settled', (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(10_000_000, clock);
  let bytes = 0;
  while (clock.monotonic() < 4_000) {
    clock.advance(limiter.reserve(65_536));
    bytes += 65_536;
  }
  const perSecond = (bytes / clock.monotonic()) * 1000;
  t.true(Math.abs(perSecond / 10_000_000 - 1) < 0.05, `${perSecond}`);
});

test('RateLimiter.setRate() forgets debts of a lower rate', (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(1_000, clock);
  limiter.reserve(1_000_000);
  limiter.setRate(1_000_000);
  t.true(limiter.reserve(1) <= 1_000);
  limiter.setRate(0);
  t.is(limiter.reserve(1e9), 0);
});

test('RateLimiter.take() ends with its signal', async (t) => {
  const limiter = new RateLimiter(1, new ManualClock());
  const controller = new AbortController();
  await limiter.take(100);
  const waiting = limiter.take(100, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.throwsAsync(waiting, { message: 'enough' });
});

test('RateLimiter.setRate() wakes those who wait as soon as the new rate has paid for them, in their order', async (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(1_000, clock);
  const passed: string[] = [];
  const take = async (name: string, bytes: number): Promise<void> => {
    await limiter.take(bytes);
    passed.push(name);
  };
  await take('first', 10_000);
  const waiting = ['second', 'third'].map(async (name) => take(name, 10_000));
  limiter.setRate(10_000);
  clock.advance(990);
  await Promise.resolve();
  t.deepEqual(passed, ['first']);
  clock.advance(10);
  await waiting[0];
  t.deepEqual(passed, ['first', 'second']);
  clock.advance(1_000);
  await waiting[1];
  const last = take('last', 10_000);
  limiter.setRate(0);
  clock.advance(0);
  await last;
  t.deepEqual(passed, ['first', 'second', 'third', 'last']);
});

test('RateLimiter.setRate() to less makes nobody wait longer than he was told', async (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(1_000, clock);
  await limiter.take(1_000);
  const waiting = limiter.take(1_000);
  limiter.setRate(1);
  clock.advance(1_000);
  await waiting;
  t.pass();
});

test('RateLimiter tells what passed, and what of it had to wait', (t) => {
  const limiter = new RateLimiter(0, new ManualClock());
  limiter.reserve(10);
  limiter.setRate(1_000);
  limiter.reserve(100);
  t.is(limiter.heldBytes, 0);
  limiter.reserve(1_000);
  t.is(limiter.passedBytes, 1_110);
  t.is(limiter.heldBytes, 1_000);
});

test('RateLimiter shares among classes by weight and in a class among flows, and lets nobody starve', async (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(1_000_000, clock);
  const got = new Map<string, number>();
  const asks = (priority: Priority, flow: string, bytes: number): void => {
    const passed = (): void => {
      got.set(flow, (got.get(flow) ?? 0) + bytes);
      limiter.ask(bytes, { priority, flow }, passed);
    };
    limiter.ask(bytes, { priority, flow }, passed);
  };
  for (let flow = 0; flow < 8; flow += 1) asks('warm-up', `warm ${flow}`, 1_000 * (1 + (flow % 2)));
  clock.advance(1_000);
  const alone = [...got.values()];
  t.true(Math.max(...alone) - Math.min(...alone) <= 4_000, JSON.stringify(alone));
  t.is(alone.length, 8);
  got.clear();
  for (const flow of ['release 1', 'release 2']) asks('release', flow, 1_500);
  clock.advance(60_000);
  const sum = (prefix: string): number =>
    [...got].reduce((all, [flow, bytes]) => all + (flow.startsWith(prefix) ? bytes : 0), 0);
  t.true(Math.abs(sum('release') / 60e6 - 64 / 65) < 0.02, `${sum('release')}`);
  t.true(Math.abs((got.get('release 1') ?? 0) / sum('release') - 0.5) < 0.01);
  for (let flow = 0; flow < 8; flow += 1) {
    const share = (got.get(`warm ${flow}`) ?? 0) / sum('warm');
    t.true(Math.abs(share - 1 / 8) < 0.02, `${flow}: ${share}`);
  }
});

test('RateLimiter: who gives up while he waits has not paid', async (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(1_000, clock);
  await limiter.take(1_000);
  const gone = limiter.ask(1_000_000, { priority: 'release', flow: 1 }, () => t.fail());
  const waiting = limiter.take(10);
  gone.cancel();
  clock.advance(1_000);
  await waiting;
  t.is(limiter.passedBytes, 1_010);
});

test('RateLimiter makes up for what a thread that looks late has not let pass, and for nothing else', (t) => {
  const clock = new LateClock();
  const limiter = new RateLimiter(1_000_000, clock);
  let passed = 0;
  const ask = (): void => {
    limiter.ask(10_000, { priority: 'normal', flow: 1 }, () => {
      passed += 10_000;
      if (passed < 2_000_000) ask();
    });
  };
  ask();
  clock.advance(1_000);
  const before = passed;
  clock.sleepThrough(200);
  t.is(passed, before);
  clock.advance(800);
  t.true(Math.abs(passed - before - 1_000_000) <= 20_000, `${passed - before}`);
  clock.advance(1_000);
  t.is(passed, 2_000_000);
  clock.advance(10_000);
  t.is(limiter.reserve(50_000), 0);
  t.true(limiter.reserve(50_000) <= 50, 'what nobody wanted is not saved');
  t.true(limiter.reserve(50_000) >= 50);
});

test('RateLimiters on one memory are one limit, and who waits at one hears of a rate set at the other', async (t) => {
  const clock = new ManualClock();
  const one = new RateLimiter(1_000, clock);
  const other = new RateLimiter(one.shared, clock);
  t.is(one.reserve(1_000), 0);
  t.true(other.reserve(1_000) > 900);
  t.is(one.passedBytes, 2_000);
  let passed = false;
  const waiting = other.take(1_000).then(() => (passed = true));
  t.true(one.isHolding);
  clock.advance(100);
  await Promise.resolve();
  t.false(passed);
  one.setRate(1_000_000);
  clock.advance(100);
  await waiting;
  t.is(other.bytesPerSecond, 1_000_000);
  clock.advance(1_000);
  t.false(one.isHolding);
});

test('RateLimiters of several threads are one limit', async (t) => {
  const clock = new SystemClock();
  const limiter = new RateLimiter(100_000, clock);
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.pacing).then(async ({ RateLimiter }) => {
      const { SystemClock } = await import(workerData.clock);
      const limiter = new RateLimiter(workerData.shared, new SystemClock());
      parentPort.postMessage(limiter.reserve(50_000));
    });`;
  const workerData = {
    shared: limiter.shared,
    pacing: import.meta.resolve('./pacing.ts'),
    clock: import.meta.resolve('../base/clock.ts'),
  };
  limiter.reserve(10_000_000);
  const worker = new Worker(script, { eval: true, workerData });
  const [waitMs] = (await once(worker, 'message')) as [number];
  // The hundred seconds that are owed, less those that a slow machine needs to start a thread.
  t.true(waitMs > 50_000 && waitMs <= 100_000, `${waitMs}`);
  t.is(limiter.passedBytes, 10_050_000);
});

test('RateLimiters of several threads take turns: none waits for ever while another has more', async (t) => {
  const limiter = new RateLimiter(5_000_000, new SystemClock());
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    import(workerData.pacing).then(async ({ RateLimiter }) => {
      const { SystemClock } = await import(workerData.clock);
      const limiter = new RateLimiter(workerData.shared, new SystemClock());
      const ask = () => limiter.ask(20_000, { priority: 'normal', flow: 1 }, () => {
        if (Atomics.add(workerData.passed, workerData.at, 1) < 99) ask();
        else parentPort.postMessage('all');
      });
      parentPort.once('message', ask);
      parentPort.postMessage('ready');
    });`;
  const passed = new Int32Array(new SharedArrayBuffer(8));
  const urls = {
    pacing: import.meta.resolve('./pacing.ts'),
    clock: import.meta.resolve('../base/clock.ts'),
  };
  const workers = [0, 1].map((at) => {
    const workerData = { ...urls, shared: limiter.shared, passed, at };
    return new Worker(script, { eval: true, workerData });
  });
  await Promise.all(workers.map(async (worker) => once(worker, 'message')));
  const all = workers.map(async (worker) => once(worker, 'message'));
  for (const worker of workers) worker.postMessage('go');
  await Promise.race(all);
  const least = Math.min(...passed);
  await Promise.all(workers.map(async (worker) => worker.terminate()));
  t.true(least >= 20, passed.join());
});
