import test from 'ava';
import * as fc from 'fast-check';
import { planEviction, planRoom } from './evict.ts';
import type { EvictionCandidate, EvictionLimits } from './evict.ts';

const NOW = 1_000_000;

function candidate(rest: Partial<EvictionCandidate> & { key: string }): EvictionCandidate {
  return {
    taskId: rest.key,
    createdMs: 0,
    accessedMs: 0,
    bytes: 100,
    diskBytes: 100,
    isHeld: false,
    isComplete: true,
    ...rest,
  };
}

function sum(of: readonly EvictionCandidate[], what: 'bytes' | 'diskBytes'): number {
  return of.reduce((total, task) => total + task[what], 0);
}

const limits: EvictionLimits = {
  now: NOW,
  ttlMs: undefined,
  quotaBytes: undefined,
  highWatermark: 0.9,
  lowWatermark: 0.8,
  maxTasks: 1000,
  diskShortBytes: 0,
};

const anyTasks = fc
  .array(
    fc.record({
      taskId: fc.constantFrom('a', 'b', 'c', 'd'),
      createdMs: fc.nat({ max: NOW }),
      accessedMs: fc.nat({ max: NOW }),
      bytes: fc.nat({ max: 1000 }),
      diskBytes: fc.nat({ max: 1000 }),
      isHeld: fc.boolean(),
      isComplete: fc.boolean(),
    }),
    { maxLength: 30 },
  )
  .map((tasks) => tasks.map((task, at) => ({ ...task, key: String(at) })));

const anyLimits = fc.record({
  now: fc.constant(NOW),
  ttlMs: fc.option(fc.nat({ max: NOW }), { nil: undefined }),
  quotaBytes: fc.option(fc.nat({ max: 10_000 }), { nil: undefined }),
  highWatermark: fc.constant(0.9),
  lowWatermark: fc.constant(0.8),
  maxTasks: fc.nat({ max: 40 }),
  diskShortBytes: fc.nat({ max: 5000 }),
});

test('planEviction() removes nothing while no bound is passed', (t) => {
  const tasks = [candidate({ key: 'x' }), candidate({ key: 'y' })];
  t.deepEqual(planEviction(tasks, { ...limits, quotaBytes: 250 }), []);
});

test('planEviction() goes from above the high watermark down to the low one, oldest access first', (t) => {
  const tasks = [5, 3, 9, 1, 7].map((accessedMs) =>
    candidate({ key: `at ${accessedMs}`, accessedMs }),
  );
  const plan = planEviction(tasks, { ...limits, quotaBytes: 500 });
  t.deepEqual(plan, [{ key: 'at 1', reason: 'quota', bytes: 100 }]);
  const tighter = planEviction(tasks, { ...limits, quotaBytes: 400 });
  t.deepEqual(
    tighter.map(({ key }) => key),
    ['at 1', 'at 3'],
  );
});

test('planEviction() keeps a whole old version until a newer one is whole', (t) => {
  const whole = candidate({ key: 'old', taskId: 'a', createdMs: 1 });
  const partial = candidate({ key: 'part', taskId: 'a', createdMs: 2, isComplete: false });
  const newer = candidate({ key: 'new', taskId: 'a', createdMs: 3, isComplete: false });
  t.deepEqual(
    planEviction([whole, partial, newer], limits).map(({ key }) => key),
    ['part'],
  );
  const done = { ...newer, isComplete: true };
  t.deepEqual(
    planEviction([whole, partial, done], limits).map(({ key, reason }) => `${key} ${reason}`),
    ['old stale', 'part stale'],
  );
});

test('planEviction() never plans a task in use, and never one twice', (t) => {
  fc.assert(
    fc.property(anyTasks, anyLimits, (tasks, bounds) => {
      const plan = planEviction(tasks, bounds);
      const keys = new Set(plan.map(({ key }) => key));
      t.is(keys.size, plan.length);
      for (const task of tasks) if (task.isHeld) t.false(keys.has(task.key));
    }),
  );
});

test('planEviction() leaves no bound passed unless only tasks in use are left', (t) => {
  fc.assert(
    fc.property(anyTasks, anyLimits, (tasks, bounds) => {
      const gone = new Set(planEviction(tasks, bounds).map(({ key }) => key));
      const left = tasks.filter(({ key }) => !gone.has(key));
      const free = left.filter(({ isHeld }) => !isHeld);
      const used = sum(left, 'bytes');
      if (free.length === 0) return;
      t.true(left.length <= bounds.maxTasks);
      t.true(used <= (bounds.quotaBytes ?? Infinity) * bounds.highWatermark);
      for (const task of free) {
        t.true(NOW - task.accessedMs <= (bounds.ttlMs ?? Infinity));
      }
      const freed = tasks.filter(({ key }) => gone.has(key));
      const isFreed = sum(freed, 'diskBytes') >= bounds.diskShortBytes;
      t.true(isFreed || free.every((task) => task.diskBytes === 0));
    }),
  );
});

test('planRoom() takes the least recently used, and stops when there is enough', (t) => {
  const tasks = [4, 2, 8].map((accessedMs) => candidate({ key: `at ${accessedMs}`, accessedMs }));
  const plan = planRoom(tasks, { diskBytes: 0, quotaBytes: 150 });
  t.deepEqual(
    plan?.map(({ key }) => key),
    ['at 2', 'at 4'],
  );
});

test('planRoom() passes over what frees nothing, such as a file that an output shares', (t) => {
  const shared = candidate({ key: 'shared', accessedMs: 1, diskBytes: 0 });
  const own = candidate({ key: 'own', accessedMs: 2 });
  const plan = planRoom([shared, own], { diskBytes: 50, quotaBytes: 0 });
  t.deepEqual(plan, [{ key: 'own', reason: 'space', bytes: 100 }]);
});

test('planRoom() covers what is wanted, or evicts nothing', (t) => {
  const anyWanted = fc.record({
    diskBytes: fc.nat({ max: 8000 }),
    quotaBytes: fc.nat({ max: 8000 }),
    tasks: fc.nat({ max: 10 }),
  });
  fc.assert(
    fc.property(anyTasks, anyWanted, (tasks, wanted) => {
      const plan = planRoom(tasks, wanted);
      const free = tasks.filter(({ isHeld }) => !isHeld);
      if (plan === undefined) {
        const isShort =
          sum(free, 'bytes') < wanted.quotaBytes ||
          sum(free, 'diskBytes') < wanted.diskBytes ||
          free.length < wanted.tasks;
        t.true(isShort);
        return;
      }
      const gone = free.filter(({ key }) => plan.some((eviction) => eviction.key === key));
      t.is(gone.length, plan.length);
      t.true(sum(gone, 'bytes') >= wanted.quotaBytes);
      t.true(sum(gone, 'diskBytes') >= wanted.diskBytes);
      t.true(gone.length >= wanted.tasks);
    }),
  );
});
