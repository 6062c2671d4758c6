import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { Effect } from './door-effect.ts';
import type { PresentHost } from './host-record.ts';
import { HostTable } from './host-table.ts';

const HOUR = 3_600_000;
const MOST = 600;

class Bench {
  readonly clock = new ManualClock();
  readonly revoked = new Set<string>();
  readonly store: LevelStateStore;
  isRevokingBroken = false;
  isFull = false;
  #table: HostTable | undefined;

  private constructor(store: LevelStateStore) {
    this.store = store;
  }

  static async open(t: ExecutionContext): Promise<Bench> {
    const directory = await mkdtemp(join(tmpdir(), 'host-table-'));
    const bench = new Bench(await LevelStateStore.open(join(directory, 'ops')));
    await bench.reopen();
    t.teardown(async () => {
      await bench.table[Symbol.asyncDispose]();
      await bench.store.close();
      await rm(directory, { recursive: true });
    });
    return bench;
  }

  get table(): HostTable {
    if (this.#table === undefined) throw new TypeError('not open');
    return this.#table;
  }

  /** Another start; after a crash what was not written is lost. */
  async reopen({ isCrash = false } = {}): Promise<void> {
    if (!isCrash) await this.#table?.[Symbol.asyncDispose]();
    this.#table = await HostTable.open({
      state: this.store,
      revocations: {
        isRevoked: (peer) => this.revoked.has(peer),
        epoch: () => undefined,
        checkRoom: () => {
          if (this.isFull) throw new CodedError('ERR_BUSY', 'the list is full');
        },
        revoke: async (peer) => {
          if (this.isRevokingBroken) throw new Error('the disk is full');
          this.revoked.add(peer);
        },
      },
      maxHosts: MOST,
      clock: this.clock,
      log: silentLog,
    });
  }

  /** Commits of anybody since the last time, told by the number that each commit has. */
  async commits(): Promise<number> {
    const key = 'marker';
    const last = (await this.store.get(key))?.revision ?? 0;
    return (await this.store.commit([{ type: 'put', key, value: 0 }])) - last - 1;
  }

  /** What waits is written. */
  async settle(): Promise<void> {
    this.clock.advance(1_000);
    await this.table.idle();
  }

  async rows(prefix: string): Promise<number> {
    return (await Array.fromAsync(this.store.range(keysWith(prefix)))).length;
  }

  async apply<T>({ changes, expect, answer }: Effect<T>): Promise<T> {
    await this.store.commit(changes, expect === undefined ? {} : { expect });
    return answer();
  }
}

/** Twenty labels. */
function numbered(from: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`k${from + at}`, 'v']));
}

function host(peer: string, more: Partial<PresentHost> = {}): PresentHost {
  const facts = { os: 'linux', cpus: 4, bootId: 'b1' };
  return { peer, hostname: `name-${peer}`, idc: 'hz', role: 'host', facts, ...more };
}

test('hosts are kept with what they say, also when they are gone and after a restart', async (t) => {
  const bench = await Bench.open(t);
  const began = bench.clock.now();
  const one = host('p1', { location: 'rack-1' });
  bench.table.connected(one);
  bench.clock.advance(5_000);
  bench.table.disconnected(one);
  bench.table.connected(host('p2', { facts: undefined }));
  await bench.reopen();
  t.deepEqual(bench.table.find('p1'), {
    peer: 'p1',
    hostname: 'name-p1',
    idc: 'hz',
    location: 'rack-1',
    role: 'host',
    facts: { os: 'linux', cpus: 4, bootId: 'b1' },
    labels: {},
    firstSeen: began,
    lastSeen: began + 5_000,
    isConnected: false,
    retired: undefined,
  });
  t.like(bench.table.find('p2'), { isConnected: false, facts: {} });
  t.is(bench.table.size, 2);
});

test('many that come at once are one commit; those that come back as they were are none', async (t) => {
  const bench = await Bench.open(t);
  const hosts = Array.from({ length: 500 }, (_, at) => host(`p${at}`));
  await bench.commits();
  for (const one of hosts) bench.table.connected(one);
  await bench.settle();
  t.is(await bench.commits(), 1);
  for (let round = 0; round < 3; round += 1) {
    for (const one of hosts) bench.table.disconnected(one);
    // As another session would say it, in any order.
    const again = hosts.map((one) => ({ ...one, facts: { bootId: 'b1', cpus: 4, os: 'linux' } }));
    for (const one of again) bench.table.connected(one);
    bench.clock.advance(60_000);
  }
  bench.table.connected(host('p7', { facts: { os: 'linux', cpus: 4, bootId: 'b2' } }));
  bench.clock.advance(1_000);
  await bench.table.idle();
  t.is(await bench.commits(), 1, 'what p7 says now');
  await bench.table[Symbol.asyncDispose]();
  t.is(await bench.commits(), 1, 'when all were here');
});

test('when hosts were here is written once an hour, in one commit of many', async (t) => {
  const bench = await Bench.open(t);
  const away = host('p0');
  bench.table.connected(away);
  for (let at = 1; at < 300; at += 1) bench.table.connected(host(`p${at}`));
  bench.table.disconnected(away);
  const left = bench.clock.now();
  await bench.settle();
  await bench.commits();
  bench.clock.advance(HOUR);
  await bench.table.idle();
  t.is(await bench.rows('host-seen/'), 300);
  t.is(await bench.commits(), 1);
  const first = (await bench.store.get('host-seen/p0'))?.revision;
  bench.clock.advance(HOUR);
  await bench.table.idle();
  t.is(
    (await bench.store.get('host-seen/p0'))?.revision,
    first,
    'who is away is not written again',
  );
  await bench.reopen({ isCrash: true });
  t.is(bench.table.find('p0')?.lastSeen, left);
  t.true((bench.table.find('p1')?.lastSeen ?? 0) >= left + 2 * HOUR - 1_000);
});

test('labels are set and removed, and changes at the same time are told apart', async (t) => {
  const bench = await Bench.open(t);
  for (const peer of ['p1', 'p2']) bench.table.connected(host(peer));
  const both = ['p1', 'p2'];
  // Not written yet: the label brings the host along.
  const set = { set: { env: 'prod', group: 'web' } };
  t.deepEqual(await bench.apply(await bench.table.label(both, set)), { hosts: 2, changed: 2 });
  t.deepEqual(await bench.apply(await bench.table.label(both, set)), { hosts: 2, changed: 0 });
  const change = { set: { env: 'test' }, remove: ['group', 'none'] };
  const [first, second] = [
    await bench.table.label(['p1'], change),
    await bench.table.label(both, { remove: ['env'] }),
  ];
  await bench.apply(first);
  await t.throwsAsync(bench.apply(second), { code: 'ERR_CONFLICT' });
  await bench.reopen({ isCrash: true });
  t.deepEqual(bench.table.find('p1')?.labels, { env: 'test' });
  t.deepEqual(bench.table.find('p2')?.labels, { env: 'prod', group: 'web' });
  t.deepEqual(bench.table.traitsOf('p2')?.facts, { os: 'linux', cpus: 4, bootId: 'b1' });
  await bench.apply(await bench.table.label(['p1'], { set: numbered(0) }));
  const more = bench.table.label(['p1'], { set: numbered(20) });
  await t.throwsAsync(more, { code: 'ERR_REQUEST', message: /at most 32 labels/ });
});

test('a retired host leaves what is known of it; who put it out before the end is put out by the next start', async (t) => {
  const bench = await Bench.open(t);
  bench.table.connected(host('p1'));
  bench.table.connected(host('p2', { hostname: 'name-p1' }));
  t.is(bench.table.named('name-p1').length, 2);
  await bench.apply(await bench.table.label(['p1'], { set: { env: 'prod' } }));
  t.like(await bench.apply(await bench.table.retire('p1', 'ann')), { retired: { by: 'ann' } });
  t.true(bench.table.isRetired('p1'));
  t.deepEqual(
    bench.table.named('name-p1').map(({ peer }) => peer),
    ['p2'],
  );
  bench.isRevokingBroken = true;
  await bench.reopen({ isCrash: true });
  t.true(bench.table.isRetired('p1'), 'also while the cell map is without it');
  bench.isRevokingBroken = false;
  await bench.reopen();
  t.true(bench.revoked.has('p1'));
  t.like(await bench.apply(await bench.table.retire('p1', 'bob')), { retired: { by: 'ann' } });
  t.like(bench.table.find('p1'), { labels: { env: 'prod' }, facts: { os: 'linux' } });
  bench.revoked.add('p2');
  t.true(bench.table.isRetired('p2'), 'who was revoked otherwise is as good as retired');
  await t.throwsAsync(bench.table.retire('p3', 'ann'), { code: 'ERR_NOT_FOUND' });
});

test('a host that the cell has no room to put out is not retired either', async (t) => {
  const bench = await Bench.open(t);
  bench.table.connected(host('p1'));
  bench.isFull = true;
  await t.throwsAsync(bench.table.retire('p1', 'ann'), { code: 'ERR_BUSY' });
  t.false(bench.table.isRetired('p1'));
  await bench.reopen();
  t.false(bench.table.isRetired('p1'));
});

test('where there is no room the host that is away longest goes, but none with a label or retired', async (t) => {
  const bench = await Bench.open(t);
  const hosts = Array.from({ length: MOST }, (_, at) => host(`p${at}`));
  for (const one of hosts) bench.table.connected(one);
  bench.table.connected(host('late'));
  t.is(bench.table.find('late'), undefined, 'all of them are here');
  await bench.apply(await bench.table.label(['p0'], { set: { env: 'prod' } }));
  await bench.apply(await bench.table.retire('p1', 'ann'));
  await bench.apply(await bench.table.label(['p2'], { set: { env: 'prod' } }));
  await bench.apply(await bench.table.label(['p2'], { remove: ['env'] }));
  for (const one of hosts.slice(0, 4)) {
    bench.clock.advance(10);
    bench.table.disconnected(one);
  }
  bench.table.connected(host('new'));
  t.is(bench.table.size, MOST);
  t.is(bench.table.find('p2'), undefined);
  for (const peer of ['p0', 'p1', 'p3', 'new']) t.not(bench.table.find(peer), undefined, peer);
  await bench.reopen();
  t.is(await bench.rows('host-labels/'), 1);
  t.is(bench.table.size, MOST);
  t.is(bench.table.find('p2'), undefined);
});
