import test from 'ava';
import { Level } from 'level';
import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mounting } from '../../test/support/mounting-test.ts';
import { Tmpfs } from '../../test/support/tmpfs.ts';
import { SystemClock } from '../base/clock.ts';
import { LevelStateStore } from './level-state-store.ts';
import { keysWith } from './state-store.ts';
import { testStateStore } from './state-store.contract.ts';

testStateStore(test, {
  name: 'LevelStateStore',
  open: async (place) => LevelStateStore.open(place),
});

async function folder(t: { teardown(fn: () => Promise<void>): void }): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'odonata-state-'));
  t.teardown(async () => rm(directory, { recursive: true, force: true }));
  return join(directory, 'state');
}

test('LevelStateStore.openWhenFree() refuses a folder in use, and waits for one that is let go', async (t) => {
  const directory = await folder(t);
  const clock = new SystemClock();
  const first = await LevelStateStore.open(directory);
  await first.commit([{ type: 'put', key: 'a', value: 1 }]);
  const impatient = LevelStateStore.openWhenFree(directory, { clock, waitMs: 150 });
  await t.throwsAsync(impatient, { code: 'ERR_STORE_LOCKED' });
  const waiting = LevelStateStore.openWhenFree(directory, { clock, waitMs: 10_000 });
  await first.close();
  await using second = await waiting;
  t.is((await second.get('a'))?.value, 1);
});

test('LevelStateStore.open() refuses files that are damaged, and drops no rows of them', async (t) => {
  const directory = await folder(t);
  {
    await using store = await LevelStateStore.open(directory);
    await store.commit([{ type: 'put', key: 'a', value: 'x'.repeat(10_000) }]);
  }
  const files = await readdir(directory);
  const manifest = files.find((name) => name.startsWith('MANIFEST'));
  await truncate(join(directory, manifest ?? ''), 10);
  await t.throwsAsync(LevelStateStore.open(directory), { code: 'ERR_STORE_IO' });
});

test('LevelStateStore.open() leaves what a newer version wrote untouched', async (t) => {
  const directory = await folder(t);
  await (await LevelStateStore.open(directory)).close();
  const level = new Level<string, unknown>(directory, { valueEncoding: 'json' });
  await level.put('v', { r: 0, v: 3 });
  await level.close();
  await t.throwsAsync(LevelStateStore.open(directory), { code: 'ERR_STORE_NEWER' });
});

mounting('LevelStateStore keeps what it said was kept after the disk was full', async (t) => {
  const directory = await folder(t);
  await using disk = await Tmpfs.mount(`${directory}-disk`, { mib: 16 });
  const place = `${disk.path}/state`;
  const kept: string[] = [];
  const write = async (store: LevelStateStore, key: string): Promise<void> => {
    await store.commit([{ type: 'put', key, value: 'x'.repeat(3000) }]);
    kept.push(key);
  };
  {
    await using store = await LevelStateStore.open(place);
    await write(store, 'a/0');
    {
      await using _ballast = await disk.fill();
      const full = async (): Promise<void> => {
        for (let number = 1; number < 20; number += 1) await write(store, `a/${number}`);
      };
      await t.throwsAsync(full, { code: 'ERR_STORE_IO' });
      await t.throwsAsync(full, { code: 'ERR_STORE_IO' }, 'and goes on being refused');
      t.truthy(await store.get('a/0'), 'what is there can be read meanwhile');
    }
    for (let number = 0; number < 40; number += 1) await write(store, `b/${number}`);
  }
  await using store = await LevelStateStore.open(place);
  const rows = await Array.fromAsync(
    store.range({ gte: keysWith('a/').gte, lt: keysWith('b/').lt }),
  );
  t.deepEqual(
    rows.map(({ key }) => key),
    kept.toSorted(),
  );
  const revisions = rows.map(({ revision }) => revision);
  t.is(new Set(revisions).size, revisions.length, 'no two commits of one revision');
});
