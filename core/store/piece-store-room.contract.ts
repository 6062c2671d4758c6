import type { TestFn } from 'ava';
import { stat } from 'node:fs/promises';
import { dataFoldersOn } from '../../test/support/data-folders.ts';
import type { StorageKind } from '../../test/support/data-folders.ts';
import { ManualClock } from '../base/clock.ts';
import type { CodedError } from '../base/error.ts';
import { completeTask, openStore, specOf } from './fixtures/content.ts';

/** The promises of a piece store about room: quota, reserve, what gives way, and what is kept. */
export function testPieceStoreRoom(test: TestFn, kind: StorageKind): void {
  const { title, folder } = dataFoldersOn(kind);

  test(
    title('create() evicts the least recently used for the quota, never what is in use'),
    async (t) => {
      const clock = new ManualClock();
      await using store = await openStore(await folder(t), { clock, quotaBytes: 10_000 });
      const oldest = await completeTask(store, 'q1', 3000);
      clock.advance(1000);
      const middle = await completeTask(store, 'q2', 3000);
      clock.advance(1000);
      await completeTask(store, 'q3', 3000);
      clock.advance(1000);
      const use = oldest.acquire();
      const fresh = await store.create(specOf('q4', 4000));
      t.is(store.find(middle.taskId), undefined);
      t.is(store.find(oldest.taskId), oldest);
      await t.throwsAsync(stat(middle.path), { code: 'ENOENT' });
      t.throws(() => middle.acquire(), { code: 'ERR_NOT_FOUND' });
      await t.throwsAsync(middle.unmark(0), { code: 'ERR_NOT_FOUND' });
      using _freshUse = fresh.acquire();
      const error = await t.throwsAsync<CodedError>(store.create(specOf('q5', 5000)), {
        code: 'ERR_NO_SPACE',
      });
      t.like(error?.detail, {
        needBytes: 5000,
        quotaBytes: 10_000,
        usedBytes: 6000,
        promisedBytes: 4000,
        evictableBytes: 3000,
      });
      t.is(store.tasks().length, 3, 'nothing is thrown away in vain');
      use[Symbol.dispose]();
      await t.throwsAsync(store.create(specOf('q6', 10_001)), { code: 'ERR_NO_SPACE' });
    },
  );

  test(title('grow() keeps room for pieces on their way of unknown length'), async (t) => {
    await using store = await openStore(await folder(t), { quotaBytes: 10_000 });
    const task = await store.create(specOf('g1', undefined));
    using _use = task.acquire();
    const hold = await store.grow(task, [0, 1, 2, 3]);
    const error = { code: 'ERR_NO_SPACE' } as const;
    await t.throwsAsync(store.create(specOf('g2', 6001)), error);
    const other = await store.create(specOf('g2', 6000));
    await t.throwsAsync(store.grow(task, [4]), error);
    using _again = await store.grow(task, [3]);
    hold[Symbol.dispose]();
    using _next = await store.grow(task, [0, 1, 2]);
    await Promise.all([0, 1, 2, 3].map(async (piece) => task.markHad(piece)));
    await t.throwsAsync(store.grow(task, [4]), error, 'what was had and is held counts once');
    await store.remove(other);
    using _more = await store.grow(task, [4, 5, 6, 7, 8, 9]);
    await t.throwsAsync(store.grow(task, [10]), error);
    t.is(store.usedBytes, 4000);
    await task.setLength(4000);
    using _whole = await store.grow(task, [10]);
    await store.create(specOf('g3', 6000));
  });

  test(title('grow() looks at all of the rest when the length comes while it looks'), async (t) => {
    await using store = await openStore(await folder(t), { quotaBytes: 5000 });
    const task = await store.create(specOf('g4', undefined));
    using _use = task.acquire();
    using _hold = await store.grow(task, [0, 1, 2]);
    const growing = store.grow(task, [3, 4]);
    // It has begun, and asks the disk.
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    await task.setLength(6000);
    await t.throwsAsync(growing, { code: 'ERR_NO_SPACE' });
  });

  test(
    title('create() keeps the reserve, and does not make a task for which the disk is too small'),
    async (t) => {
      const directory = await folder(t);
      await using store = await openStore(directory, { reserveBytes: 2 ** 52 });
      const error = await t.throwsAsync<CodedError>(store.create(specOf('r1', 1)), {
        code: 'ERR_NO_SPACE',
      });
      t.is(error?.detail['reserveBytes'], 2 ** 52);
      t.true(Number(error?.detail['freeBytes']) > 0);
      t.deepEqual(store.tasks(), []);
      t.false(await store.makeRoom(2 ** 52));
      t.true(await store.makeRoom(1));
    },
  );

  test(title('create() protects what it made until it is first used'), async (t) => {
    const clock = new ManualClock();
    await using store = await openStore(await folder(t), { clock, quotaBytes: 5000 });
    await store.create(specOf('w1', 4000));
    await t.throwsAsync(store.create(specOf('w2', 4000)), { code: 'ERR_NO_SPACE' });
    clock.advance(10_000);
    await t.notThrowsAsync(store.create(specOf('w2', 4000)), 'but not for ever');
  });

  test(title('maxTasks bounds the number of tasks'), async (t) => {
    const clock = new ManualClock();
    await using store = await openStore(await folder(t), { clock, maxTasks: 2 });
    for (const seed of ['t1', 't2', 't3']) {
      await completeTask(store, seed, 10);
      clock.advance(10);
    }
    t.deepEqual(
      store.tasks().map(({ taskId }) => taskId),
      [specOf('t2', 0).taskId, specOf('t3', 0).taskId],
    );
  });

  test(
    title('sweep() removes what is expired or stale, and goes down to the low watermark'),
    async (t) => {
      const directory = await folder(t);
      const clock = new ManualClock();
      const store = await openStore(directory, { clock, quotaBytes: 10_500, ttlMs: 60_000 });
      await completeTask(store, 's1', 1000);
      clock.advance(61_000);
      const stale = await store.create({ ...specOf('s2', 1000), version: 'a'.repeat(16) });
      const used = await store.create({ ...specOf('s3', 1000), version: 'a'.repeat(16) });
      using _use = used.acquire();
      stale.acquire()[Symbol.dispose]();
      clock.advance(10);
      await completeTask(store, 's2', 1000);
      clock.advance(10);
      await completeTask(store, 's3', 1000);
      t.deepEqual(await store.sweep(), { removed: 2, bytes: 1000 });
      t.deepEqual(await store.sweep(), { removed: 0, bytes: 0 });
      for (const seed of ['s4', 's5', 's6']) {
        clock.advance(10);
        await completeTask(store, seed, 2500);
      }
      t.deepEqual(await store.sweep(), { removed: 2, bytes: 2000 });
      t.is(store.usedBytes, 7500);
      t.is(store.find(used.taskId, used.version), used);
      await store.close();
      await t.throwsAsync(store.sweep(), { code: 'ERR_STORE_IO' });
    },
  );

  test(title('what is kept is not evicted, across restarts, until its time is over'), async (t) => {
    const directory = await folder(t);
    const clock = new ManualClock();
    const options = { clock, quotaBytes: 10_000, ttlMs: 60_000 };
    {
      await using store = await openStore(directory, options);
      const task = await completeTask(store, 'kept', 4_000);
      await store.keep(task, 3_600_000);
      t.is(store.keptBytes, 4_000);
    }
    await using store = await openStore(directory, options);
    const find = (seed: string): unknown => store.find(specOf(seed, 0).taskId);
    clock.advance(600_000);
    await store.sweep();
    t.truthy(find('kept'), 'longer unused than the time for others');
    await completeTask(store, 'a', 5_000);
    clock.advance(20_000);
    await completeTask(store, 'b', 5_000);
    t.falsy(find('a'), 'what was used later gave way');
    t.truthy(find('kept'));
    await t.throwsAsync(store.create(specOf('too big', 7_000)), { code: 'ERR_NO_SPACE' });
    clock.advance(3_600_000);
    t.is(store.keptBytes, 0);
    await completeTask(store, 'c', 9_000);
    t.falsy(find('kept'), 'its time was over');
  });

  test(
    title('keep() has a bound, says so with the numbers, and ends when it is told to'),
    async (t) => {
      const directory = await folder(t);
      const clock = new ManualClock();
      await using store = await openStore(directory, { clock, quotaBytes: 10_000, maxTasks: 6 });
      const [a, b] = [await completeTask(store, 'a', 3_000), await completeTask(store, 'b', 3_000)];
      const minute = 60_000;
      await store.keep(a, minute);
      await store.keep(a, minute + 1);
      t.is(a.keptUntilMs, clock.now() + minute + 1);
      const error = await t.throwsAsync<CodedError>(store.keep(b, minute), {
        code: 'ERR_NO_SPACE',
      });
      t.like(error?.detail, { needBytes: 3_000, keptBytes: 3_000, mostBytes: 5_000 });
      t.is(b.keptUntilMs, undefined);
      await store.keep(a, undefined);
      t.is(store.keptBytes, 0);
      await store.keep(b, minute);
      await store.remove(b);
      t.is(store.keptBytes, 0);
      await t.throwsAsync(store.keep(b, minute), { code: 'ERR_NOT_FOUND' });
      for (const seed of ['1', '2', '3'])
        await store.keep(await completeTask(store, seed, 1), minute);
      await t.throwsAsync(store.keep(a, minute), { code: 'ERR_NO_SPACE' }, 'half of the tasks');
    },
  );
}
