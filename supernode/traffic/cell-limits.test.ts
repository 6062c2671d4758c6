import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Demand, Share } from '../../core/wire/messages.ts';
import { CellLimits } from './cell-limits.ts';
import type { LimitedHost } from './cell-limits.ts';

const MB = 1_000_000;
const quiet = { rate: 0, wantsMore: false, most: 0 };

async function folder(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'limits-'));
  t.teardown(async () => rm(directory, { recursive: true }));
  return directory;
}

function hostNamed(peer: string, takesShares = true): LimitedHost & { readonly told: Share[] } {
  const told: Share[] = [];
  return { peer, takesShares, told, share: (share) => void told.push(share) };
}

function demandOf(host: { readonly told: Share[] }, wantsMore: boolean): Demand {
  const seq = host.told.at(-1)?.seq ?? 0;
  return { type: 'demand', seq, download: { ...quiet, wantsMore }, origin: quiet };
}

test('CellLimits splits a budget by demand among hosts that take shares, and lifts it when it is no more', async (t) => {
  const clock = new ManualClock();
  await using limits = await CellLimits.open(await folder(t), { clock, log: silentLog });
  const [busy, idle, old] = [hostNamed('busy'), hostNamed('idle'), hostNamed('old', false)];
  for (const host of [busy, idle, old]) limits.connected(host);
  clock.advance(5_000);
  t.is(busy.told.length, 0);
  await limits.set({ download: 10 * MB });
  for (let round = 0; round < 4; round += 1) {
    limits.demanded(busy, demandOf(busy, true));
    limits.demanded(idle, demandOf(idle, false));
    clock.advance(500);
  }
  t.true((busy.told.at(-1)?.download?.rate ?? 0) > 9.7 * MB);
  t.is(busy.told.at(-1)?.origin, undefined);
  t.true((idle.told.at(-1)?.download?.rate ?? 0) > 0);
  t.true(limits.outstanding.download <= 10 * MB);
  t.is(old.told.length, 0);
  await limits.set({ download: 0 });
  t.is(busy.told.at(-1)?.download, undefined);
});

test('CellLimits keeps budgets across a restart, and gives nobody what hosts may still hold of before', async (t) => {
  const directory = await folder(t);
  const clock = new ManualClock();
  const before = await CellLimits.open(directory, { clock, log: silentLog });
  await before.set({ download: MB, origin: 2 * MB });
  await before[Symbol.asyncDispose]();
  await using limits = await CellLimits.open(directory, { clock, log: silentLog });
  t.deepEqual(limits.budgets, { download: MB, origin: 2 * MB });
  const [fresh, returning] = [hostNamed('fresh'), hostNamed('returning')];
  limits.connected(fresh);
  limits.connected(returning);
  limits.demanded(returning, { ...demandOf(returning, true), holds: { download: 0.9 * MB } });
  clock.advance(500);
  limits.demanded(fresh, demandOf(fresh, true));
  clock.advance(500);
  t.true((fresh.told.at(-1)?.download?.rate ?? 0) <= 0.02 * MB);
  t.true((returning.told.at(0)?.download?.rate ?? 0) > 0.1 * MB);
  t.true(limits.outstanding.download <= MB);
  for (let round = 0; round < 100; round += 1) {
    limits.demanded(fresh, demandOf(fresh, true));
    limits.demanded(returning, demandOf(returning, true));
    clock.advance(500);
  }
  t.true((fresh.told.at(-1)?.download?.rate ?? 0) > 0.45 * MB);
});

test('CellLimits: a host that is here again by another connection keeps its share when the first one ends', async (t) => {
  const clock = new ManualClock();
  await using limits = await CellLimits.open(await folder(t), { clock, log: silentLog });
  await limits.set({ download: MB });
  const [first, second] = [hostNamed('one'), hostNamed('one')];
  limits.connected(first);
  limits.connected(second);
  limits.disconnected(first);
  clock.advance(500);
  t.true((second.told.at(-1)?.download?.rate ?? 0) > 0);
  t.is(first.told.length, 0);
});

test('CellLimits splits budgets of origin hosts among all, and those of two idcs among hosts of the taking one', async (t) => {
  const directory = await folder(t);
  const clock = new ManualClock();
  const limits = await CellLimits.open(directory, { clock, log: silentLog });
  const named = (peer: string, idc: string): ReturnType<typeof hostNamed> => ({
    ...hostNamed(peer),
    idc,
    takesNamedShares: true,
  });
  const [east, west, old] = [named('east', 'east'), named('west', 'west'), hostNamed('old')];
  for (const host of [east, west, old]) limits.connected(host);
  const changes = { originHosts: { 'Files.example': MB }, between: { 'east|west': 2 * MB } };
  await limits.set(changes);
  const budgets = {
    download: 0,
    origin: 0,
    originHosts: { 'files.example': MB },
    between: { 'east|west': 2 * MB },
  };
  t.deepEqual(limits.budgets, budgets);
  for (let round = 0; round < 6; round += 1) {
    for (const host of [east, west]) {
      const wanted = { ...quiet, wantsMore: host === west };
      limits.demanded(host, {
        ...demandOf(host, false),
        named: { 'origin:files.example': wanted, 'between:east|west': wanted },
      });
    }
    clock.advance(500);
  }
  t.deepEqual(Object.keys(east.told.at(-1)?.named ?? {}), ['origin:files.example']);
  t.true((west.told.at(-1)?.named?.['origin:files.example']?.rate ?? 0) > 0.95 * MB);
  t.true((west.told.at(-1)?.named?.['between:east|west']?.rate ?? 0) > 1.9 * MB);
  t.is(old.told.length, 0);
  t.true((limits.outstanding.originHosts?.['files.example'] ?? 0) <= MB);
  await limits[Symbol.asyncDispose]();
  await using after = await CellLimits.open(directory, { clock, log: silentLog });
  t.deepEqual(after.budgets, budgets);
  await after.set({ originHosts: { 'files.example': 0 } });
  t.deepEqual(after.budgets, { download: 0, origin: 0, between: { 'east|west': 2 * MB } });
});

test('CellLimits refuses names that are none, and too many of them', async (t) => {
  const clock = new ManualClock();
  await using limits = await CellLimits.open(await folder(t), { clock, log: silentLog });
  for (const name of ['', 'a:80', '*', 'a/b']) {
    const error = await t.throwsAsync(limits.set({ originHosts: { [name]: MB } }));
    t.like(error, { code: 'ERR_REQUEST', detail: { path: `originHosts/${name}` } });
  }
  for (const name of ['', 'a', 'a|', '|b', 'a|b|c', 'a b|c']) {
    await t.throwsAsync(limits.set({ between: { [name]: MB } }), { code: 'ERR_REQUEST' }, name);
  }
  const many = Array.from({ length: 33 }, (_, at) => [`h${at}`, MB] as const);
  await t.throwsAsync(limits.set({ originHosts: Object.fromEntries(many) }), {
    code: 'ERR_REQUEST',
    message: /at most/,
  });
  t.deepEqual(limits.budgets, { download: 0, origin: 0 });
});
