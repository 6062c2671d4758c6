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
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { Authority } from '../../supernode/membership/authority.ts';
import { readCellKey } from '../../supernode/membership/cell-keys.ts';
import type { PresentHost } from '../control/host-record.ts';
import { addHostRoutes } from '../control/host-routes.ts';
import { OpsControl } from '../control/index.ts';
import type { PolicyRule } from '../control/policy-rule.ts';
import { operator } from '../control/principal.ts';
import { addHostsCommands } from './hosts-command.ts';

type Dfops = (argv: readonly string[], key?: string) => Promise<string>;

interface Bench {
  readonly authority: Authority;
  readonly ops: OpsControl;
  /** Runs `dfops hosts` with a key, or as the operator. */
  readonly hosts: Dfops;
  /** A key of somebody, with this policy. */
  readonly keyOf: (principal: string, policy: Omit<PolicyRule, 'principals'>) => Promise<string>;
}

/** The control side with its routes behind a port, a real cell, and the commands in front. */
async function bench(
  t: ExecutionContext,
  options: { readonly maxRevoked?: number } = {},
): Promise<Bench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'hosts-command-'));
  const clock = new ManualClock();
  const authority = await Authority.open({
    dataDir,
    clock,
    log: silentLog,
    addresses: [],
    ...options,
  });
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
  const hosts: Dfops = async (argv, key) => {
    let out = '';
    const print = (text: string): void => void (out += text);
    const env = { ODONATA_API: url, ...(key === undefined ? {} : { ODONATA_API_KEY: key }) };
    const program = newProgram({ name: 'dfops', description: '', print });
    const { signal } = new AbortController();
    addHostsCommands(program, { env, clock: new SystemClock(), signal, print, complain: print });
    await runProgram(program, ['hosts', ...argv]);
    return out;
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
  return { authority, ops, hosts, keyOf };
}

function host(hostname: string, more: Partial<PresentHost> = {}): PresentHost {
  const { peerId: peer } = HostKey.generate();
  return { peer, hostname, idc: 'hz', role: 'host', facts: { arch: 'x64', cpus: 4 }, ...more };
}

/** The host names of lines of JSON. */
function namesIn(out: string): string[] {
  const lines = out.split('\n').filter((line) => line !== '');
  return lines.map((line) => String((JSON.parse(line) as PresentHost).hostname)).toSorted();
}

test('dfops hosts lists and shows what is known, also of hosts that are away', async (t) => {
  const { ops, hosts } = await bench(t);
  const [one, two] = [host('web-1'), host('web-2', { idc: 'sh', facts: { arch: 'arm64' } })];
  ops.hosts.connected(one);
  ops.hosts.connected(two);
  ops.hosts.disconnected(two);
  t.deepEqual(namesIn(await hosts(['list', '--json'])), ['web-1', 'web-2']);
  t.deepEqual(namesIn(await hosts(['list', '--json', '--on', 'fact=arch:arm64'])), ['web-2']);
  t.regex(await hosts(['list']), /^web-1 {2}12D3KooW\w+ {2}hz {2}connected$/m);
  t.regex(await hosts(['list']), /^web-2 {2}12D3KooW\w+ {2}sh {2}last seen \d{4}-/m);
  const shown = await hosts(['show', 'web-1']);
  t.regex(shown, /^ {2}arch x64$/m);
  t.is(await hosts(['show', one.peer]), shown);
  t.like(JSON.parse(await hosts(['show', two.peer, '--json'])), {
    peer: two.peer,
    state: 'active',
    isConnected: false,
    labels: {},
    facts: { arch: 'arm64' },
  });
  await t.throwsAsync(hosts(['show', 'web-3']), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(hosts(['show', host('x').peer]), { code: 'ERR_NOT_FOUND' });
});

test('what a host says of itself cannot steer the terminal', async (t) => {
  const { ops, hosts } = await bench(t);
  ops.hosts.connected(host('a\u001b[2Jb\nc', { facts: { os: 'x\r\ny' } }));
  const out =
    (await hosts(['list'])) + (await hosts(['show', [...ops.hosts.all()][0]?.peer ?? '']));
  t.false(out.includes('\u001b') || out.includes('\r'));
  t.is(out.split('\n').filter((line) => line.startsWith('c')).length, 0);
});

test('dfops hosts label sets and removes, of one host or of many, and selectors know it at once', async (t) => {
  const { ops, hosts } = await bench(t);
  for (const name of ['web-1', 'web-2', 'db-1']) ops.hosts.connected(host(name));
  t.is(await hosts(['label', 'web-1', 'env=prod', 'group=web']), '1 of 1 hosts changed\n');
  t.is(
    await hosts(['label', 'group=web', '--on', 'host=web-1,host=web-2']),
    '1 of 2 hosts changed\n',
  );
  t.deepEqual(namesIn(await hosts(['list', '--json', '--on', 'label=group:web'])), [
    'web-1',
    'web-2',
  ]);
  const others = ['list', '--json', '--on', 'all,-label=group:web'];
  t.deepEqual(namesIn(await hosts(others)), ['db-1']);
  await hosts(['label', 'web-1', 'env-', 'group=old']);
  t.regex(await hosts(['list']), /^web-1 .* connected {2}group=old$/m);
  const { records } = await ops.audit.list({ limit: 10 });
  t.like(records.at(-1), {
    kind: 'host.label',
    principal: 'operator',
    object: 'host=web-1',
    detail: { hosts: 1, changed: 1, set: { group: 'old' }, remove: ['env'] },
  });
  const cases = [
    [['web-1'], 'ERR_USAGE', /no labels/],
    [['web-1', 'env'], 'ERR_USAGE', /"env" is neither/],
    [['web-1', '=x'], 'ERR_USAGE', /"=x" is neither/],
    [['web-1', 'Env=x'], 'ERR_REQUEST', /set/],
    [['web-1', 'env=a b'], 'ERR_REQUEST', /set\/env/],
    [['web-1', 'env=x', 'env-'], 'ERR_REQUEST', /remove\/0/],
    [['web-9', 'env=x'], 'ERR_NOT_FOUND', /host=web-9/],
    [['env=x', '--on', 'web'], 'ERR_REQUEST', /"web" is no selector/],
  ] as const;
  for (const [argv, code, message] of cases) {
    await t.throwsAsync(hosts(['label', ...argv]), { code, message }, argv.join(' '));
  }
  await t.throwsAsync(hosts([]), { code: 'ERR_USAGE', message: /list, show, label, retire/ });
});

test('dfops hosts retire puts a host out for good, and what is known of it stays', async (t) => {
  const { authority, ops, hosts } = await bench(t);
  const one = host('web-1');
  for (const other of [one, host('web-2'), host('web-2')]) ops.hosts.connected(other);
  await hosts(['label', 'web-1', 'env=prod']);
  t.regex(
    await hosts(['retire', 'web-1']),
    /^web-1 .* retired \d{4}-.* by operator {2}env=prod\n$/,
  );
  t.true(authority.isRevoked(one.peer));
  t.deepEqual(namesIn(await hosts(['list', '--json'])), ['web-2', 'web-2']);
  t.deepEqual(namesIn(await hosts(['list', '--json', '--retired'])), ['web-1']);
  t.regex(await hosts(['show', one.peer]), /env=prod[^]*arch x64/);
  await t.throwsAsync(hosts(['label', 'web-1', 'env=x']), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(hosts(['list', '--on', `host=${one.peer}`]), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(hosts(['retire', 'web-1']), { code: 'ERR_NOT_FOUND' });
  await t.notThrowsAsync(hosts(['retire', one.peer]), 'a second time changes nothing');
  const ambiguous = { code: 'ERR_REQUEST', message: /2 hosts have this name: give the peer id/ };
  await t.throwsAsync(hosts(['retire', 'web-2']), ambiguous);
  const { records } = await ops.audit.list({ limit: 10 });
  t.like(records.at(-1), { kind: 'host.retire', object: one.peer, detail: { hostname: 'web-1' } });
});

test('dfops hosts retire does nothing at all while the cell has no room to put anybody out', async (t) => {
  const { authority, ops, hosts } = await bench(t, { maxRevoked: 0 });
  const one = host('web-1');
  ops.hosts.connected(one);
  await t.throwsAsync(hosts(['retire', 'web-1']), {
    code: 'ERR_BUSY',
    message: /nobody can be put out: the list of revocations is full/,
  });
  t.false(authority.isRevoked(one.peer));
  t.deepEqual(namesIn(await hosts(['list', '--json', '--retired'])), []);
  t.deepEqual(namesIn(await hosts(['list', '--json'])), ['web-1']);
});

test('who may do what to which hosts is said by policies, and who may not does not learn which there are', async (t) => {
  const { ops, hosts, keyOf } = await bench(t);
  ops.hosts.connected(host('web-1'));
  ops.hosts.connected(host('db-1', { idc: 'sh' }));
  const reader = await keyOf('reader', { effect: 'allow', verbs: ['host.list'] });
  t.is(namesIn(await hosts(['list', '--json'], reader)).length, 2);
  const hz = { effect: 'allow', verbs: ['host.label', 'host.retire'], hosts: ['idc=hz'] } as const;
  const some = await keyOf('some', { ...hz, verbs: [...hz.verbs], hosts: [...hz.hosts] });
  await t.throwsAsync(hosts(['list'], some), { code: 'ERR_DENIED' });
  t.is(await hosts(['label', 'web-1', 'env=x'], some), '1 of 1 hosts changed\n');
  for (const [argv, key] of [
    [['label', 'NAME', 'env=x'], reader],
    [['retire', 'NAME'], reader],
    [['label', 'NAME', 'env=x'], some],
    [['retire', 'NAME'], some],
  ] as const) {
    const told = async (name: string): Promise<string | undefined> => {
      const error = await t.throwsAsync(
        hosts(
          argv.map((word) => (word === 'NAME' ? name : word)),
          key,
        ),
        { code: 'ERR_DENIED' },
      );
      return error?.message;
    };
    t.is(await told('db-1'), await told('db-2'));
  }
  await t.throwsAsync(hosts(['label', 'env=y', '--on', 'all'], some), { code: 'ERR_DENIED' });
  t.is(ops.hosts.named('db-1').length, 1);
});
