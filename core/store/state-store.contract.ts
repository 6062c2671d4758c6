import type { TestFn } from 'ava';
import {
  array,
  assert,
  asyncProperty,
  boolean,
  constant,
  constantFrom,
  jsonValue,
  oneof,
  record,
  tuple,
} from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isInRange, keysWith, stateLimits } from './state-store.ts';
import type { KeyRange, StateChange, StateRow, StateStore } from './state-store.ts';

/** A driver, as its tests see it: `open` of one place opens what was kept there. */
export interface StateDriver {
  readonly name: string;
  readonly open: (place: string) => Promise<StateStore>;
}

const ALL = { gte: ' ', lt: '\u{10ffff}' };
const put = (key: string, value: unknown): StateChange => ({ type: 'put', key, value });
const del = (key: string): StateChange => ({ type: 'del', key });

/** What every driver of a `StateStore` promises. */
export function testStateStore(test: TestFn, driver: StateDriver): void {
  const title = (text: string): string => `${driver.name}: ${text}`;
  test(title('rows are there after the store was closed and opened again'), async (t) => {
    const where = await place(t);
    const value = { text: 'ä\u0000', list: [1, null, { deep: true }] };
    {
      await using store = await driver.open(where);
      t.is(await store.commit([put('a', value), put('b', 1)]), 1);
      t.is(await store.commit([del('b'), put('c', null)]), 2);
    }
    await using again = await driver.open(where);
    t.deepEqual(await again.get('a'), { key: 'a', value, revision: 1 });
    t.is(await again.get('b'), undefined);
    t.deepEqual(await again.get('c'), { key: 'c', value: null, revision: 2 });
    t.is(await again.commit([put('d', 1)]), 3, 'revisions go on');
  });

  test(title('ranges are in the order of UTF-8, from either end, as far as asked'), async (t) => {
    await using store = await driver.open(await place(t));
    const keys = ['\uffee', '😀', 'é', 'z', 'a/2', 'a/10', 'a', 'b'];
    await store.commit(keys.map((key) => put(key, key)));
    const ordered = ['a', 'a/10', 'a/2', 'b', 'z', 'é', '\uffee', '😀'];
    t.deepEqual(keysOf(await rowsOf(store, ALL)), ordered);
    t.deepEqual(keysOf(await rowsOf(store, ALL, { reverse: true })), ordered.toReversed());
    t.deepEqual(keysOf(await rowsOf(store, ALL, { limit: 3 })), ordered.slice(0, 3));
    t.deepEqual(keysOf(await rowsOf(store, ALL, { reverse: true, limit: 1 })), ['😀']);
    t.deepEqual(keysOf(await rowsOf(store, keysWith('a/'))), ['a/10', 'a/2']);
    t.deepEqual(keysOf(await rowsOf(store, { gte: 'a/2', lt: 'z' })), ['a/2', 'b']);
    t.deepEqual(await rowsOf(store, { gte: 'x', lt: 'b' }), []);
  });

  test(title('a range is what was there when it began to be read'), async (t) => {
    await using store = await driver.open(await place(t));
    await store.commit([put('a', 1), put('b', 1), put('c', 1)]);
    const seen: unknown[] = [];
    for await (const { key, value } of store.range(ALL)) {
      if (key === 'a') await store.commit([put('b', 2), del('c'), put('d', 2)]);
      seen.push(value);
    }
    t.deepEqual(seen, [1, 1, 1]);
  });

  test(title('a commit counts whole or not at all: what it expects must be so'), async (t) => {
    await using store = await driver.open(await place(t));
    const absent = { expect: [{ key: 'a', revision: 0 }] };
    const first = await store.commit([put('a', 1)], absent);
    const conflict = { code: 'ERR_CONFLICT', message: /row a / };
    await t.throwsAsync(store.commit([put('b', 1), put('a', 2)], absent), conflict);
    t.is(await store.get('b'), undefined);
    const expect = [{ key: 'a', revision: first }];
    await store.commit([del('a')], { expect });
    await t.throwsAsync(store.commit([put('a', 3)], { expect }), conflict);
    await store.commit([put('a', 4)], absent);
    t.is((await store.get('a'))?.value, 4);
    // Nothing to write: only looks.
    await t.throwsAsync(store.commit([], { expect }), conflict);
    t.is(await store.commit([]), 3);
  });

  test(
    title('of commits that meet, each sees the one before: nothing is counted twice'),
    async (t) => {
      const where = await place(t);
      await using store = await driver.open(where);
      const count = async (): Promise<void> => {
        for (;;) {
          const row = await store.get('count');
          const expect = [{ key: 'count', revision: row?.revision ?? 0 }];
          const counted = put('count', Number(row?.value ?? 0) + 1);
          const isDone = await store.commit([counted], { expect }).then(
            () => true,
            (error: { code?: string }) => error.code !== 'ERR_CONFLICT',
          );
          if (isDone) return;
        }
      };
      await Promise.all(Array.from({ length: 40 }, count));
      t.is((await store.get('count'))?.value, 40);
      const fresh = [put('one', 1)];
      const expect = [{ key: 'one', revision: 0 }];
      const ended = await Promise.allSettled(
        Array.from({ length: 5 }, async () => store.commit(fresh, { expect })),
      );
      t.is(ended.filter(({ status }) => status === 'fulfilled').length, 1);
    },
  );

  test(title('who watches first and reads then misses nothing'), async (t) => {
    await using store = await driver.open(await place(t));
    await store.commit([put('k/a', 1), put('other', 1)]);
    const leaving = new AbortController();
    const watch = store.watch(keysWith('k/'), { signal: leaving.signal });
    const commits = [
      store.commit([put('k/b', 2), put('x', 1)]),
      store.commit([put('x', 2)]),
      store.commit([del('k/a')]),
    ];
    const rows = new Map((await rowsOf(store, keysWith('k/'))).map((row) => [row.key, row]));
    const revisions = await Promise.all(commits);
    const first = await watch.next();
    const second = await watch.next();
    t.deepEqual(first.value, { revision: revisions[0], changes: [put('k/b', 2)] });
    t.deepEqual(second.value, { revision: revisions[2], changes: [del('k/a')] });
    t.is(rows.get('k/a')?.revision, 1);
    const waiting = watch.next();
    leaving.abort();
    t.true((await waiting).done);
    await store.commit([put('k/c', 1)]);
    t.true((await watch.next()).done);
  });

  test(
    title('a watcher that falls behind is told so, after what it had; closing ends all'),
    async (t) => {
      const store = await driver.open(await place(t));
      const { signal } = new AbortController();
      const slow = store.watch(ALL, { signal });
      const quick = store.watch(ALL, { signal });
      const taken = (async () => {
        let last = 0;
        for await (const { revision } of quick) last = revision;
        return last;
      })();
      const many = stateLimits.unwatched + 1;
      for (let at = 0; at < many; at += 100) {
        const some = Math.min(100, many - at);
        await Promise.all(Array.from({ length: some }, async () => store.commit([put('a', at)])));
        await new Promise(setImmediate);
      }
      for (let at = 0; at < stateLimits.unwatched; at += 1) t.false((await slow.next()).done);
      await t.throwsAsync(slow.next(), { code: 'ERR_BUSY' });
      t.true((await slow.next()).done);
      await store.close();
      t.is(await taken, many);
      t.true((await store.watch(ALL, { signal }).next()).done);
    },
  );

  test(title('keys and commits have bounds, a closed store says so'), async (t) => {
    const store = await driver.open(await place(t));
    const tooLong = 'é'.repeat(stateLimits.keyBytes / 2 + 1);
    for (const key of ['', tooLong]) {
      await t.throwsAsync(store.commit([put('a', 1), put(key, 1)]), { code: 'ERR_REQUEST' });
    }
    const changes = Array.from({ length: stateLimits.changes + 1 }, (_item, at) =>
      put(`${at}`, at),
    );
    await t.throwsAsync(store.commit(changes), { code: 'ERR_REQUEST' });
    t.is(await store.commit(changes.slice(1)), 1);
    const waiting = [store.commit([put('z', 1)]), store.commit([put('z', 2)])];
    await store.close();
    await store.close();
    t.deepEqual(await Promise.all(waiting), [2, 3], 'what was asked for before is written');
    await t.throwsAsync(store.commit([put('a', 1)]), { code: 'ERR_STORE_IO' });
    await t.throwsAsync(store.get('a'), { code: 'ERR_STORE_IO' });
    await t.throwsAsync(rowsOf(store, ALL), { code: 'ERR_STORE_IO' });
  });

  test(title('behaves as a plain map does, whatever is written'), async (t) => {
    const where = await place(t);
    let number = 0;
    const key = constantFrom('a', 'a/', 'a/b', 'b', 'é', '😀', '\uffee');
    const change = oneof(
      record({ type: constant('put' as const), key, value: jsonValue() }),
      record({ type: constant('del' as const), key }),
    );
    const steps = array(
      record({
        changes: array(change, { maxLength: 4 }),
        expected: key,
        isRight: boolean(),
      }),
      { maxLength: 12 },
    );
    await assert(
      asyncProperty(steps, tuple(key, key), async (commits, [gte, lt]) => {
        number += 1;
        const model = new Map<string, StateRow>();
        await using store = await driver.open(`${where}-${number}`);
        let last = 0;
        for (const { changes, expected, isRight } of commits) {
          const found = model.get(expected)?.revision ?? 0;
          const expect = [{ key: expected, revision: isRight ? found : found + 1 }];
          const commit = store.commit(changes, { expect });
          if (!isRight) {
            await t.throwsAsync(commit, { code: 'ERR_CONFLICT' });
            continue;
          }
          if (changes.length > 0) last += 1;
          t.is(await commit, last);
          for (const each of changes) {
            if (each.type === 'del') model.delete(each.key);
            else model.set(each.key, { key: each.key, value: each.value, revision: last });
          }
        }
        const rows = await rowsOf(store, { gte, lt });
        const wanted = [...model.values()].filter((row) => isInRange(row.key, { gte, lt }));
        t.deepEqual(
          JSON.parse(JSON.stringify(rows)),
          JSON.parse(JSON.stringify(wanted.toSorted(byKey))),
        );
      }),
      { numRuns: 25 },
    );
  });
}

async function place(t: { teardown(fn: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-state-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  return join(folder, 'state');
}

async function rowsOf(
  store: StateStore,
  range: KeyRange,
  options: { readonly reverse?: boolean; readonly limit?: number } = {},
): Promise<StateRow[]> {
  return Array.fromAsync(store.range(range, options));
}

function keysOf(rows: readonly StateRow[]): string[] {
  return rows.map(({ key }) => key);
}

function byKey(one: StateRow, other: StateRow): number {
  return Buffer.from(one.key).compare(Buffer.from(other.key));
}
