import test from 'ava';
import { assert, array, asyncProperty, integer } from 'fast-check';
import {
  LinkedAbort,
  ManualClock,
  SteadyClock,
  SystemClock,
  abortReason,
  abortable,
} from './clock.ts';

const reason = new Error('the reason');

test('abortable() settles as the promise does while the signal is not aborted', async (t) => {
  const { signal } = new AbortController();
  t.is(await abortable(Promise.resolve(7), signal), 7);
  t.is(await abortable(Promise.resolve(7)), 7);
  t.is(await t.throwsAsync(abortable(Promise.reject(reason), signal)), reason);
});

test('abortable() rejects with the reason as soon as the signal aborts', async (t) => {
  const controller = new AbortController();
  const waiting = abortable(new Promise<never>(() => undefined), controller.signal);
  controller.abort(reason);
  t.is(await t.throwsAsync(waiting), reason);
});

test('abortable() takes care of a promise that fails after the abort', async (t) => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  const { promise, reject } = Promise.withResolvers<void>();
  t.is(await t.throwsAsync(abortable(promise, AbortSignal.abort(reason))), reason);
  reject(new Error('late'));
  await new SystemClock().sleep(1);
  t.deepEqual(unhandled, []);
});

test('abortReason() is an Error whatever was given', (t) => {
  t.is(abortReason(AbortSignal.abort(reason)), reason);
  t.is(abortReason(AbortSignal.abort('enough')).message, 'enough');
});

for (const [name, clock] of [
  ['SystemClock', new SystemClock()],
  ['ManualClock', new ManualClock()],
] as const) {
  test(`${name}.sleep() of an aborted signal ends at once and leaves no timer`, async (t) => {
    await t.throwsAsync(clock.sleep(60_000, { signal: AbortSignal.abort(reason) }), { is: reason });
    const controller = new AbortController();
    const sleeping = clock.sleep(60_000, { signal: controller.signal });
    controller.abort(reason);
    await t.throwsAsync(sleeping, { is: reason });
  });
}

test('SystemClock.deadline() aborts with a TimeoutError', async (t) => {
  using deadline = new SystemClock().deadline(1);
  const aborted = new Promise<void>((resolve) => {
    deadline.signal.addEventListener('abort', () => resolve());
  });
  // The deadline itself keeps no process alive.
  const alive = new SystemClock().after(1_000, () => undefined);
  await aborted;
  alive.cancel();
  t.is(abortReason(deadline.signal).name, 'TimeoutError');
});

test('deadline() aborts with its signal before the time is over, and tells one from the other', (t) => {
  const clock = new ManualClock();
  const controller = new AbortController();
  using aborted = clock.deadline(10, { signal: controller.signal });
  using late = clock.deadline(5, { signal: controller.signal });
  clock.advance(5);
  t.is(abortReason(late.signal).name, 'TimeoutError');
  t.true(late.isOver);
  t.false(aborted.signal.aborted);
  controller.abort(reason);
  clock.advance(5);
  t.is(aborted.signal.reason, reason);
  t.false(aborted.isOver);
  t.true(late.isOver);
  t.is(clock.deadline(10, { signal: controller.signal }).signal.reason, reason);
});

test('LinkedAbort follows its signal until it is disposed, and aborts by itself', (t) => {
  const controller = new AbortController();
  const following = new LinkedAbort(controller.signal);
  const disposed = new LinkedAbort(controller.signal);
  const alone = new LinkedAbort(controller.signal);
  disposed[Symbol.dispose]();
  alone.abort('enough');
  t.false(controller.signal.aborted);
  controller.abort(reason);
  t.is(following.signal.reason, reason);
  t.false(disposed.signal.aborted);
  t.is(alone.signal.reason, 'enough');
  t.is(new LinkedAbort(controller.signal).signal.reason, reason);
});

test('ManualClock fires timers in the order of their time, each at its time', (t) => {
  const clock = new ManualClock();
  const fired: [string, number][] = [];
  clock.after(30, () => fired.push(['later', clock.monotonic()]));
  clock.after(10, () => {
    fired.push(['first', clock.monotonic()]);
    clock.after(5, () => fired.push(['from within', clock.monotonic()]));
  });
  clock.after(20, () => fired.push(['cancelled', 0])).cancel();
  clock.advance(29);
  t.deepEqual(fired, [
    ['first', 10],
    ['from within', 15],
  ]);
  clock.advance(1);
  t.deepEqual(fired.at(-1), ['later', 30]);
});

test('ManualClock.every() fires until cancelled; wall time follows and may jump', (t) => {
  const clock = new ManualClock(1_000);
  let count = 0;
  const timer = clock.every(10, () => (count += 1));
  clock.advance(35);
  timer.cancel();
  clock.advance(100);
  t.is(count, 3);
  clock.jump(-5_000);
  t.is(clock.now(), 1_000 + 135 - 5_000);
  t.is(clock.monotonic(), 135);
});

test('ManualClock.sleep() ends neither before its time nor after it', async (t) => {
  await assert(
    asyncProperty(
      array(integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 10 }),
      async (times) => {
        const clock = new ManualClock();
        const ended = Promise.all(
          times.map(async (ms) => {
            await clock.sleep(ms);
            return clock.monotonic();
          }),
        );
        for (let step = 0; step <= 50; step += 1) {
          clock.advance(step === 0 ? 0 : 1);
          await new Promise((resolve) => setImmediate(resolve));
        }
        t.deepEqual(await ended, times);
      },
    ),
    { numRuns: 10 },
  );
});

test('SteadyClock.now() goes on as time passes, whatever the wall clock of the machine is set to', (t) => {
  const machine = new ManualClock(1_000_000);
  const clock = new SteadyClock(machine);
  machine.advance(500);
  machine.jump(3_600_000);
  machine.advance(500);
  t.is(clock.now(), 1_001_000);
  t.is(clock.wallAheadMs, 3_600_000);
  machine.jump(-7_200_000);
  t.is(clock.now(), 1_001_000);
  let fired = 0;
  clock.after(10, () => (fired += 1));
  machine.advance(10);
  t.is(fired, 1);
  t.is(clock.monotonic(), machine.monotonic());
});
