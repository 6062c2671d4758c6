import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { newProgram, runProgram } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { ApprovalTable } from '../control/approval-table.ts';
import { AuditLog } from '../control/audit-log.ts';
import { Caps } from '../control/caps.ts';
import { Door } from '../control/door.ts';
import { addKeyRoutes } from '../control/key-routes.ts';
import { PolicyTable } from '../control/policy-table.ts';
import { operator } from '../control/principal.ts';
import { Principals } from '../control/principals.ts';
import { addKeysCommands } from './keys-command.ts';

interface Bench {
  readonly audit: AuditLog;
  readonly folder: string;
  /** Runs `dfops` with a key, or as the operator. */
  readonly dfops: (argv: readonly string[], key?: string) => Promise<{ out: string; err: string }>;
}

/** A door behind a port, and the commands in front of it. */
async function bench(t: ExecutionContext): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-keys-'));
  const clock = new SystemClock();
  const store = await LevelStateStore.open(join(folder, 'ops'));
  const principals = await Principals.open(store, { clock, log: silentLog });
  const policies = await PolicyTable.open(store);
  const approvals = await ApprovalTable.open(store, { clock, log: silentLog });
  const cellKey = HostKey.generate();
  const controlKey = HostKey.generate();
  const now = clock.now();
  const certificate = issueControlCertificate(cellKey, { control: controlKey.peerId, now });
  const audit = await AuditLog.open({
    state: store,
    cell: cellKey.peerId,
    control: { key: controlKey, certificate },
    headFile: join(folder, 'audit-head'),
    clock,
    log: silentLog,
  });
  const caps = new Caps(store);
  const door = new Door({ audit, principals, policies, approvals, caps, clock, log: silentLog });
  const app = newApiApp(silentLog);
  addKeyRoutes(app, {
    parts: () => ({ door, principals, policies }),
    callerOf: ({ ip, headers: { authorization } }) => {
      if (authorization === undefined) return { principal: operator, source: ip };
      const principal = principals.find(authorization);
      if (principal !== undefined) return { principal, source: ip };
      throw new CodedError('ERR_UNAUTHORIZED', 'the API key is missing or wrong');
    },
  });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    await app.close();
    await door[Symbol.asyncDispose]();
    await principals[Symbol.asyncDispose]();
    await approvals[Symbol.asyncDispose]();
    await audit.close();
    await store.close();
    await rm(folder, { recursive: true, force: true });
  });
  const dfops: Bench['dfops'] = async (argv, key) => {
    let [out, err] = ['', ''];
    const print = (text: string): void => void (out += text);
    const complain = (text: string): void => void (err += text);
    const env = { ODONATA_API: url, ...(key === undefined ? {} : { ODONATA_API_KEY: key }) };
    const program = newProgram({ name: 'dfops', description: '', print });
    const { signal } = new AbortController();
    addKeysCommands(program, { env, clock, signal, print, complain });
    await runProgram(program, argv);
    return { out, err };
  };
  return { audit, folder, dfops };
}

test('dfops keys create prints the key alone, once; list never shows it', async (t) => {
  const { dfops, audit } = await bench(t);
  const created = await dfops(['keys', 'create', 'ann', '--expires', '2h', '--hosts-cap', '5/1h']);
  t.regex(created.out, /^odo_[0-9a-f]{16}_[\w-]{43}\n$/);
  const json = await dfops(['keys', 'create', 'bob', '--json']);
  const bob = JSON.parse(json.out) as { id: string; key: string; principal: string };
  t.regex(bob.key, /^odo_/);
  const { out } = await dfops(['keys', 'list']);
  t.is(out.trim().split('\n').length, 2);
  t.regex(out, /ann {2}expires .* never used {2}hosts 5\/1h/);
  for (const text of [out, (await dfops(['keys', 'list', '--json'])).out, created.err]) {
    t.false(text.includes(created.out.trim().slice(-43)));
    t.false(text.includes(bob.key.slice(-43)));
  }
  const { records } = await audit.list({ limit: 100 });
  t.is(records.length, 2, 'what only looks leaves no record');
});

test('a key may what a policy that dfops put allows, until it is removed, and until the key is locked', async (t) => {
  const { dfops, folder } = await bench(t);
  const { key, id } = JSON.parse((await dfops(['keys', 'create', 'ann', '--json'])).out) as {
    key: string;
    id: string;
  };
  await t.throwsAsync(dfops(['keys', 'list'], key), { code: 'ERR_DENIED' });
  const file = join(folder, 'policy.json');
  await writeFile(file, '{"effect":"allow","principals":["ann"],"verbs":["key.list"]}');
  const put = await dfops(['policies', 'put', 'look', '--file', file]);
  t.is(put.out, 'look  allow ann  key.list\n');
  t.is((await dfops(['policies', 'list'])).out, put.out);
  await t.notThrowsAsync(dfops(['keys', 'list'], key));
  await t.throwsAsync(dfops(['policies', 'list'], key), { code: 'ERR_DENIED' });
  await t.throwsAsync(dfops(['keys', 'lock', id], key), { code: 'ERR_DENIED' });
  await dfops(['policies', 'remove', 'look']);
  await t.throwsAsync(dfops(['keys', 'list'], key), { code: 'ERR_DENIED' });
  t.regex((await dfops(['keys', 'lock', id])).out, /ann {2}locked /);
  await t.throwsAsync(dfops(['keys', 'list'], key), { code: 'ERR_UNAUTHORIZED' });
});

test('dfops keys rotate prints another key of the same id; the former holds as long as it was said', async (t) => {
  const { dfops, folder } = await bench(t);
  const file = join(folder, 'policy.json');
  await writeFile(file, '{"effect":"allow","principals":["*"],"verbs":["*"]}');
  await dfops(['policies', 'put', 'all', '--file', file]);
  const first = (await dfops(['keys', 'create', 'ann'])).out.trim();
  const id = first.slice(4, 20);
  const second = (await dfops(['keys', 'rotate', id])).out.trim();
  t.is(second.slice(0, 20), first.slice(0, 20));
  for (const key of [first, second]) await t.notThrowsAsync(dfops(['keys', 'list'], key));
  const third = (await dfops(['keys', 'rotate', id, '--overlap', '0'])).out.trim();
  for (const key of [first, second]) {
    await t.throwsAsync(dfops(['keys', 'list'], key), { code: 'ERR_UNAUTHORIZED' });
  }
  t.regex((await dfops(['keys', 'list'], third)).out, / used /);
});

test('what is wrong is named', async (t) => {
  const { dfops, folder } = await bench(t);
  const file = join(folder, 'policy.json');
  await writeFile(file, '{"effect":"allow","principals":["ann"],"verbs":["call.forge"]}');
  const cases = [
    [['keys'], 'ERR_USAGE', /create, list, rotate, lock/],
    [['policies'], 'ERR_USAGE', /put, list, remove/],
    [['keys', 'create', 'a/b'], 'ERR_REQUEST', /principal/],
    [['keys', 'create', 'ann', '--hosts-cap', 'five'], 'ERR_USAGE', /--hosts-cap/],
    [['keys', 'create', 'ann', '--calls-cap', '1/1ms'], 'ERR_REQUEST', /caps\/calls\/windowMs/],
    [['keys', 'lock', 'nonsense'], 'ERR_REQUEST', /id/],
    [['keys', 'lock', '0'.repeat(16)], 'ERR_NOT_FOUND', /key/],
    [['policies', 'put', 'p', '--file', file], 'ERR_REQUEST', /call\.forge/],
    [['policies', 'put', 'p', '--file', join(folder, 'none')], 'ERR_USAGE', /ENOENT/],
    [['policies', 'remove', 'p'], 'ERR_NOT_FOUND', /policy/],
  ] as const;
  for (const [argv, code, message] of cases) await t.throwsAsync(dfops(argv), { code, message });
});
