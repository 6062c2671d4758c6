import test from 'ava';
import { array, assert, nat, property } from 'fast-check';
import { EventQueue } from './event-queue.ts';

test('events come by time, and those of one time in the order they were added', (t) => {
  assert(
    property(array(nat(20), { maxLength: 300 }), (times) => {
      const queue = new EventQueue();
      const came: number[] = [];
      for (const [at, ms] of times.entries()) queue.call(ms, () => came.push(at));
      while (queue.step());
      const expected = [...times.keys()].toSorted(
        (a, b) => (times[a] ?? 0) - (times[b] ?? 0) || a - b,
      );
      return came.join() === expected.join() && queue.size === 0 && queue.fired === times.length;
    }),
  );
  t.pass();
});

test('time is that of the event, and an event may make others', (t) => {
  const queue = new EventQueue();
  const seen: number[] = [];
  queue.call(5, () => {
    seen.push(queue.nowMs);
    queue.call(0, () => seen.push(queue.nowMs));
    queue.call(2.5, () => seen.push(queue.nowMs));
    queue.at(1, { fire: () => seen.push(queue.nowMs) });
  });
  while (queue.step());
  t.deepEqual(seen, [5, 5, 5, 7.5]);
  t.false(queue.step());
});
