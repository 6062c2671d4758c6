import test from 'ava';
import type { ExecutionContext } from 'ava';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { CallJournal, journalLimits } from './call-journal.ts';

const NOW = 1_800_000_000_000;
const MINUTE = 60_000;
const begun = { expires: NOW + MINUTE, began: NOW, marker: 'mark', maxBytes: 1_000 };
const ended = { expires: NOW + MINUTE, result: 'v1.call-result' };

async function openStore(t: ExecutionContext): Promise<LevelStateStore> {
  const directory = await mkdtemp(join(tmpdir(), 'odonata-journal-'));
  const store = await LevelStateStore.open(join(directory, 'calls'));
  t.teardown(async () => {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  });
  return store;
}

test('CallJournal.begin() takes an id once, whatever became of it, also when it is opened again', async (t) => {
  const store = await openStore(t);
  const { journal } = await CallJournal.open(store);
  await journal.begin('call0000', begun);
  await t.throwsAsync(journal.begin('call0000', begun), { code: 'ERR_CONFLICT' });
  const again = await CallJournal.open(store);
  t.deepEqual([...again.begun.keys()], ['call0000']);
  await t.throwsAsync(again.journal.begin('call0000', begun), { code: 'ERR_CONFLICT' });
  await again.journal.end('call0000', ended);
  await again.journal.heard(['call0000']);
  t.deepEqual(again.journal.unheard(), []);
  await t.throwsAsync(again.journal.begin('call0000', begun), { code: 'ERR_CONFLICT' });
  const last = await CallJournal.open(store);
  t.is(last.begun.size, 0);
  await t.throwsAsync(last.journal.begin('call0000', begun), { code: 'ERR_CONFLICT' });
});

test('CallJournal keeps result and output until they are heard, and what runs though that is said of it', async (t) => {
  const store = await openStore(t);
  const { journal } = await CallJournal.open(store);
  await journal.begin('call0000', begun);
  await journal.heard(['call0000', 'nothing0']);
  t.deepEqual(journal.unheard(), ['call0000']);
  const output = { stdout: Buffer.from([0, 255, 10]), stderr: Buffer.from('err') };
  await journal.end('call0000', { ...ended, output });
  const { journal: again } = await CallJournal.open(store);
  t.like(await again.find('call0000'), { state: 'ended', result: ended.result });
  t.deepEqual(await again.output('call0000'), output);
  await again.heard(['call0000']);
  t.is((await again.output('call0000')).stdout.length, 0);
  t.like(await again.find('call0000'), { state: 'heard' });
});

test.serial(
  'CallJournal.forget() keeps ids for a day, as the cell may sign another order of a call it heard nothing of',
  async (t) => {
    const store = await openStore(t);
    const { journal } = await CallJournal.open(store);
    await journal.burn('call0000', NOW);
    await journal.forget(NOW + 23 * 60 * MINUTE);
    t.like(await journal.find('call0000'), { state: 'heard' });
    await journal.forget(NOW + 25 * 60 * MINUTE);
    t.is(await journal.find('call0000'), undefined);
  },
);

test.serial(
  'CallJournal.forget() drops ids only when their orders are over, and a clock that goes back revives none',
  async (t) => {
    // As if there were so many that none is kept longer than it must.
    const { spareIds } = journalLimits;
    journalLimits.spareIds = 0;
    t.teardown(() => void (journalLimits.spareIds = spareIds));
    const store = await openStore(t);
    const { journal } = await CallJournal.open(store);
    for (const id of ['first000', 'second00']) {
      const expires = NOW + (id === 'first000' ? 1 : 10) * MINUTE;
      await journal.begin(id, { ...begun, expires });
      await journal.end(id, { ...ended, expires });
      await journal.heard([id]);
    }
    await journal.forget(NOW + 3 * MINUTE);
    t.like(await journal.find('first000'), { state: 'heard' });
    await journal.forget(NOW + 3 * MINUTE + 1);
    t.is(await journal.find('first000'), undefined);
    t.like(await journal.find('second00'), { state: 'heard' });
    const { journal: again } = await CallJournal.open(store);
    t.true(again.isForgotten(NOW + MINUTE));
    t.false(again.isForgotten(NOW + MINUTE + 1));
    await t.throwsAsync(again.begin('first000', begun), { code: 'ERR_CONFLICT' });
  },
);

test('CallJournal is full of results that nobody hears, or of their output, and has room again once they are', async (t) => {
  const store = await openStore(t);
  const { journal } = await CallJournal.open(store);
  const half = journalLimits.unheardBytes / 2;
  await journal.begin('call0000', { ...begun, maxBytes: half });
  await journal.begin('call0001', { ...begun, maxBytes: half });
  await t.throwsAsync(journal.begin('call0002', { ...begun, maxBytes: 1 }), { code: 'ERR_BUSY' });
  await journal.end('call0000', ended);
  await journal.begin('call0002', { ...begun, maxBytes: half });
  await t.throwsAsync(journal.begin('call0003', { ...begun, maxBytes: 1 }), { code: 'ERR_BUSY' });
  // A call that is refused for it is written down all the same, so that it cannot come again.
  await journal.burn('call0003', begun.expires);
  t.like(await journal.find('call0003'), { state: 'heard' });
});
