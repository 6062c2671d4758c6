import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { AnsweringHost } from '../../test/support/answering-host.ts';
import { nobodyRevoked } from '../../test/support/revocations.ts';
import type { CallRequest } from './call-record.ts';
import { OpsControl } from './index.ts';
import type { PolicyRule } from './policy-rule.ts';
import { operator } from './principal.ts';
import type { Caller } from './principal.ts';

const OPERATOR: Caller = { principal: operator, source: '127.0.0.1' };
const ANN: Caller = { principal: { name: 'ann' }, source: '10.0.0.1' };
const allow: PolicyRule = { effect: 'allow', principals: ['ann'], verbs: ['call.run'] };

async function openOps(t: ExecutionContext): Promise<OpsControl> {
  const dataDir = await mkdtemp(join(tmpdir(), 'door-lookup-'));
  const cell = HostKey.generate();
  const ops = await OpsControl.open({
    dataDir,
    cell: cell.peerId,
    cellKey: async () => cell,
    revocations: nobodyRevoked,
    clock: new ManualClock(),
    random: new SeededRandom(1),
    log: silentLog,
  });
  t.teardown(async () => {
    await ops[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  new AnsweringHost('web-1').connect(ops.desk);
  return ops;
}

async function put(ops: OpsControl, name: string, policy: PolicyRule): Promise<void> {
  await ops.door.perform(
    { verb: 'policy.put', caller: OPERATOR, input: { name, policy }, object: { id: name } },
    async () => ops.policies.put(name, policy),
  );
}

/** What ann is told when she calls a host of this name. */
async function told(ops: OpsControl, hostname: string, caller = ANN): Promise<string> {
  try {
    await ops.submit({ command: 'uptime', on: `host=${hostname}` }, caller);
    return 'done';
  } catch (error) {
    const { code, message } = CodedError.from(error);
    return `${code}: ${message}`;
  }
}

test('who may call nobody hears the same of hosts that there are and that there are not', async (t) => {
  const ops = await openOps(t);
  const denied = await told(ops, 'web-1');
  t.is(denied, 'ERR_DENIED: ann may not call.run: no policy allows it');
  t.is(await told(ops, 'web-2'), denied);
  await put(ops, 'other', { ...allow, commands: ['df'] });
  t.is(await told(ops, 'web-2'), denied, 'of this command she may call nobody');
  await put(ops, 'any', allow);
  await put(ops, 'nobody', { effect: 'forbid', principals: ['*'], verbs: ['*'] });
  t.is(await told(ops, 'web-2'), await told(ops, 'web-1'));
  t.regex(await told(ops, 'web-2'), /ERR_DENIED: .* policy nobody forbids it/);
  const { records } = await ops.audit.list({ limit: 100 });
  const denials = records.filter(({ decision }) => decision === 'denied');
  t.is(denials.length, 6, 'each is in the audit');
});

test('who may call some hosts hears the same of others, whether there are such or not', async (t) => {
  const ops = await openOps(t);
  await put(ops, 'some', { ...allow, hosts: ['host=db-*', 'host=web-*'] });
  await put(ops, 'not-web', { ...allow, effect: 'forbid', hosts: ['host=web-*'] });
  const denied = await told(ops, 'web-1');
  t.regex(denied, /^ERR_DENIED: .* on all of these hosts, or there are none$/);
  t.is(await told(ops, 'web-2'), denied);
  t.is(await told(ops, 'db-1'), denied);
});

test('who may call any host is told which there are not, as is the operator', async (t) => {
  const ops = await openOps(t);
  await put(ops, 'any', allow);
  t.is(await told(ops, 'web-1'), 'done');
  t.regex(await told(ops, 'web-2'), /^ERR_NOT_FOUND: /);
  t.regex(await told(ops, 'web-2', OPERATOR), /^ERR_NOT_FOUND: /);
});

async function refusal(ops: OpsControl, request: CallRequest): Promise<string> {
  try {
    await ops.submit(request, ANN);
    return 'done';
  } catch (error) {
    const { code, message } = CodedError.from(error);
    return `${code}: ${message}`;
  }
}

test('who may call nobody hears the same of scripts and of words that there are and that there are not', async (t) => {
  const ops = await openOps(t);
  const script = Buffer.from('#!/bin/sh\n');
  const digest = `sha256:${createHash('sha256').update(script).digest('hex')}`;
  const { signal } = new AbortController();
  const facts = { digest, length: script.length };
  const { url } = await ops.uploads.put(facts, Readable.from([script]), {
    caller: OPERATOR,
    signal,
  });
  const call = { command: 'uptime', on: 'host=web-1' };
  const first = { ...call, idempotencyKey: 'first' };
  await put(ops, 'any', allow);
  t.is(await refusal(ops, first), 'done');
  t.is(await refusal(ops, first), 'done', 'again it is the same');

  await put(ops, 'any', { ...allow, hosts: ['host=db-*'] });
  const elsewhere = await refusal(ops, call);
  t.regex(elsewhere, /^ERR_DENIED: .* on all of these hosts, or there are none$/);
  t.is(await refusal(ops, first), elsewhere);

  await put(ops, 'any', { ...allow, commands: ['df'] });
  const denied = 'ERR_DENIED: ann may not call.run: no policy allows it';
  t.is(await refusal(ops, { ...call, idempotencyKey: 'second' }), denied);
  t.is(await refusal(ops, first), denied);
  const none = `sha256:${'0'.repeat(64)}`;
  const scripts = { command: 'script.run', on: 'host=web-1' };
  t.is(await refusal(ops, { ...scripts, args: [url, none] }), denied);
  t.is(await refusal(ops, { ...scripts, args: [url, digest] }), denied);
});
