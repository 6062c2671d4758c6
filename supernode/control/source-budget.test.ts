import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { SourceBudget } from './source-budget.ts';

test('three hosts a minute may go to the origin of a task, and each is told why not', (t) => {
  const clock = new ManualClock();
  const budget = new SourceBudget(clock);
  for (let host = 0; host < 3; host += 1) {
    t.true(budget.ask('task').granted);
    clock.advance(1_000);
  }
  for (let host = 0; host < 100; host += 1) {
    t.deepEqual(budget.ask('task'), {
      granted: false,
      reason: '3 hosts went to this origin within the last minute',
    });
  }
  t.true(budget.ask('another task').granted);
});

test('asking in vain does not keep a task from its next minute', (t) => {
  const clock = new ManualClock();
  const budget = new SourceBudget(clock);
  for (let second = 0; second < 60; second += 1) {
    t.is(budget.ask('task').granted, second < 3);
    clock.advance(1_000);
  }
  t.true(budget.ask('task').granted, 'a minute after the first');
  t.false(budget.ask('task').granted, 'the second was granted less than a minute ago');
  clock.advance(1_000);
  t.true(budget.ask('task').granted);
});

test('a task that nobody asks for goes when many others come', (t) => {
  const budget = new SourceBudget(new ManualClock());
  for (let host = 0; host < 3; host += 1) budget.ask('task');
  for (let other = 0; other < 10_000; other += 1) budget.ask(`task ${other}`);
  t.true(budget.ask('task').granted);
});
