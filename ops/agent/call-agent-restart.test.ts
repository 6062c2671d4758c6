import test from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomHex } from '../../core/base/random.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { AgentHost, NOW } from '../../test/support/agent-host.ts';
import { until } from '../../test/support/until.ts';
import { CallJournal } from './call-journal.ts';
import { findCgroupPlace } from './cgroup-place.ts';
import { argvInGroup } from './launcher.ts';
import { markerVariable } from './process-tree.ts';

test('CallAgent tells results and output again on each connection until they are heard, also after a restart', async (t) => {
  const host = await AgentHost.open(t);
  const order = host.order({ command: 'say', args: ['hello'] });
  host.isConnected = false;
  host.running.take(host.message(order));
  await host.running.idle();
  t.deepEqual(host.sent, []);
  host.isConnected = true;
  host.running.onConnected();
  t.like(await host.result(order.call), { outcome: 'ok', stdoutBytes: 5 });
  t.is(host.output(order.call), 'hello');
  await host.close();
  host.sent.length = 0;
  await host.start();
  host.running.onConnected();
  await host.result(order.call);
  t.is(host.output(order.call), 'hello');
  host.running.take({ type: 'calls-heard', calls: [order.call] });
  await host.running.idle();
  host.sent.length = 0;
  host.running.onConnected();
  await host.running.idle();
  t.deepEqual(host.sent, []);
});

test('a call that ran when the daemon was killed is unknown, is ended, and never runs again', async (t) => {
  const host = await AgentHost.open(t);
  await host.close();
  // What a daemon leaves that dies while a call runs: a row without an end, and a process with its mark.
  const order = host.order({ command: 'wait' });
  const marker = randomHex(16);
  const child = spawn('/bin/sleep', ['1000'], {
    env: { [markerVariable]: marker },
    detached: true,
    stdio: 'ignore',
  });
  const ended = once(child, 'exit');
  {
    await using store = await LevelStateStore.open(join(host.directory, 'calls'));
    const { journal } = await CallJournal.open(store);
    const { expires } = order;
    await journal.begin(order.call, { expires, began: NOW, marker, maxBytes: 1_000 });
  }
  await host.start();
  const message = host.message(order);
  host.running.take(message);
  const result = await host.result(order.call);
  t.like(result, { outcome: 'unknown', code: 'ERR_OUTCOME_UNKNOWN', began: NOW });
  await ended;
  host.running.take(message);
  await host.running.idle();
  t.true(host.results(order.call).every(({ outcome }) => outcome === 'unknown'));
  t.deepEqual(host.running.counts, { taken: 0, refused: 0, repeated: 2 });
});

const inGroups = findCgroupPlace() === undefined ? test.skip : test;
const needsGroups = findCgroupPlace() === undefined ? ' (needs a writable cgroup v2)' : '';

inGroups(
  `what was left in the cgroup of a call that a dead daemon ran is ended${needsGroups}`,
  async (t) => {
    const host = await AgentHost.open(t);
    const order = host.order({ command: 'wait' });
    const { expires } = order;
    const marker = randomHex(16);
    const group = await host.groups?.make(marker, {});
    await host.close();
    if (group === undefined) return t.fail('no group');
    {
      await using store = await LevelStateStore.open(join(host.directory, 'calls'));
      const { journal } = await CallJournal.open(store);
      const { path } = group;
      await journal.begin(order.call, {
        expires,
        began: NOW,
        marker,
        group: path,
        maxBytes: 1_000,
      });
    }
    // Nothing but its cgroup tells that it is of the call.
    const [sh, ...args] = argvInGroup(['/bin/sleep', '1000'], group);
    const child = spawn(sh, args, { env: {}, detached: true, stdio: 'ignore' });
    const ended = once(child, 'exit');
    await until(
      () => child.pid !== undefined && readFileSync(group.entry, 'utf8').includes(`${child.pid}`),
    );
    await host.start();
    t.like(await host.result(order.call), { outcome: 'unknown', code: 'ERR_OUTCOME_UNKNOWN' });
    t.like(await ended, [null, 'SIGTERM']);
    await host.close();
    t.false(existsSync(group.path));
  },
);

test('CallAgent ends what runs when it is stopped itself, and tells it after the next start', async (t) => {
  const host = await AgentHost.open(t);
  const order = host.order({ command: 'wait' });
  host.running.take(host.message(order));
  await until(() => host.output(order.call) !== '');
  host.isConnected = false;
  await host.close();
  host.isConnected = true;
  await host.start();
  host.running.onConnected();
  const result = await host.result(order.call);
  t.like(result, { outcome: 'failed', code: 'ERR_INTERRUPTED', signal: 'SIGTERM' });
});
