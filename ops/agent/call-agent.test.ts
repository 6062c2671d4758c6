import test from 'ava';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CallOrder } from '../../core/identity/call-order.ts';
import { AgentHost, NOW, isTold } from '../../test/support/agent-host.ts';
import { until } from '../../test/support/until.ts';

test('CallAgent runs a signed call and signs what it came to, after all of its output', async (t) => {
  const host = await AgentHost.open(t);
  const order = host.order({ command: 'say', args: ['%s|', '; rm', '$(id)', 'ü\n', ''] });
  host.running.take(host.message(order));
  const result = await host.result(order.call);
  t.like(result, { outcome: 'ok', exitCode: 0, began: NOW, ended: NOW, host: host.key.peerId });
  t.is(host.output(order.call), '; rm|$(id)|ü\n||');
  t.is(result.stdoutBytes, Buffer.byteLength('; rm|$(id)|ü\n||'));
  t.is(host.sent.at(-1)?.type, 'call-states');
  t.deepEqual(host.running.counts, { taken: 1, refused: 0, repeated: 0 });
});

test('CallAgent tells a program that failed from one that could not be started', async (t) => {
  const host = await AgentHost.open(t);
  t.like(await host.run({ command: 'false' }), {
    outcome: 'failed',
    code: 'ERR_COMMAND_FAILED',
    exitCode: 1,
  });
  t.like(await host.run({ command: 'gone' }), { outcome: 'failed', code: 'ERR_COMMAND_START' });
});

test('CallAgent refuses what its own map does not have, though the cell says yes', async (t) => {
  const host = await AgentHost.open(t);
  const refusals: [Partial<CallOrder>, string][] = [
    [{ command: 'rm' }, 'ERR_FORBIDDEN'],
    [{ command: 'true', runAs: 'somebody-else' }, 'ERR_FORBIDDEN'],
    [{ command: 'true', args: ['more'] }, 'ERR_REQUEST'],
  ];
  for (const [fields, code] of refusals) {
    const result = await host.run(fields);
    t.like(result, { outcome: 'refused', code });
    t.is(result.began, undefined);
  }
  t.is(host.warnings.length, 3);
});

test('CallAgent ends a call that is stopped, and one whose time is over, and says which', async (t) => {
  const host = await AgentHost.open(t);
  const order = host.order({ command: 'wait' });
  host.running.take(host.message(order));
  await until(() => isTold(host, order.call));
  host.running.take({ type: 'call-stop', calls: [order.call] });
  t.like(await host.result(order.call), { outcome: 'failed', code: 'ERR_INTERRUPTED' });
  const late = await host.run({ command: 'wait', timeoutMs: 50 });
  t.like(late, { outcome: 'failed', code: 'ERR_TIMEOUT' });
});

test('CallAgent does not run a call that was stopped while it waited, also when it comes again', async (t) => {
  const host = await AgentHost.open(t, { running: { fast: 1, slow: 1 }, waiting: 10 });
  const first = host.order({ command: 'wait' });
  const second = host.order();
  host.running.take(host.message(first));
  await until(() => isTold(host, first.call));
  host.running.take(host.message(second));
  await until(() => isTold(host, second.call));
  host.running.take({ type: 'call-stop', calls: [second.call] });
  const result = await host.result(second.call);
  t.like(result, { outcome: 'failed', code: 'ERR_INTERRUPTED' });
  t.is(result.began, undefined);
  host.running.take({ type: 'call-stop', calls: [first.call] });
  await host.result(first.call);
  host.running.take(host.message(second));
  await host.running.idle();
  t.true(host.results(second.call).every(({ outcome }) => outcome === 'failed'));
});

test('CallAgent runs a fast call while slow ones take all their room, and refuses what cannot wait', async (t) => {
  const host = await AgentHost.open(t, { running: { fast: 1, slow: 1 }, waiting: 2 });
  const slow = Array.from({ length: 4 }, () => host.order({ command: 'wait', lane: 'slow' }));
  for (const order of slow) host.running.take(host.message(order));
  await until(() => slow.some(({ call }) => host.results(call).length > 0));
  const results = slow.flatMap(({ call }) => host.results(call));
  t.is(results.length, 1);
  t.like(results[0], { outcome: 'refused', code: 'ERR_BUSY' });
  t.like(await host.run(), { outcome: 'ok' });
});

test('CallAgent does not begin a call that expired while it waited', async (t) => {
  const host = await AgentHost.open(t, { running: { fast: 1, slow: 1 }, waiting: 2 });
  const first = host.order({ command: 'wait' });
  const second = host.order();
  host.running.take(host.message(first));
  await until(() => isTold(host, first.call));
  host.running.take(host.message(second));
  await until(() => isTold(host, second.call));
  host.now += 120_000;
  host.running.take({ type: 'call-stop', calls: [first.call] });
  t.like(await host.result(second.call), { outcome: 'refused', code: 'ERR_BUSY' });
});

test('CallAgent keeps the beginning of a flood, counts the rest, and tells it in bounded messages', async (t) => {
  const host = await AgentHost.open(t);
  const result = await host.run({ command: 'flood', maxOutputBytes: 150_000 });
  t.is(result.stdoutBytes, 300_000);
  t.is(host.output(result.call).length, 150_000);
  for (const message of host.sent) {
    if (message.type === 'call-output') t.true(message.data.length <= 90_000);
  }
});

for (const hasGroups of [true, false]) {
  const way = hasGroups ? 'with a cgroup for each call, where there can be one' : 'without cgroups';
  test(`CallAgent runs, stops and refuses calls ${way}`, async (t) => {
    const host = await AgentHost.open(t, undefined, { hasGroups });
    t.like(await host.run({ command: 'say', args: ['%s', 'a'] }), { outcome: 'ok' });
    t.like(await host.run({ command: 'false' }), { outcome: 'failed', exitCode: 1 });
    t.like(await host.run({ command: 'gone' }), { outcome: 'failed', code: 'ERR_COMMAND_START' });
    const order = host.order({ command: 'wait' });
    host.running.take(host.message(order));
    await until(() => host.output(order.call) !== '');
    host.running.take({ type: 'call-stop', calls: [order.call] });
    const stopped = { outcome: 'failed', code: 'ERR_INTERRUPTED', signal: 'SIGTERM' };
    t.like(await host.result(order.call), stopped);
    if (host.groups?.limits.has('memory') !== true) {
      const result = await host.run({ command: 'bound' });
      t.like(result, { outcome: 'refused', code: 'ERR_FORBIDDEN' });
      t.regex(result.message ?? '', /cannot keep the limit of memory/);
    }
  });
}

test('CallAgent begins nothing that it cannot write down first', async (t) => {
  const host = await AgentHost.open(t);
  const file = join(host.directory, 'counter');
  host.isDiskFull = true;
  const order = host.order({ command: 'append', args: ['x', file] });
  host.running.take(host.message(order));
  t.like(await host.result(order.call), { outcome: 'refused', code: 'ERR_STORE_IO' });
  await t.throwsAsync(readFile(file), { code: 'ENOENT' });
});
