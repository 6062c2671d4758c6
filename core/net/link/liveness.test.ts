import test from 'ava';
import { ManualClock } from '../../base/clock.ts';
import { Liveness } from './liveness.ts';
import { defaultLinkLimits } from './limits.ts';
import { Ticker } from './ticker.ts';
import type { TickTime } from './ticker.ts';

const quarter = { elapsedMs: 250, countedMs: 250 };
const waiting = { isIdle: false, isAnswerDue: true, patienceMs: 3_000 };

test('Liveness pings after a second of silence and gives up after its patience', (t) => {
  const liveness = new Liveness(defaultLinkLimits);
  const verdicts = Array.from({ length: 12 }, () => liveness.tick(quarter, waiting));
  t.deepEqual(verdicts, [...fine(3), 'ping', ...fine(7), 'silent']);
});

test('Liveness begins anew with every byte, and pings again', (t) => {
  const liveness = new Liveness(defaultLinkLimits);
  for (let round = 0; round < 3; round += 1) {
    const verdicts = Array.from({ length: 11 }, () => liveness.tick(quarter, waiting));
    t.deepEqual(verdicts, [...fine(3), 'ping', ...fine(7)]);
    liveness.heard();
    t.is(liveness.tick(quarter, waiting), 'fine');
  }
});

test('Liveness does not mind silence while no answer is due', (t) => {
  const liveness = new Liveness(defaultLinkLimits);
  for (let tick = 0; tick < 40; tick += 1) {
    t.is(liveness.tick(quarter, { isIdle: false, isAnswerDue: false, patienceMs: 3_000 }), 'fine');
  }
  t.is(liveness.tick(quarter, waiting), 'fine');
});

test('Liveness does not count time that this thread slept through', (t) => {
  const liveness = new Liveness(defaultLinkLimits);
  for (let tick = 0; tick < 40; tick += 1) {
    t.is(liveness.tick({ elapsedMs: 5000, countedMs: 0 }, waiting), 'fine');
  }
});

test('Liveness ends a link that has had no channel for a minute', (t) => {
  const liveness = new Liveness(defaultLinkLimits);
  const idle = { isIdle: true, isAnswerDue: false, patienceMs: 3_000 };
  for (let tick = 0; tick < 239; tick += 1) t.is(liveness.tick(quarter, idle), 'fine');
  t.is(liveness.tick(quarter, { isIdle: false, isAnswerDue: false, patienceMs: 3_000 }), 'fine');
  for (let tick = 0; tick < 239; tick += 1) t.is(liveness.tick(quarter, idle), 'fine');
  t.is(liveness.tick(quarter, idle), 'idle');
});

test('Ticker tells time that passed from time that its thread was late', (t) => {
  class LateClock extends ManualClock {
    lateMs = 0;

    override monotonic(): number {
      return super.monotonic() + this.lateMs;
    }
  }
  const clock = new LateClock();
  const times: TickTime[] = [];
  const ticker = new Ticker({ clock, tickMs: 250, lagMs: 250 }, (time) => times.push(time));
  ticker.start();
  ticker.start();
  clock.advance(250);
  clock.lateMs = 2000;
  clock.advance(250);
  clock.advance(250);
  ticker.stop();
  clock.advance(1000);
  t.deepEqual(times, [
    { elapsedMs: 250, countedMs: 250 },
    { elapsedMs: 2250, countedMs: 0 },
    { elapsedMs: 250, countedMs: 250 },
  ]);
});

function fine(count: number): 'fine'[] {
  return Array.from({ length: count }, () => 'fine');
}
