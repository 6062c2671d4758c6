import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
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
import { AuditLog } from '../control/audit-log.ts';
import { until } from '../../test/support/until.ts';
import { addAuditRoutes } from '../control/audit-routes.ts';
import type { AuditParts } from '../control/audit-routes.ts';
import { operator } from '../control/principal.ts';
import { addAuditCommands } from './audit-command.ts';

const cellKey = HostKey.generate();
const cell = cellKey.peerId;

interface Outcome {
  readonly output: string;
  readonly error: CodedError | undefined;
}

/** `dfops` within this process. */
async function dfops(argv: readonly string[], input = Buffer.alloc(0)): Promise<Outcome> {
  let output = '';
  const print = (text: string): void => void (output += text);
  const program = newProgram({ name: 'dfops', description: '', print });
  addAuditCommands(program, {
    env: {},
    clock: new SystemClock(),
    signal: new AbortController().signal,
    print,
    complain: () => undefined,
    async *input() {
      yield input;
    },
    output: new Writable({
      write(chunk: Buffer, _encoding, done) {
        output += chunk.toString();
        done();
      },
    }),
  });
  try {
    await runProgram(program, ['audit', ...argv]);
    return { output, error: undefined };
  } catch (error) {
    return { output, error: CodedError.from(error) };
  }
}

/** A log of three records, and a server that serves it; closed with the test. */
async function bench(t: ExecutionContext): Promise<{
  readonly audit: AuditLog;
  readonly api: string;
  readonly folder: string;
}> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-audit-'));
  const state = await LevelStateStore.open(join(folder, 'state'));
  const clock = new SystemClock();
  const key = HostKey.generate();
  const about = { control: key.peerId, now: Math.round(clock.now()) };
  const control = { key, certificate: issueControlCertificate(cellKey, about) };
  const headFile = join(folder, 'audit-head');
  const audit = await AuditLog.open({ state, cell, control, headFile, clock, log: silentLog });
  const base = { source: '127.0.0.1', decision: 'allowed', detail: { hosts: 2 } } as const;
  await audit.append({ ...base, kind: 'key.create', principal: 'root', object: 'key alice' });
  await audit.append({ ...base, kind: 'call.run', principal: 'alice', object: 'uptime\u001b[2J' });
  await audit.append({ ...base, kind: 'call.run', principal: 'root', object: 'reboot' });
  const api = await served(t, audit);
  t.teardown(async () => {
    await audit.close();
    await state.close();
    await rm(folder, { recursive: true, force: true });
  });
  return { audit, api, folder };
}

async function served(t: ExecutionContext, audit: AuditParts['audit']): Promise<string> {
  const app = newApiApp(silentLog);
  addAuditRoutes(app, {
    parts: () => ({ audit, door: openDoor(audit) }),
    callerOf: ({ ip }) => ({ principal: operator, source: ip }),
  });
  const api = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => app.close());
  return api;
}

/** Lets everybody do everything, and writes it down as the door does. */
function openDoor(audit: AuditParts['audit']): AuditParts['door'] {
  return {
    read: async (_request, look) => look(),
    perform: async ({ verb, caller }, effect) => {
      const { changes, expect = [], detail, answer } = await effect();
      if (!(audit instanceof AuditLog)) throw new TypeError('this audit is only read');
      const { source } = caller;
      const about = { kind: verb, principal: caller.principal.name, source, object: '' } as const;
      await audit.append({ ...about, decision: 'allowed', detail }, { changes, expect });
      return answer();
    },
  };
}

async function complaint(...argv: readonly string[]): Promise<string> {
  const { error } = await dfops(argv);
  return `${error?.code} ${error?.message}`;
}

test('dfops audit export writes what dfops audit verify finds good, without a supernode', async (t) => {
  const { audit, api, folder } = await bench(t);
  const exported = await dfops(['export', '--api', api]);
  t.is(exported.error, undefined);
  const file = join(folder, 'audit.ndjson');
  await writeFile(file, exported.output);
  const good = await dfops(['verify', file, '--cell', cell]);
  t.is(good.error, undefined);
  t.regex(
    good.output,
    /^good\nrecords      3\nfirst        20\d\d-.*\ncheckpoints  1\nhead         3:/s,
  );
  const head = /^head +(\S+)$/m.exec(good.output)?.[1] ?? '';

  await audit.append({
    kind: 'key.lock',
    principal: 'root',
    source: '',
    decision: 'denied',
    object: 'key alice',
    detail: {},
  });
  const later = Buffer.from((await dfops(['export', '--api', api])).output);
  const since = ['verify', '-', '--cell', cell, '--since', head, '--json'];
  t.like(JSON.parse((await dfops(since, later)).output), { good: true, records: 4, unsigned: 0 });

  const changed = Buffer.from(later.toString().replace('reboot', 'repoot'));
  const bad = await dfops(['verify', '-', '--cell', cell], changed);
  t.is(bad.error?.code, 'ERR_AUDIT_BROKEN');
  t.is(bad.error?.facts.exit, 4);
  t.regex(bad.error?.message ?? '', /^line 4: flipped: record 3 /);
  t.regex(bad.output, /^NOT GOOD.*\nrecords      2\n/);
  const json = JSON.parse((await dfops(since, changed)).output);
  t.like(json, { good: false, records: 2, fault: { problem: 'flipped', seq: 3, line: 4 } });
  const old = await readFile(file);
  const cut = await dfops(['verify', '-', '--cell', cell, '--since', `4:${'0'.repeat(64)}`], old);
  t.regex(cut.error?.message ?? '', /truncated/);
});

test('dfops audit prune cuts off what was exported, and what is left says from where it verifies', async (t) => {
  const { api, audit, folder } = await bench(t);
  const file = join(folder, 'kept.ndjson');
  await writeFile(file, (await dfops(['export', '--api', api])).output);
  const kept = (await dfops(['verify', file, '--cell', cell])).output;
  const head = /^head +(\S+)$/m.exec(kept)?.[1] ?? '';
  const prune = ['prune', '--api', api, '--exported', head, '--before'];
  t.regex(await complaint(...prune, '1d'), /^ERR_NOT_FOUND no checkpoint is of before that time/);
  await audit.append({
    kind: 'call.run',
    principal: 'alice',
    source: '',
    decision: 'allowed',
    object: 'uptime',
    detail: {},
  });
  const done = await dfops([...prune, '0']);
  t.is(done.error, undefined);
  t.is(done.output, `3 records are not kept any more, up to ${head}\n`);
  const left = Buffer.from((await dfops(['export', '--api', api])).output);
  const verified = await dfops(['verify', '-', '--cell', cell, '--since', head], left);
  t.is(verified.error, undefined);
  t.regex(verified.output, new RegExp(`^good\\nrecords      2\\nfrom         ${head}, signed 20`));
  const shown = (await dfops(['list', '--api', api])).output.trimEnd().split('\n');
  t.is(shown.length, 2);
  t.regex(shown[0] ?? '', /^5 .* allowed {2}audit\.prune /);
  t.regex(
    await complaint('prune', '--api', api, '--before', '1d', '--exported', 'x'),
    /^ERR_USAGE --exported: /,
  );
});

test('dfops audit list shows the newest first, of a kind, of a principal, safe for a terminal', async (t) => {
  const { api } = await bench(t);
  const listed = await dfops(['list', '--api', api]);
  t.is(listed.error, undefined);
  const lines = listed.output.trimEnd().split('\n');
  t.is(lines.length, 3);
  t.regex(
    lines[0] ?? '',
    /^3  \S+Z  allowed  call\.run  root@127\.0\.0\.1  reboot  \{"hosts":2\}$/,
  );
  t.false(listed.output.includes('\u001b'));
  const some = await dfops(['list', '--api', api, '--kind', 'call.run', '--limit', '1', '--json']);
  t.like(JSON.parse(some.output), { seq: 3, principal: 'root' });
  const hers = await dfops(['list', '--api', api, '--principal', 'alice', '--json']);
  t.like(JSON.parse(hers.output), { seq: 2, object: 'uptime\u001b[2J' });
});

test('dfops audit tells what is wrong with how it is asked', async (t) => {
  const { api, folder } = await bench(t);
  t.regex(await complaint(), /^ERR_USAGE .*list, export, prune, verify/);
  t.regex(await complaint('verify', '-', '--cell', 'mine'), /^ERR_USAGE --cell/);
  t.regex(await complaint('verify', '-', '--cell', cell, '--since', '3'), /^ERR_USAGE --since/);
  const missing = join(folder, 'none');
  t.regex(
    await complaint('verify', missing, '--cell', cell),
    /^ERR_USAGE cannot read .*none: ENOENT/,
  );
  const nobody = 'http://127.0.0.1:1';
  t.regex(await complaint('export', '--api', nobody), /^ERR_MESH_UNAVAILABLE/);
  const response = await fetch(`${api}/api/v1/audit?limit=0`);
  t.is(response.status, 400);
  t.regex(await response.text(), /ERR_REQUEST.*query\/limit/);
});

test('GET /api/v1/audit/export that fails on its way is no whole answer, and few run at one time', async (t) => {
  const under = new Set<() => void>();
  const api = await served(t, {
    list: async () => ({ records: [] }),
    prune: async () => {
      throw new TypeError('nothing is pruned here');
    },
    sweep: async () => undefined,
    async *export() {
      yield '{"v":1}\n';
      await new Promise<void>((resolve) => under.add(resolve));
      throw new CodedError('ERR_STORE_IO', 'the disk');
    },
  });
  const first = await Promise.all(
    Array.from({ length: 4 }, () => fetch(`${api}/api/v1/audit/export`)),
  );
  t.deepEqual(
    first.map(({ status }) => status),
    [200, 200, 200, 200],
  );
  t.is((await dfops(['export', '--api', api])).error?.code, 'ERR_BUSY');
  for (const fail of under) fail();
  for (const response of first) await t.throwsAsync(response.text());
  // The places are free again.
  const again = dfops(['export', '--api', api]);
  under.clear();
  await until(() => under.size > 0);
  for (const fail of under) fail();
  const { error, output } = await again;
  t.is(output, '{"v":1}\n');
  t.is(error?.code, 'ERR_MESH_UNAVAILABLE');
});
