import test from 'ava';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { digestOfHosts, issueCallOrder, openCallResult } from '../../core/identity/call-order.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import type { CallWay } from '../../core/swarm/call-taker.ts';
import type { FromHost } from '../../core/wire/messages.ts';
import { until } from '../../test/support/until.ts';
import { startCallAgent } from './index.ts';

const clock = new SystemClock();

test('startCallAgent() runs what the host has built in, as a user without rights when it is root', async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'odonata-agent-'));
  t.teardown(async () => rm(dataDir, { recursive: true, force: true }));
  const [cell, control, key] = [HostKey.generate(), HostKey.generate(), HostKey.generate()];
  const sent: FromHost[] = [];
  const way: CallWay = {
    key,
    cell: cell.peerId,
    now: () => clock.now(),
    isRevoked: () => false,
    staleness: () => undefined,
    send: (message) => void sent.push(message),
    sendInTurn: async (message) => void sent.push(message),
  };
  await using agent = await startCallAgent({
    way,
    dataDir,
    socket: '/nonexistent',
    clock,
    log: silentLog,
  });
  const now = clock.now();
  const order = issueCallOrder(control, {
    cell: cell.peerId,
    call: 'call00000',
    host: key.peerId,
    hosts: digestOfHosts([key.peerId]),
    principal: 'tester',
    issued: now,
    expires: now + 60_000,
    lane: 'fast',
    command: 'uname',
    args: [],
    timeoutMs: 60_000,
    maxOutputBytes: 1_000,
  });
  const certificate = issueControlCertificate(cell, { control: control.peerId, now });
  agent.onConnected();
  agent.take({ type: 'call', order, certificate });
  const results = (): string[] =>
    sent.flatMap((message) => (message.type === 'call-states' ? message.ended : []));
  await until(() => results().length > 0);
  t.like(openCallResult(results()[0] ?? ''), { outcome: 'ok', exitCode: 0 });
  const output = sent.find((message) => message.type === 'call-output');
  t.regex(Buffer.from(output?.data ?? '', 'base64').toString(), /^Linux /);
});

test('startCallAgent() does not start with a file of commands that is wrong', async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'odonata-agent-'));
  t.teardown(async () => rm(dataDir, { recursive: true, force: true }));
  const commandsFile = join(dataDir, 'commands.yaml');
  await writeFile(commandsFile, 'commands: { x: {} }', { mode: 0o600 });
  const way: CallWay = {
    key: HostKey.generate(),
    cell: undefined,
    now: () => clock.now(),
    isRevoked: () => false,
    staleness: () => undefined,
    send: () => undefined,
    sendInTurn: async () => undefined,
  };
  await t.throwsAsync(
    startCallAgent({ way, dataDir, commandsFile, socket: '/nonexistent', clock, log: silentLog }),
    {
      code: 'ERR_CONFIG',
      message: /commands\.yaml: \/commands\/x\/program: is missing/,
    },
  );
});
