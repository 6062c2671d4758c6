import test from 'ava';
import { Level } from 'level';
import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../base/clock.ts';
import { LevelStateStore } from './level-state-store.ts';
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
