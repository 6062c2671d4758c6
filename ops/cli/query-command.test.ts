import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { newProgram, runProgram } from '../../core/base/command-line.ts';
import { ManualClock, SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import type { LiveValues, Query } from '../../core/wire/messages.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { Authority } from '../../supernode/membership/authority.ts';
import { readCellKey } from '../../supernode/membership/cell-keys.ts';
import { until } from '../../test/support/until.ts';
import type { PresentHost } from '../control/host-record.ts';
import { addHostRoutes } from '../control/host-routes.ts';
import { OpsControl } from '../control/index.ts';
import type { PolicyRule } from '../control/policy-rule.ts';
import { operator } from '../control/principal.ts';
import type { QueryHost } from '../control/query-host.ts';
import { addQueryCommand } from './query-command.ts';

const GIB = 1024 ** 3;

/** The other end of queries in the hands of a test. */
class AskedHost implements QueryHost, PresentHost {
  readonly peer = HostKey.generate().peerId;
  readonly role = 'host';
  readonly facts = { arch: 'x64', memoryBytes: 8 * GIB };
  readonly hostname: string;
  readonly idc: string;
  readonly answersQueries: boolean;
  readonly asked: number[] = [];
  readonly #ops: OpsControl;
  readonly #values: LiveValues | undefined;

  /** Without values it keeps silent. */
  constructor(
    ops: OpsControl,
    hostname: string,
    more: { readonly values?: LiveValues; readonly idc?: string; readonly isOld?: boolean } = {},
  ) {
    this.#ops = ops;
    this.hostname = hostname;
    this.idc = more.idc ?? 'hz';
    this.answersQueries = more.isOld !== true;
    this.#values = more.values;
    ops.hosts.connected(this);
    ops.queries.connected(this);
  }

  query({ id }: Query): void {
    this.asked.push(id);
    const values = this.#values;
    if (values !== undefined) this.#ops.queries.told(this, { type: 'values', id, values });
  }

  leave(): void {
    this.#ops.queries.disconnected(this);
    this.#ops.hosts.disconnected(this);
  }
}

interface Bench {
  readonly clock: ManualClock;
  readonly ops: OpsControl;
  readonly url: string;
  /** Runs `dfops query` with a key, or as the operator; standard output and standard error. */
  readonly query: (
    argv: readonly string[],
    key?: string,
  ) => Promise<{ readonly out: string; readonly err: string }>;
  /** A key of somebody, with this policy. */
  readonly keyOf: (principal: string, policy: Omit<PolicyRule, 'principals'>) => Promise<string>;
}

/** The control side with its routes behind a port, and the command in front. */
async function bench(t: ExecutionContext): Promise<Bench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'query-command-'));
  const clock = new ManualClock();
  const authority = await Authority.open({ dataDir, clock, log: silentLog, addresses: [] });
  const { cell } = authority;
  const ops = await OpsControl.open({
    dataDir,
    cell,
    cellKey: async () => readCellKey(dataDir, cell),
    revocations: authority,
    clock,
    random: new SeededRandom(1),
    log: silentLog,
  });
  const app = newApiApp(silentLog);
  addHostRoutes(app, {
    parts: () => ops,
    callerOf: ({ ip, headers: { authorization } }) => {
      if (authorization === undefined) return { principal: operator, source: ip };
      const principal = ops.principals.find(authorization);
      if (principal !== undefined) return { principal, source: ip };
      throw new CodedError('ERR_UNAUTHORIZED', 'the API key is missing or wrong');
    },
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    await app.close();
    await ops[Symbol.asyncDispose]();
    await authority[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  const query: Bench['query'] = async (argv, key) => {
    const said = { out: '', err: '' };
    const print = (text: string): void => void (said.out += text);
    const complain = (text: string): void => void (said.err += text);
    const env = { ODONATA_API: url, ...(key === undefined ? {} : { ODONATA_API_KEY: key }) };
    const program = newProgram({ name: 'dfops', description: '', print });
    const { signal } = new AbortController();
    addQueryCommand(program, { env, clock: new SystemClock(), signal, print, complain });
    await runProgram(program, ['query', ...argv]);
    return said;
  };
  const caller = { principal: operator, source: 'test' };
  const keyOf: Bench['keyOf'] = async (principal, rule) => {
    const policy = { ...rule, principals: [principal] };
    await ops.door.perform(
      { verb: 'policy.put', caller, input: { name: principal, policy }, object: { id: principal } },
      async () => ops.policies.put(principal, policy),
    );
    const { key } = await ops.door.perform(
      { verb: 'key.create', caller, input: { principal }, object: { id: principal } },
      async () => ops.principals.create({ principal }),
    );
    return key;
  };
  return { clock, ops, url, query, keyOf };
}

/** Resolves when so many queries wait for the answer of a host. */
async function waitsFor(ops: OpsControl, host: AskedHost, queries = 1): Promise<void> {
  await until(() => host.asked.length > 0 && ops.queries.running === queries);
  // Between asking the last host and waiting for it they look whether their reader keeps up.
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Lines of JSON. */
function lines(out: string): Record<string, unknown>[] {
  const all = out.split('\n').filter((line) => line !== '');
  return all.map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('dfops query shows the hosts that fit, those of which it is not known, and sums that add up', async (t) => {
  const { clock, ops, query } = await bench(t);
  const old = new AskedHost(ops, 'old', { isOld: true });
  const odd = new AskedHost(ops, 'odd', { values: { load1: 1 } });
  for (const [name, memory] of [
    ['low', 1],
    ['high', 6],
  ] as const) {
    const values = { memoryAvailableBytes: memory * GIB, load1: 0.256 };
    t.is(new AskedHost(ops, name, { values }).hostname, name);
  }
  const silent = new AskedHost(ops, 'silent');
  new AskedHost(ops, 'away').leave();
  const asking = query(['memoryAvailableBytes < 4GiB and arch = x64']);
  await waitsFor(ops, silent);
  clock.advance(2_000);
  const { out, err } = await asking;
  t.deepEqual(out.trimEnd().split('\n').toSorted(), [
    'low  memoryAvailableBytes=1.0 GiB  arch=x64',
    'odd  unknown  memoryAvailableBytes=?  arch=x64',
  ]);
  t.deepEqual([old.asked.length, odd.asked.length], [0, 1]);
  const complaints = err.trimEnd().split('\n').toSorted();
  t.deepEqual(complaints, [
    '6 hosts: 3 answered (1 fit, 1 do not, of 1 it is not known), 2 silent, 1 refused; 2.00 s',
    'away: silent (not connected)',
    'old: refused (ERR_PROTOCOL: its dfdaemon is of a version that answers no queries)',
    'silent: silent (no answer within 2000 ms)',
  ]);
});

test('dfops query --json streams what is known before the silent have had their time', async (t) => {
  const { clock, ops, query } = await bench(t);
  const fit = new AskedHost(ops, 'fit', { values: { load1: 0.256 } });
  const silent = new AskedHost(ops, 'silent');
  const away = new AskedHost(ops, 'away');
  away.leave();
  const asking = query(['load1 < 1', '--columns', 'load1,idc', '--json']);
  await waitsFor(ops, silent);
  clock.advance(1_000);
  silent.leave();
  const [first, ...rest] = lines((await asking).out);
  t.deepEqual(first, { type: 'begun', hosts: 3, columns: ['load1', 'idc'] });
  const last = rest.pop();
  const byName = new Map(rest.map((line) => [line['hostname'], line]));
  t.deepEqual(byName.get('fit'), {
    type: 'host',
    peer: fit.peer,
    hostname: 'fit',
    matches: 'yes',
    values: { load1: 0.256, idc: 'hz' },
  });
  t.like(byName.get('silent'), { type: 'silent', reason: 'its connection ended' });
  t.like(byName.get('away'), { type: 'silent', reason: 'not connected' });
  t.is(typeof byName.get('away')?.['lastSeen'], 'number');
  const counts = { hosts: 3, answered: 1, silent: 2, refused: 0 };
  t.deepEqual(last, {
    type: 'ended',
    counts: { ...counts, matched: 1, unmatched: 0, unknown: 0 },
    ms: 1_000,
  });
});

test('queries at the same time ask a host once, and a host that never answered is asked again later', async (t) => {
  const { clock, ops, query } = await bench(t);
  const silent = new AskedHost(ops, 'silent');
  const two = [query(['--timeout', '5s']), query(['--timeout', '5s'])];
  await waitsFor(ops, silent, 2);
  clock.advance(5_000);
  for (const { err } of await Promise.all(two)) t.regex(err, /0 answered .* 1 silent/);
  t.is(silent.asked.length, 1);
  clock.advance(6_000);
  const later = query(['--timeout', '5s']);
  await until(() => silent.asked.length > 1);
  ops.queries.told(silent, { type: 'values', id: silent.asked[0] ?? 0, values: { load1: 1 } });
  ops.queries.told(silent, { type: 'values', id: silent.asked[1] ?? 0, values: { load1: 2 } });
  t.regex((await later).out, /^silent {2}load1=2 {2}/m);
});

test('a host that is retired is not asked, and --on asks only those that it means', async (t) => {
  const { ops, query } = await bench(t);
  const values = { load1: 1 };
  const [one, two, three] = ['one', 'two', 'three'].map(
    (name, at) => new AskedHost(ops, name, { values, idc: at === 2 ? 'sh' : 'hz' }),
  );
  const caller = { principal: operator, source: 'test' };
  const input = { host: 'two' };
  await ops.door.perform(
    { verb: 'host.retire', caller, input, object: { id: two?.peer ?? '', hosts: [] } },
    async () => ops.hosts.retire(two?.peer ?? '', 'operator'),
  );
  t.regex((await query([])).err, /^2 hosts: 2 answered/);
  t.regex((await query(['--on', 'idc=sh'])).err, /^1 hosts: 1 answered/);
  t.deepEqual(
    [one, two, three].map((host) => host?.asked.length),
    [1, 0, 2],
  );
});

test('policies say who may ask which hosts, and whoever may not asks none', async (t) => {
  const { ops, query, keyOf } = await bench(t);
  const hosts = ['hz', 'sh'].map((idc) => new AskedHost(ops, idc, { idc, values: { load1: 1 } }));
  const rule = { effect: 'allow', verbs: ['host.query'], hosts: ['idc=hz'] } as const;
  const partly = await keyOf('partly', { ...rule, verbs: [...rule.verbs], hosts: [...rule.hosts] });
  const lister = await keyOf('lister', { effect: 'allow', verbs: ['host.list'] });
  for (const key of [partly, lister]) {
    await t.throwsAsync(query(['load1 > 0'], key), { message: /may not host\.query/ });
  }
  await t.throwsAsync(query(['load1 > 0', '--on', 'host=nobody'], partly), {
    message: /may not host\.query/,
  });
  t.deepEqual(
    hosts.map(({ asked }) => asked.length),
    [0, 0],
  );
  t.regex((await query(['load1 > 0', '--on', 'idc=hz'], partly)).out, /^hz {2}load1=1$/m);
});

test('a reader who goes away ends his query at once', async (t) => {
  const { ops, url } = await bench(t);
  const silent = new AskedHost(ops, 'silent');
  const gone = new AbortController();
  const response = await fetch(`${url}/api/v1/ops/hosts/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
    signal: gone.signal,
  });
  t.is(response.headers.get('content-type'), 'application/x-ndjson');
  await waitsFor(ops, silent);
  gone.abort();
  await until(() => ops.queries.running === 0);
  t.is(ops.queries.outcomes.get('silent'), 0, 'nobody knows whether it would have answered');
});

test('what is no expression, no value or no place for another query is refused before anything is asked', async (t) => {
  const { clock, ops, query } = await bench(t);
  const silent = new AskedHost(ops, 'silent');
  await t.throwsAsync(query(['loud > 1']), {
    message: /at character 1, "loud": no value .* load1/,
  });
  await t.throwsAsync(query(['--columns', 'loud']), { message: /columns\/0: .*"loud".* load1/ });
  t.is(silent.asked.length, 0);
  const many = Array.from({ length: 33 }, async () => query([]).catch(String));
  await waitsFor(ops, silent, 32);
  const refused = await Promise.race(many);
  t.regex(typeof refused === 'string' ? refused : '', /are waiting/);
  clock.advance(2_000);
  const ended = await Promise.all(many);
  t.is(ended.filter((one) => typeof one === 'string').length, 1);
});
