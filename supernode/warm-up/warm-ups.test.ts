import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { MemoryWarmHost } from './memory-warm-host.ts';
import type { JobRecord } from './job-record.ts';
import { WarmUps } from './warm-ups.ts';
import type { WarmUpsParts } from './warm-ups.ts';

interface Bench {
  readonly clock: ManualClock;
  readonly directory: string;
  readonly open: (parts?: Partial<WarmUpsParts>) => Promise<WarmUps>;
}

async function openBench(t: ExecutionContext): Promise<Bench> {
  const directory = await mkdtemp(join(tmpdir(), 'warm-ups-'));
  const opened: WarmUps[] = [];
  t.teardown(async () => {
    for (const warmUps of opened) await warmUps[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });
  const clock = new ManualClock();
  const open: Bench['open'] = async (parts = {}) => {
    const warmUps = await WarmUps.open({
      directory,
      clock,
      random: new SeededRandom(1),
      log: silentLog,
      resolveImage: async () => ({ tasks: [], authorization: undefined, renew: async () => '' }),
      ...parts,
    });
    opened.push(warmUps);
    return warmUps;
  };
  return { clock, directory, open };
}

/** Lets work that waits for the disk go on until `look` finds something. */
async function found<T>(look: () => T | undefined): Promise<T> {
  for (;;) {
    const answer = look();
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function ended(warmUps: WarmUps, id: string): Promise<JobRecord> {
  return found(() => {
    const record = warmUps.find(id);
    return record?.finished === undefined ? undefined : record;
  });
}

function urls(count: number): string[] {
  return Array.from({ length: count }, (_unused, at) => `http://origin.test/${at}`);
}

test('WarmUps orders few things at a time of one host, whatever the jobs', async (t) => {
  const { open } = await openBench(t);
  const warmUps = await open();
  const host = new MemoryWarmHost(warmUps.listener, { peer: 'a' });
  warmUps.listener.connected(host);
  const jobs = [
    await warmUps.submit({ urls: urls(30), to: 'all' }, 'api'),
    await warmUps.submit({ urls: urls(30), to: 'all' }, 'api'),
  ];
  await found(() => (host.orders.size === 8 ? true : undefined));
  host.finishAll();
  for (const { id } of jobs) {
    await found(() => {
      host.finishAll();
      return warmUps.find(id)?.finished;
    });
    t.like(warmUps.find(id), { state: 'done', bytes: { received: 300, fromSeed: 300 } });
  }
  t.is(host.most, 8);
});

test('WarmUps orders a release at once, whatever runs and is ordered, and in its class', async (t) => {
  const { open } = await openBench(t);
  const warmUps = await open();
  const host = new MemoryWarmHost(warmUps.listener, { peer: 'a' });
  warmUps.listener.connected(host);
  for (let job = 0; job < 18; job += 1) {
    await warmUps.submit({ urls: urls(30), to: 'all' }, 'api');
  }
  await found(() => (host.orders.size === 8 ? true : undefined));
  const url = 'http://origin.test/release';
  const release = await warmUps.submit({ url, to: 'all', priority: 'release' }, 'api');
  t.is(release.priority, 'release');
  const order = await found(() => host.orders.get(`${release.id}.0`));
  t.is(order.priority, 'release');
  const others = [...host.orders.values()].filter(({ id }) => id !== order.id);
  t.deepEqual([...new Set(others.map(({ priority }) => priority))], ['warm-up']);
});

test('WarmUps refuses with ERR_BUSY what is past its queue, and takes it once there is room', async (t) => {
  const { open } = await openBench(t);
  const gate = Promise.withResolvers<never>();
  const warmUps = await open({ resolveImage: async () => gate.promise });
  gate.promise.catch(() => undefined);
  const wish = { image: 'registry.test/a/b:c', to: 'all' };
  for (let count = 0; count < 16 + 500; count += 1) await warmUps.submit(wish, 'api');
  const refused = await t.throwsAsync(warmUps.submit(wish, 'api'), { code: 'ERR_BUSY' });
  t.regex(refused.message, /500 warm-ups are waiting/);
  const waiting = [...warmUps.list().values()].map((look) => look());
  const last = waiting.at(-1);
  t.is(last?.state, 'waiting');
  t.true(await warmUps.cancel(last?.id ?? ''));
  t.is(warmUps.find(last?.id ?? '')?.state, 'cancelled');
  t.is((await warmUps.submit(wish, 'api')).state, 'waiting');
});

test('WarmUps tries a failure again with growing pauses, three times in all, but not one that nothing helps', async (t) => {
  const { open, clock } = await openBench(t);
  const warmUps = await open();
  const host = new MemoryWarmHost(warmUps.listener, { peer: 'a' });
  warmUps.listener.connected(host);
  const { id } = await warmUps.submit({ urls: urls(2), to: 'all' }, 'api');
  await found(() => (host.orders.size === 2 ? true : undefined));
  const fail = (index: number, code: string): void =>
    host.tell({
      id: `${id}.${index}`,
      state: 'failed',
      received: 0,
      error: { code, message: 'no' },
    });
  fail(1, 'ERR_ORIGIN_REFUSED');
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    t.is(host.orders.size, 1, `attempt ${attempt}`);
    fail(0, 'ERR_ORIGIN_FAILING');
    t.is(host.orders.size, 0, 'not at once');
    clock.advance(30_000);
  }
  const record = await ended(warmUps, id);
  t.like(record, { state: 'failed', hosts: { total: 1, done: 0, failed: 1 } });
  t.like(record.results[0]?.failures, [
    { task: 1, code: 'ERR_ORIGIN_REFUSED', attempts: 1, retried: false },
    { task: 0, code: 'ERR_ORIGIN_FAILING', attempts: 3, retried: false },
  ]);
});

test('WarmUps orders again of a host that comes back, and gives up one that does not, or is too old', async (t) => {
  const { open, clock } = await openBench(t);
  const warmUps = await open();
  const { listener } = warmUps;
  const first = new MemoryWarmHost(listener, { peer: 'a' });
  const old = new MemoryWarmHost(listener, { peer: 'b', takesOrders: false });
  const lost = new MemoryWarmHost(listener, { peer: 'c' });
  for (const host of [first, old, lost]) listener.connected(host);
  const { id } = await warmUps.submit({ url: 'http://origin.test/f', to: 'all' }, 'api');
  await found(() => (first.orders.size === 1 ? true : undefined));
  t.is(old.orders.size, 0, 'it would end its session');
  const again = new MemoryWarmHost(listener, { peer: 'a' });
  listener.connected(again);
  listener.disconnected(first);
  t.deepEqual([...again.orders.keys()], [...first.orders.keys()]);
  first.tell({ id: `${id}.0`, state: 'failed', received: 0 });
  t.is(again.orders.size, 1, 'the word of a former connection counts for nothing');
  again.finishAll();
  listener.disconnected(lost);
  clock.advance(121_000);
  const record = await ended(warmUps, id);
  t.like(record, { state: 'failed', hosts: { total: 3, done: 1, failed: 2 } });
  const codes = new Map(record.results.map(({ peer, failures }) => [peer, failures[0]?.code]));
  t.deepEqual(
    [...codes],
    [
      ['a', undefined],
      ['b', 'ERR_PROTOCOL'],
      ['c', 'ERR_LINK'],
    ],
  );
});

test('WarmUps takes up after a restart what may be kept, for the same hosts, and no secret is on the disk', async (t) => {
  const { open } = await openBench(t);
  const before = await open();
  const host = new MemoryWarmHost(before.listener, { peer: 'a' });
  before.listener.connected(host);
  const plain = await before.submit({ url: 'http://origin.test/f', to: 'all' }, 'api');
  const headers = { authorization: 'Bearer hunter2' };
  const secret = await before.submit({ url: 'http://origin.test/g', headers, to: 'all' }, 'api');
  const signed = await before.submit(
    { url: 'http://origin.test/h?sign=hunter2', to: 'all' },
    'api',
  );
  await found(() => (host.orders.size === 3 ? true : undefined));
  await before[Symbol.asyncDispose]();

  const after = await open();
  for (const { id } of [secret, signed]) {
    t.like(after.find(id), { state: 'interrupted', error: { code: 'ERR_INTERRUPTED' } });
  }
  t.false(JSON.stringify(after.find(signed.id)).includes('hunter2'));
  const newcomer = new MemoryWarmHost(after.listener, { peer: 'b' });
  const returned = new MemoryWarmHost(after.listener, { peer: 'a' });
  for (const each of [newcomer, returned]) after.listener.connected(each);
  await found(() => (returned.orders.size === 1 ? true : undefined));
  t.is(newcomer.orders.size, 0);
  returned.finishAll();
  t.like(await ended(after, plain.id), { state: 'done', hosts: { total: 1, done: 1 } });
  t.true(
    Number((await after.submit({ url: 'http://origin.test/i', to: 'all' }, 'api')).id) >
      Number(signed.id),
  );
});

test('WarmUps asks a registry for another token once, for all that were refused with the first', async (t) => {
  const { open, clock } = await openBench(t);
  let renewals = 0;
  const renew = async (): Promise<string> => `Bearer ${(renewals += 1)}`;
  const tasks = urls(4).map((url) => ({ spec: { url }, isAuthorized: true }));
  const warmUps = await open({
    resolveImage: async () => ({ tasks, authorization: 'Bearer 0', renew }),
  });
  const host = new MemoryWarmHost(warmUps.listener, { peer: 'a' });
  warmUps.listener.connected(host);
  const { id } = await warmUps.submit({ image: 'registry.test/a:b', to: 'all' }, 'api');
  await found(() => (host.orders.size === 4 ? true : undefined));
  const shown = (): (string | undefined)[] =>
    [...host.orders.values()].map(({ spec }) => spec.headers?.['authorization']);
  t.deepEqual(new Set(shown()), new Set(['Bearer 0']));
  const error = { code: 'ERR_ORIGIN_REFUSED', message: 'no', detail: { status: 401 } };
  for (const order of host.orders.keys()) {
    host.tell({ id: order, state: 'failed', received: 0, error });
    // The answers come one after the other.
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.is(renewals, 1);
  clock.advance(2_000);
  t.deepEqual(new Set(shown()), new Set(['Bearer 1']));
  host.finishAll();
  t.like(await ended(warmUps, id), { state: 'done' });
});

test('WarmUps gives hosts time to come back after a restart before it chooses among them', async (t) => {
  const { open, clock } = await openBench(t);
  const gate = Promise.withResolvers<never>();
  const before = await open({ resolveImage: async () => gate.promise });
  const { id } = await before.submit({ image: 'registry.test/a:b', to: 'all' }, 'api');
  await found(() => (before.find(id)?.state === 'resolving' ? true : undefined));
  await before[Symbol.asyncDispose]();

  const spec = { url: 'http://origin.test/f' };
  const tasks = [{ spec, isAuthorized: false }];
  const asked = Promise.withResolvers<void>();
  const after = await open({
    resolveImage: async () => {
      asked.resolve();
      return { tasks, authorization: undefined, renew: async () => undefined };
    },
  });
  await asked.promise;
  const host = new MemoryWarmHost(after.listener, { peer: 'a' });
  after.listener.connected(host);
  // Slowly: what is written to disk meanwhile takes real time, and the job's own hour must not pass before it.
  while (host.orders.size === 0) {
    clock.advance(1_000);
    await sleep(5);
  }
  host.finishAll();
  t.like(await ended(after, id), { state: 'done', hosts: { total: 1, done: 1 } });
});

test('WarmUps gives up a host whose connection ends whenever it is ordered something', async (t) => {
  const { open } = await openBench(t);
  const warmUps = await open();
  const { listener } = warmUps;
  const connect = (): MemoryWarmHost => {
    const host = new MemoryWarmHost(listener, { peer: 'a' });
    listener.connected(host);
    return host;
  };
  let host = connect();
  const { id } = await warmUps.submit({ url: 'http://origin.test/f', to: 'all' }, 'api');
  await found(() => (host.orders.size === 1 ? true : undefined));
  for (let times = 0; times < 100; times += 1) {
    listener.disconnected(host);
    host = connect();
  }
  t.is(host.orders.size, 0);
  t.like((await ended(warmUps, id)).results[0]?.failures, [{ code: 'ERR_LINK' }]);
});

test('WarmUps names the field that is wrong, and says when no host is meant', async (t) => {
  const { open } = await openBench(t);
  const warmUps = await open();
  const url = 'http://origin.test/f';
  const wrong: [object, string][] = [
    [{ to: 'all' }, 'image'],
    [{ url, image: 'a/b', to: 'all' }, 'image'],
    [{ url, to: 'some' }, 'to'],
    [{ url, to: 'count=0' }, 'to'],
    [{ url, to: 'percent=101' }, 'to'],
    [{ url, platforms: ['linux/amd64'], to: 'all' }, 'platforms'],
    [{ image: 'a/b', platforms: ['linux'], to: 'all' }, 'platforms'],
    [{ image: 'a/B', to: 'all' }, 'image'],
    [{ image: 'a/b', headers: { a: 'b' }, to: 'all' }, 'headers'],
    [{ urls: urls(2), digest: `sha256:${'a'.repeat(64)}`, to: 'all' }, 'digest'],
  ];
  for (const [request, path] of wrong) {
    const error = await t.throwsAsync(warmUps.submit({ to: 'all', ...request }, 'api'), {
      code: 'ERR_REQUEST',
    });
    t.true(error.message.startsWith(`${path}: `), error.message);
  }
  await t.throwsAsync(warmUps.submit({ url: 'ftp://a/b', to: 'all' }, 'api'), { code: 'ERR_URL' });
  const { id } = await warmUps.submit({ url, to: 'idc=nowhere' }, 'api');
  t.like(await ended(warmUps, id), { state: 'failed', error: { code: 'ERR_NOT_FOUND' } });
});
