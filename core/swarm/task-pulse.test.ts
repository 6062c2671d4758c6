import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { TaskPulse } from './task-pulse.ts';

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** Looks whenever the pulse says so, and counts. */
function looking(clock: ManualClock): { readonly pulse: TaskPulse; readonly looks: () => number } {
  const pulse = new TaskPulse(clock);
  let looks = 0;
  const look = async (): Promise<void> => {
    for (;;) {
      looks += 1;
      pulse.tick();
      await pulse.next();
    }
  };
  void look();
  return { pulse, looks: () => looks };
}

test('TaskPulse looks at the first two pieces of news as they come, and at more of them together', async (t) => {
  const clock = new ManualClock();
  const { pulse, looks } = looking(clock);
  clock.advance(100);
  await settled();
  t.is(looks(), 1);
  pulse.poke();
  await settled();
  t.is(looks(), 2);
  pulse.poke();
  await settled();
  t.is(looks(), 3);
  clock.advance(4);
  for (let news = 0; news < 5; news += 1) {
    pulse.poke();
    await settled();
  }
  t.is(looks(), 3);
  clock.advance(6);
  await settled();
  t.is(looks(), 4);
});

test('TaskPulse looks now and then when nothing happens', async (t) => {
  const clock = new ManualClock();
  const { looks } = looking(clock);
  await settled();
  clock.advance(249);
  await settled();
  t.is(looks(), 1);
  clock.advance(1);
  await settled();
  t.is(looks(), 2);
});

test('TaskPulse looks less often where pieces come slowly', async (t) => {
  const clock = new ManualClock();
  const { pulse, looks } = looking(clock);
  for (let piece = 0; piece < 20; piece += 1) {
    clock.advance(100);
    pulse.came();
    await settled();
  }
  const before = looks();
  for (let ms = 0; ms < 400; ms += 4) {
    clock.advance(4);
    pulse.poke();
    await settled();
  }
  // Two looks each 40 ms, where it would be 80 with 10.
  t.true(looks() - before <= 22, `${looks() - before} looks`);
});
