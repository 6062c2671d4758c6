import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { newProgram, runProgram } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { AnsweringHost } from '../../test/support/answering-host.ts';
import { nobodyRevoked } from '../../test/support/revocations.ts';
import { addApprovalRoutes } from '../control/approval-routes.ts';
import { addCallRoutes } from '../control/call-routes.ts';
import { quotedApproval } from '../control/door-app.ts';
import type { CallerOf } from '../control/door-app.ts';
import { OpsControl } from '../control/index.ts';
import { addKeyRoutes } from '../control/key-routes.ts';
import { operator } from '../control/principal.ts';
import { addApprovalsCommands } from './approvals-command.ts';
import { addCallCommands } from './call-command.ts';
import { addKeysCommands } from './keys-command.ts';

interface Bench {
  readonly ops: OpsControl;
  /** Runs `dfops` with the key of somebody, or as the operator; what it prints. */
  readonly dfops: (argv: readonly string[], who?: string) => Promise<string>;
}

/** The control side behind a port, with one host; ann asks, one of bob and eve must agree to what she calls. */
async function openBench(t: ExecutionContext): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-approvals-'));
  const cell = HostKey.generate();
  const clock = new SystemClock();
  const ops = await OpsControl.open({
    dataDir: folder,
    cell: cell.peerId,
    cellKey: async () => cell,
    revocations: nobodyRevoked,
    clock,
    random: new SystemRandom(),
    log: silentLog,
  });
  const callerOf: CallerOf = ({ ip, headers }) => {
    const { authorization } = headers;
    const principal = authorization === undefined ? operator : ops.principals.find(authorization);
    if (principal !== undefined) return quotedApproval(headers, { principal, source: ip });
    throw new CodedError('ERR_UNAUTHORIZED', 'the API key is missing or wrong');
  };
  const app = newApiApp(silentLog);
  addKeyRoutes(app, { parts: () => ops, callerOf });
  addCallRoutes(app, { control: () => ops, callerOf });
  addApprovalRoutes(app, { parts: () => ops, callerOf });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    await app.close();
    await ops[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  const keys = new Map<string, string>();
  const dfops: Bench['dfops'] = async (argv, who) => {
    let out = '';
    const print = (text: string): void => void (out += text);
    const key = who === undefined ? undefined : keys.get(who);
    const env = { ODONATA_API: url, ...(key === undefined ? {} : { ODONATA_API_KEY: key }) };
    const program = newProgram({ name: 'dfops', description: '', print });
    const { signal } = new AbortController();
    const tools = { env, clock, signal, print, complain: () => undefined };
    addKeysCommands(program, tools);
    addCallCommands(program, tools);
    addApprovalsCommands(program, tools);
    await runProgram(program, argv);
    return out;
  };
  for (const name of ['ann', 'bob', 'eve']) {
    keys.set(name, (await dfops(['keys', 'create', name])).trim());
  }
  const file = join(folder, 'policy.json');
  const all = { principals: ['ann'], verbs: ['*'] };
  const policies = {
    all: { ...all, effect: 'allow' },
    'four-eyes': { ...all, verbs: ['call.run'], effect: 'approve', approvers: [['bob', 'eve']] },
  };
  for (const [name, policy] of Object.entries(policies)) {
    await writeFile(file, JSON.stringify(policy));
    await dfops(['policies', 'put', name, '--file', file]);
  }
  new AnsweringHost('web-1').connect(ops.desk);
  return { ops, dfops };
}

/** What somebody has to have agreed to before `run` does anything. */
async function askedBy(t: ExecutionContext, run: Promise<string>): Promise<string> {
  const error = await t.throwsAsync(run, { code: 'ERR_APPROVAL_NEEDED' });
  return String(CodedError.from(error).detail['approval']);
}

test('dfops call waits for somebody who sees exactly what was asked, and is made once with --approval', async (t) => {
  const { dfops, ops } = await openBench(t);
  const call = ['call', 'df', '--on', 'all', '--', '-h', 'a"b\n\u{202e}c'];
  const id = await askedBy(t, dfops(call, 'ann'));
  t.deepEqual(await ops.calls.list({ limit: 10 }), []);
  const line = await dfops(['approvals', 'list'], 'bob');
  t.true(line.startsWith(`${id}  until `), line);
  t.regex(line, /ann {2}call\.run "df" {2}on 1 hosts {2}waits for one of bob, eve\n$/);
  const text = await dfops(['approvals', 'show', id], 'bob');
  t.true(text.includes('argument  "-h"\nargument  "a\\"b\\n\\u202ec"\n'), text);
  t.regex(text, /^on {8}"all"$/m);
  t.regex(text, /^host {6}"web-1" "default" \w+$/m);
  t.regex(text, /^asked by {2}ann with key [0-9a-f]{16} from 127/m);
  const approve = ['approvals', 'approve', id];
  await t.throwsAsync(dfops(approve, 'ann'), { code: 'ERR_DENIED', message: /himself/ });
  t.regex(await dfops(approve, 'bob'), / {2}approved, bob agreed\n$/);
  const other = ['call', 'df', '--on', 'all', '--approval', id, '--', '-h'];
  await t.throwsAsync(dfops(other, 'ann'), { message: /differs in args/ });
  const quoted = call.toSpliced(2, 0, '--approval', id);
  t.regex(await dfops(quoted, 'ann'), /^[0-9a-z]+\n$/);
  await t.throwsAsync(dfops(quoted, 'ann'), { code: 'ERR_APPROVAL_NEEDED', message: /was used/ });
  t.is((await ops.calls.list({ limit: 10 })).length, 1);
  t.is(await dfops(['approvals', 'list'], 'bob'), '');
});

test('dfops approvals deny ends it; --json prints what the API says', async (t) => {
  const { dfops, ops } = await openBench(t);
  const call = ['call', 'df', '--on', 'all'];
  const id = await askedBy(t, dfops(call, 'ann'));
  const shown = JSON.parse(await dfops(['approvals', 'show', id, '--json'], 'eve')) as {
    input: object;
    hosts: object[];
  };
  t.like(shown.input, { command: 'df', on: 'all' });
  t.is(shown.hosts.length, 1);
  for (const reason of ['a\nb', 'x'.repeat(501), '\u{202e}x']) {
    const wrong = dfops(['approvals', 'deny', id, '--reason', reason], 'eve');
    await t.throwsAsync(wrong, { code: 'ERR_REQUEST' });
  }
  const deny = ['approvals', 'deny', id, '--reason', 'not on a Friday'];
  t.regex(await dfops(deny, 'eve'), / {2}denied by eve: "not on a Friday"\n$/);
  t.regex(await dfops(['approvals', 'show', id], 'ann'), /denied by eve: "not on a Friday"/);
  const quoted = dfops([...call, '--approval', id], 'ann');
  const message = /eve denied it: not on a Friday/;
  await t.throwsAsync(quoted, { code: 'ERR_APPROVAL_NEEDED', message });
  const { records } = await ops.audit.list({ kind: 'approval.deny', limit: 1 });
  t.like(records, [{ object: id, detail: { reason: 'not on a Friday' } }]);
  t.deepEqual([...ops.approvals.standing()], [['denied', 1]]);
  t.is(ops.approvals.counts.get('denied'), 1);
  t.is(ops.approvals.counts.get('asked'), 1);
});

test('what is wrong is named', async (t) => {
  const { dfops } = await openBench(t);
  const call = ['call', 'df', '--on', 'all', '--approval'];
  const cases = [
    [['approvals'], 'ERR_USAGE', /list, show, approve, deny/],
    [['approvals', 'show', '../keys'], 'ERR_USAGE', /not the id/],
    [['approvals', 'show', '0'.repeat(16)], 'ERR_NOT_FOUND', /was used, has expired/],
    [['approvals', 'deny', '0'.repeat(16)], 'ERR_NOT_FOUND', /was used, has expired/],
    [[...call, 'nonsense'], 'ERR_REQUEST', /odonata-approval/],
    [[...call, '0'.repeat(16)], 'ERR_APPROVAL_NEEDED', /none of yours/],
  ] as const;
  for (const [argv, code, message] of cases) {
    await t.throwsAsync(dfops(argv, 'ann'), { code, message }, argv.join(' '));
  }
});
