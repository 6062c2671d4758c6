import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { parseToken } from '../../core/identity/join-token.ts';
import { Authority } from '../membership/authority.ts';
import { SwarmTable } from '../swarm-table/swarm-table.ts';
import type { HostEntry } from '../swarm-table/swarm-table.ts';
import { OpsControl } from '../../ops/control/index.ts';
import { verbOf, verbs } from '../../ops/control/verbs.ts';
import { readCellKey } from '../membership/cell-keys.ts';
import { CellLimits } from '../traffic/cell-limits.ts';
import { WarmUps } from '../warm-up/warm-ups.ts';
import { ApiKeys } from './api-keys.ts';
import { HttpApi } from './http-api.ts';
import type { HttpApiOptions } from './http-api.ts';
import type { ServingStatus } from './supernode-view.ts';
import { TableView } from './table-view.ts';
import type { SeedFacts } from './table-view.ts';

const TASK = 'a'.repeat(64);
const VERSION = 'b'.repeat(16);

interface Bench {
  readonly api: HttpApi;
  readonly authority: Authority;
  readonly warmUps: WarmUps;
  readonly limits: CellLimits;
  readonly ops: OpsControl;
  readonly table: SwarmTable;
  readonly seeds: Map<string, SeedFacts>;
  status: ServingStatus;
  readonly call: (
    method: string,
    path: string,
    options?: { headers?: Record<string, string>; body?: unknown; host?: string },
  ) => Promise<{ status: number; headers: Record<string, unknown>; text: string; json: Body }>;
}

/** What is looked at of the answers' JSON. */
interface Body {
  readonly error: { readonly code: string; readonly message: string };
  readonly token: string;
  readonly next: string | undefined;
  readonly items: readonly { readonly peer: string; readonly task: string }[];
  readonly tasks: { readonly items: readonly unknown[] };
  readonly versions: readonly {
    readonly seed: { readonly failure: { readonly code: string } };
    readonly peers: { readonly items: readonly object[] };
  }[];
}

const metrics = async () => ({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' });

async function openBench(
  t: ExecutionContext,
  options: Partial<HttpApiOptions> & { isServing?: boolean } = {},
): Promise<Bench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'http-api-'));
  const clock = new ManualClock();
  const authority = await Authority.open({ dataDir, clock, log: silentLog, addresses: [] });
  const limits = await CellLimits.open(join(dataDir, 'limits'), { clock, log: silentLog });
  const warmUps = await WarmUps.open({
    directory: join(dataDir, 'warm-ups'),
    clock,
    random: new SeededRandom(1),
    log: silentLog,
    resolveImage: async () => {
      throw new CodedError('ERR_ORIGIN_UNREACHABLE', 'there is no registry here');
    },
  });
  const { cell } = authority;
  const ops = await OpsControl.open({
    dataDir,
    cell,
    cellKey: async () => readCellKey(dataDir, cell),
    revocations: authority,
    clock,
    random: new SeededRandom(2),
    log: silentLog,
  });
  const api = await HttpApi.open({
    host: '127.0.0.1',
    port: 0,
    isMetricsPublic: true,
    log: silentLog,
    ...options,
  });
  t.teardown(async () => {
    await api[Symbol.asyncDispose]();
    await warmUps[Symbol.asyncDispose]();
    await ops[Symbol.asyncDispose]();
    await limits[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  const table = new SwarmTable();
  const seeds = new Map<string, SeedFacts>();
  const call: Bench['call'] = async (method, path, { headers = {}, body, host } = {}) =>
    exchange({ host: host ?? '127.0.0.1', port: api.port, method, path }, headers, body);
  const bench: Bench = {
    api,
    authority,
    warmUps,
    limits,
    ops,
    table,
    seeds,
    status: { isReady: true, problems: [] },
    call,
  };
  const view = new TableView({
    table,
    clock,
    status: () => bench.status,
    seed: (task, version) => seeds.get(`${task}/${version}`),
  });
  if (options.isServing !== false) {
    api.serve({ view, actions: authority, warmUps, limits, ops, metrics });
  }
  return bench;
}

async function exchange(
  target: { host: string; port: number; method: string; path: string },
  headers: Record<string, string>,
  body: unknown,
): ReturnType<Bench['call']> {
  const payload = typeof body === 'string' ? body : JSON.stringify(body);
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  const outgoing = request({ ...target, agent: false, headers: { ...type, ...headers } });
  const answered = once(outgoing, 'response');
  outgoing.end(payload);
  const [response] = (await answered) as [IncomingMessage];
  let text = '';
  for await (const chunk of response) text += String(chunk);
  const isJson = String(response.headers['content-type']).startsWith('application/json');
  const json = (isJson ? JSON.parse(text) : {}) as Body;
  return { status: response.statusCode ?? 0, headers: response.headers, text, json };
}

function hostEntry(peer: string, more: Partial<HostEntry> = {}): HostEntry {
  return {
    peer,
    addresses: ['10.0.0.7:65002'],
    idc: 'east',
    location: undefined,
    hostname: 'node-7',
    role: 'host',
    isReachable: true,
    isConnected: true,
    lastSeenMs: 1_700_000_000_000,
    accusers: new Map(),
    quarantinedUntilMs: 0,
    withheldUntilMs: 0,
    ...more,
  };
}

const shape = { version: VERSION, pieceLength: 1024, length: 3000, validators: {} };

test('GET /healthz says what is not ready: starting, a problem, stopping', async (t) => {
  const bench = await openBench(t, { isServing: false, keys: new ApiKeys(['k']) });
  const health = async () => bench.call('GET', '/healthz');
  t.like(await health(), { status: 503, json: { status: 'not ready', problems: ['starting'] } });
  t.like(await bench.call('GET', '/metrics'), { status: 503 });
  const view = new TableView({
    table: bench.table,
    clock: new ManualClock(),
    status: () => bench.status,
    seed: () => undefined,
  });
  const { warmUps, limits, ops } = bench;
  bench.api.serve({ view, actions: bench.authority, warmUps, limits, ops, metrics });
  t.like(await health(), { status: 200, json: { status: 'ok', problems: [] } });
  bench.status = { isReady: false, problems: ['the disk is full'] };
  t.like(await health(), { status: 503, json: { problems: ['the disk is full'] } });
  bench.api.retire();
  t.like(await health(), { status: 503, json: { problems: ['stopping'] } });
});

test('HttpApi requires a key for everything but health and public metrics', async (t) => {
  const keys = new ApiKeys(['first-key', 'second-key']);
  const { call } = await openBench(t, { keys });
  t.like(await call('GET', '/healthz'), { status: 200 });
  t.like(await call('GET', '/metrics'), { status: 200, text: 'up 1\n' });
  const attempts = [
    undefined,
    'Bearer wrong',
    'Bearer first-keyx',
    'Bearer ',
    'Basic first-key',
    'first-key',
  ];
  for (const authorization of attempts) {
    for (const [method, path] of [
      ['GET', '/api/v1/tasks'],
      ['GET', `/api/v1/tasks/${TASK}`],
      ['GET', '/api/v1/hosts'],
      ['DELETE', `/api/v1/hosts/${HostKey.generate().peerId}`],
      ['GET', '/api/v1/tokens'],
      ['POST', '/api/v1/tokens'],
    ] as const) {
      const headers = authorization === undefined ? {} : { authorization };
      const answer = await call(method, path, {
        headers,
        body: method === 'POST' ? {} : undefined,
      });
      t.is(answer.status, 401, `${method} ${path} ${authorization}`);
      t.like(answer.json, { error: { code: 'ERR_UNAUTHORIZED', class: 'user', retryable: false } });
      t.is(answer.headers['www-authenticate'], 'Bearer');
    }
  }
  for (const authorization of ['Bearer first-key', 'bearer second-key']) {
    t.is((await call('GET', '/api/v1/tasks', { headers: { authorization } })).status, 200);
  }
});

test('HttpApi guards metrics like the rest when they are not public', async (t) => {
  const { call } = await openBench(t, { keys: new ApiKeys(['k']), isMetricsPublic: false });
  t.is((await call('GET', '/metrics')).status, 401);
  const headers = { authorization: 'Bearer k' };
  t.like(await call('GET', '/metrics', { headers }), { status: 200, text: 'up 1\n' });
});

test('HttpApi without keys answers only this machine, and says why', async (t) => {
  const { call } = await openBench(t, { host: '0.0.0.0' });
  t.is((await call('GET', '/api/v1/tasks')).status, 200);
  t.is((await call('GET', '/api/v1/tasks', { headers: { host: 'localhost:8001' } })).status, 200);
  const rebound = await call('GET', '/api/v1/tasks', { headers: { host: 'evil.example:8001' } });
  t.like(rebound, { status: 403, json: { error: { code: 'ERR_FORBIDDEN' } } });
  const own = Object.values(networkInterfaces())
    .flat()
    .find((address) => address?.family === 'IPv4' && !address.internal)?.address;
  if (own === undefined) {
    t.log('no address but loopback: not tried from elsewhere');
    return;
  }
  const remote = await call('GET', '/api/v1/tasks', { host: own });
  t.is(remote.status, 403);
  t.regex(remote.json.error.message, /--api-key-file/);
  t.is((await call('GET', '/healthz', { host: own })).status, 200);
});

test('POST /api/v1/tokens makes a token that joins, and DELETE ends it', async (t) => {
  const { call, authority } = await openBench(t);
  const body = { ttlMs: 60_000, uses: 2, cidr: '10.0.0.0/8', role: 'seed', idc: 'east' };
  const made = await call('POST', '/api/v1/tokens', { body });
  t.is(made.status, 201);
  t.is(made.headers['cache-control'], 'no-store');
  const { id, secret } = parseToken(made.json.token);
  const { peerId } = HostKey.generate();
  const claim = { id, secret, peerId, address: '10.0.0.7' };
  t.deepEqual(await authority.redeem(claim), { role: 'seed', idc: 'east' });
  const listed = await call('GET', '/api/v1/tokens');
  t.like(listed.json, { items: [{ id, role: 'seed', usesLeft: 1 }] });
  t.false(listed.text.includes(secret));
  t.is((await call('DELETE', `/api/v1/tokens/${id}`)).status, 204);
  t.is((await call('DELETE', `/api/v1/tokens/${id}`)).status, 404);
  await t.throwsAsync(authority.redeem(claim), { code: 'ERR_TOKEN' });
});

test('POST /api/v1/tokens refuses a bad body with the path of the wrong field', async (t) => {
  const { call } = await openBench(t);
  const bad = [
    [{ ttlMs: '60' }, /^body\/ttlMs/],
    [{ uses: 0 }, /^body\/uses/],
    [{ role: 'supernode' }, /^body\/role/],
    [{ hosts: 3 }, /^body\/hosts: is not known/],
    [{ cidr: '10.0.0.0/99' }, /network/],
    [[], /^body/],
    ['{', /JSON/],
    ['"x"'.padEnd(20_000), /too large/],
  ] as const;
  for (const [body, message] of bad) {
    const { status, json } = await call('POST', '/api/v1/tokens', { body });
    t.is(status, 400, String(message));
    t.regex(json.error.message, message);
    t.true(['ERR_REQUEST', 'ERR_USAGE'].includes(json.error.code));
  }
  t.is((await call('POST', '/api/v1/tokens')).status, 400);
});

test('DELETE /api/v1/hosts/:peer revokes', async (t) => {
  const { call, authority } = await openBench(t);
  const { peerId } = HostKey.generate();
  t.is((await call('DELETE', `/api/v1/hosts/${peerId}`)).status, 204);
  t.true(authority.isRevoked(peerId));
  t.like(await call('DELETE', '/api/v1/hosts/nobody'), {
    status: 400,
    json: { error: { code: 'ERR_REQUEST' } },
  });
  t.is((await call('DELETE', `/api/v1/hosts/${authority.key.peerId}`)).status, 400);
});

test('GET /api/v1/tasks/:task shows who has how much, and from where', async (t) => {
  const { call, table, seeds } = await openBench(t);
  const peers = [HostKey.generate().peerId, HostKey.generate().peerId].toSorted();
  const [one = '', other = ''] = peers;
  const accusers = new Map([[other, 0]]);
  table.hosts.set(one, hostEntry(one, { accusers, quarantinedUntilMs: 10 }));
  table.hosts.set(other, hostEntry(other, { hostname: undefined, idc: undefined }));
  const version = table.addVersion(TASK, shape);
  const first = version.peer(one);
  first.isActive = true;
  version.had(first, 0);
  Object.assign(first, { fromPeers: 10, fromSeed: 1014, failures: 1 });
  const second = version.peer(other);
  version.hasAll(second);
  Object.assign(second, { isActive: false, fromOrigin: 3000 });
  version.link(first, other);
  seeds.set(`${TASK}/${VERSION}`, {
    state: 'failed',
    stored: { pieces: { count: 2 } },
    originBytes: 2048,
    spec: { url: 'http://user:secret@origin:8080/file?sig=secret#x' },
    failure: new CodedError('ERR_ORIGIN_SHORT', 'short'),
  });
  const { status, json, text } = await call('GET', `/api/v1/tasks/${TASK}`);
  t.is(status, 200);
  t.false(text.includes('secret'));
  t.like(json.versions[0], {
    version: VERSION,
    pieceLength: 1024,
    length: 3000,
    pieces: 3,
    hosts: 2,
    activeHosts: 1,
    completeHosts: 1,
    fromPeers: 10,
    fromSeed: 1014,
    fromOrigin: 3000,
    seed: { state: 'failed', pieces: 2, originBytes: 2048, url: 'http://origin:8080/file' },
  });
  t.is(json.versions[0]?.seed.failure.code, 'ERR_ORIGIN_SHORT');
  const [oneRow, otherRow] = json.versions[0]?.peers.items ?? [];
  t.like(oneRow, {
    peer: one,
    hostname: 'node-7',
    idc: 'east',
    pieces: 1,
    isComplete: false,
    parents: [other],
    failures: 1,
    accusers: [other],
    fromSeed: 1014,
  });
  t.like(otherRow, { peer: other, pieces: 3, isComplete: true, isActive: false, children: 1 });
  const host = await call('GET', `/api/v1/hosts/${one}`);
  t.like(host.json, {
    peer: one,
    isQuarantined: true,
    accusers: [other],
    lastSeen: '2023-11-14T22:13:20.000Z',
  });
  t.deepEqual(host.json.tasks.items, [
    { task: TASK, version: VERSION, pieces: 1, isComplete: false, isActive: true },
  ]);
});

test('GET lists come in pages of bounded size, complete whatever the page', async (t) => {
  const { call, table } = await openBench(t);
  const peers = Array.from({ length: 7 }, () => HostKey.generate().peerId);
  for (const peer of peers) table.hosts.set(peer, hostEntry(peer));
  const seen: string[] = [];
  let after = '';
  for (let page = 0; page < 10; page += 1) {
    const { json } = await call('GET', `/api/v1/hosts?limit=3&after=${after}`);
    t.true(json.items.length <= 3);
    seen.push(...json.items.map(({ peer }) => peer));
    if (json.next === undefined) break;
    after = json.next;
  }
  t.deepEqual(seen, peers.toSorted());
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'limit=-1', 'other=1']) {
    const { status, json } = await call('GET', `/api/v1/hosts?${query}`);
    t.is(status, 400, query);
    t.regex(json.error.message, /^query\//);
  }
  for (let index = 0; index < 3; index += 1) {
    table.addVersion(index.toString(16).padStart(64, '0'), shape);
  }
  const tasks = await call('GET', '/api/v1/tasks?limit=2');
  t.is(tasks.json.items.length, 2);
  t.is(tasks.json.next, tasks.json.items[1]?.task);
});

test('HttpApi answers what is not there with ERR_NOT_FOUND', async (t) => {
  const { call } = await openBench(t);
  const { peerId } = HostKey.generate();
  for (const path of ['/', '/api/v1/nothing', `/api/v1/tasks/${TASK}`, `/api/v1/hosts/${peerId}`]) {
    const { status, json } = await call('GET', path);
    t.is(status, 404, path);
    t.is(json.error.code, 'ERR_NOT_FOUND');
  }
  t.is((await call('GET', '/api/v1/tasks/xyz')).status, 400);
  t.is((await call('PUT', '/api/v1/tasks')).status, 404);
});

test('HttpApi tells nobody what went wrong inside', async (t) => {
  const lines: string[] = [];
  const log = { ...silentLog, error: (facts: object) => lines.push(JSON.stringify(facts)) };
  const { call, authority } = await openBench(t, { log: { ...log, child: () => silentLog } });
  await authority[Symbol.asyncDispose]();
  const { status, json } = await call('GET', '/api/v1/tokens');
  t.is(status, 500);
  t.is(json.error.code, 'ERR_STORE_IO');
  t.is(lines.length, 1);
});

test('HttpApi.open() names the flag when the port is taken', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  t.teardown(() => other.close());
  const address = other.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const options = { host: '127.0.0.1', port, isMetricsPublic: true, log: silentLog };
  await t.throwsAsync(HttpApi.open(options), {
    code: 'ERR_ADDRESS_IN_USE',
    message: `--http-port: 127.0.0.1:${port} is taken`,
  });
  await t.throwsAsync(HttpApi.open({ ...options, host: '192.0.2.1' }), { code: 'ERR_CONFIG' });
});

test('ApiKeys.load() takes a private file with keys, and names what is wrong with others', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'http-api-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const file = join(folder, 'keys');
  const write = async (text: string, mode: number): Promise<void> => {
    await writeFile(file, text);
    await chmod(file, mode);
  };
  await write('# operators\nkey-one\r\n\n  key-two\n', 0o640);
  const keys = await ApiKeys.load(file);
  t.true(keys.accepts('Bearer key-one'));
  t.true(keys.accepts('Bearer key-two'));
  t.false(keys.accepts('Bearer #'));
  t.is(keys.mostOf('Bearer key-one'), 'release');
  await write('key-one\nkey-two  priority=normal\n', 0o600);
  const bounded = await ApiKeys.load(file);
  t.is(bounded.mostOf('Bearer key-two'), 'normal');
  t.is(bounded.mostOf('Bearer priority=normal'), undefined);
  await write('key-one priority=urgent\n', 0o600);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /line 1/ });
  t.false(keys.accepts(undefined));
  await write('key-one\n', 0o644);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /chmod 600/ });
  await write('# none\n', 0o600);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /no key/ });
  await write('ok\ntwo words\n', 0o600);
  await t.throwsAsync(ApiKeys.load(file), { code: 'ERR_CONFIG', message: /line 2/ });
  await t.throwsAsync(ApiKeys.load(join(folder, 'absent')), { message: /ENOENT/ });
});

test('POST /api/v1/warm-ups orders no class that the API key may not order', async (t) => {
  const { call } = await openBench(t, { keys: new ApiKeys(['all', 'some priority=normal']) });
  const order = async (key: string, priority?: string): Promise<number> => {
    const body = { url: 'https://files.example/a', to: 'all', priority };
    const headers = { authorization: `Bearer ${key}` };
    return (await call('POST', '/api/v1/warm-ups', { headers, body })).status;
  };
  t.is(await order('all', 'release'), 201);
  t.is(await order('some', 'normal'), 201);
  t.is(await order('some', 'warm-up'), 201);
  t.is(await order('some'), 201);
  t.is(await order('some', 'interactive'), 403);
  t.is(await order('some', 'release'), 403);
  t.is(await order('all', 'urgent'), 400);
});

test('PUT /api/v1/limits changes the budgets it names; GET shows them with the share of each host', async (t) => {
  const bench = await openBench(t);
  const first = await bench.call('PUT', '/api/v1/limits', { body: { download: 1_000_000 } });
  t.is(first.status, 200);
  t.deepEqual(JSON.parse(first.text), { budgets: { download: 1_000_000, origin: 0 } });
  bench.limits.connected({ peer: 'old', takesShares: false, share: () => undefined });
  bench.limits.connected({ peer: 'new', takesShares: true, share: () => undefined });
  await bench.call('PUT', '/api/v1/limits', { body: { origin: 65_536 } });
  const shown = await bench.call('GET', '/api/v1/limits');
  t.true(shown.text.includes('"budgets":{"download":1000000,"origin":65536}'));
  const row = { share: 10_000, rate: 0, wantsMore: false };
  t.deepEqual((JSON.parse(shown.text) as { hosts: object }).hosts, {
    items: [
      { peer: 'new', takesShares: true, download: row, origin: { ...row, share: 655 } },
      { peer: 'old', takesShares: false },
    ],
  });
});

for (const body of [
  { download: 5 },
  { download: -1 },
  { download: '1MB/s' },
  { upload: 100_000 },
]) {
  test(`PUT /api/v1/limits refuses ${JSON.stringify(body)}, and nothing changes`, async (t) => {
    const bench = await openBench(t);
    const answer = await bench.call('PUT', '/api/v1/limits', { body });
    t.is(answer.status, 400);
    t.regex(answer.text, /ERR_REQUEST/);
    t.deepEqual(bench.limits.budgets, { download: 0, origin: 0 });
  });
}

test('the API describes itself: every route with what it takes', async (t) => {
  const { call } = await openBench(t);
  const { status, text } = await call('GET', '/api/v1/openapi.json');
  t.is(status, 200);
  const { openapi, paths } = JSON.parse(text) as {
    openapi: string;
    paths: Record<string, Record<string, { requestBody?: unknown; parameters?: object[] }>>;
  };
  t.is(openapi, '3.1.0');
  const expected = ['/healthz', '/metrics', '/api/v1/tasks/{task}', '/api/v1/calls/{id}/events'];
  for (const path of expected) t.truthy(paths[path]?.['get'], path);
  t.regex(JSON.stringify(paths['/api/v1/calls']?.['post']?.requestBody), /"command".*"waitMs"/);
  t.regex(JSON.stringify(paths['/api/v1/calls/{id}']?.['get']?.parameters), /"in":"path"/);
});

/** Of the operator alone, and not for the door: what a supernode had before there was one, and what is open. */
const notOfTheDoor = [
  '/api/v1/openapi.json',
  '/api/v1/tokens',
  '/api/v1/tasks',
  '/api/v1/hosts',
  '/api/v1/limits',
  '/api/v1/warm-ups',
  '/api/v1/hooks/registry',
];

test('the API describes each verb once, and has no route of the door besides', async (t) => {
  const { call } = await openBench(t);
  const { paths } = JSON.parse((await call('GET', '/api/v1/openapi.json')).text) as {
    paths: Record<string, Record<string, Record<string, unknown>>>;
  };
  const described: string[] = [];
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = operation['x-verb'];
      const isOld = notOfTheDoor.some((one) => path === one || path.startsWith(`${one}/{`));
      t.is(name === undefined, isOld || !path.startsWith('/api/'), `${method} ${path}`);
      if (typeof name !== 'string') continue;
      const verb = verbOf(name);
      if (verb === undefined) {
        t.fail(`${method} ${path} is of no verb`);
        continue;
      }
      described.push(name);
      t.is(`${method.toUpperCase()} ${path}`, verb.at.replaceAll(/:(\w+)/g, '{$1}'));
      t.is(operation['x-permission'], verb.permission, name);
      t.is(operation['x-risk'], verb.risk, name);
      const text = JSON.stringify([operation['parameters'], operation['requestBody']]);
      for (const field of verb.body === undefined ? Object.keys(verb.schema.properties) : []) {
        t.true(field === verb.content || text.includes(`"${field}"`), `${name}: ${field}`);
      }
    }
  }
  t.deepEqual(described.toSorted(), Object.keys(verbs).toSorted());
});

test('whoever has a key that no policy speaks of gets nothing, whatever he asks for', async (t) => {
  const { call, ops } = await openBench(t, { keys: new ApiKeys(['k']), isMetricsPublic: false });
  const effect = await ops.principals.create({ principal: 'eve' });
  await ops.audit.append(
    {
      kind: 'key.create',
      principal: 'root',
      source: '',
      decision: 'allowed',
      object: '',
      detail: {},
    },
    effect,
  );
  const headers = { authorization: `Bearer ${effect.answer().key}` };
  const { paths } = JSON.parse((await call('GET', '/api/v1/openapi.json')).text) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const open = new Set(['/healthz', '/healthy', '/health', '/_ping', '/api/v1/openapi.json']);
  // A list of what waits for him, which is nothing.
  const approvals = await call('GET', '/api/v1/approvals', { headers });
  t.deepEqual([approvals.status, approvals.text], [200, '{"items":[]}']);
  open.add('/api/v1/approvals');
  const quoting = { headers: { ...headers, 'odonata-approval': 'any' } };
  const odd = await call('GET', '/api/v1/approvals', quoting);
  t.deepEqual([odd.status, odd.json.error.code], [400, 'ERR_REQUEST']);
  const asked = Object.entries(paths).flatMap(([path, methods]) =>
    open.has(path) ? [] : Object.keys(methods).map((method) => ({ path, method })),
  );
  t.true(asked.length > 30, String(asked.length));
  for (const { path, method } of asked) {
    const filled = path.replaceAll(/\{\w+\}/g, 'abcdefgh');
    const { status } = await call(method.toUpperCase(), filled, { headers });
    t.true([400, 401, 403, 404, 415].includes(status), `${method} ${path}: ${status}`);
  }
  for (const path of [
    'calls',
    'keys',
    'policies',
    'audit',
    'audit/export',
    'packages',
    'ops/hosts',
  ]) {
    const { status, json } = await call('GET', `/api/v1/${path}`, { headers });
    t.deepEqual([status, json.error.code], [403, 'ERR_DENIED'], path);
  }
});
