import test from 'ava';
import type { ExecutionContext } from 'ava';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Log } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import { digestOfHosts, issueCallOrder, openCallResult } from '../../core/identity/call-order.ts';
import type { CallOrder, CallResult } from '../../core/identity/call-order.ts';
import { issueControlCertificate } from '../../core/identity/control-certificate.ts';
import { seal } from '../../core/identity/envelope.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import type { CallWay } from '../../core/swarm/call-taker.ts';
import type { Call, FromHost } from '../../core/wire/messages.ts';
import { until } from '../../test/support/until.ts';
import { AllowMap } from './allow-map.ts';
import { CallAgent } from './call-agent.ts';
import type { LaneLimits } from './call-agent.ts';
import { CallGroups } from './call-groups.ts';
import { CallJournal } from './call-journal.ts';
import { findCgroupPlace } from './cgroup-place.ts';
import { Launcher, argvInGroup } from './launcher.ts';
import { ownUser } from './local-user.ts';
import { markerVariable } from './process-tree.ts';

const NOW = 1_800_000_000_000;
const clock = new SystemClock();

const commands = {
  commands: {
    true: { program: '/bin/true' },
    false: { program: '/bin/false' },
    say: { program: '/usr/bin/printf', rest: true },
    append: { program: '/bin/sh', args: ['-c', 'echo "$0" >> "$1"'], rest: true },
    wait: { program: '/bin/sh', args: ['-c', 'echo ready; exec sleep 1000'], grace: '5s' },
    flood: { program: '/usr/bin/head', args: ['-c', '300000', '/dev/zero'] },
    bound: { program: '/bin/true', limits: { memory: '1g' } },
    gone: { program: '/nonexistent/program' },
  },
};

/** A cell with real keys, and one host of it whose agent is opened, and opened again, on one folder. */
class TestHost {
  readonly cellKey = HostKey.generate();
  readonly control = HostKey.generate();
  readonly key = HostKey.generate();
  readonly sent: FromHost[] = [];
  readonly warnings: object[] = [];
  readonly directory: string;
  certificate = issueControlCertificate(this.cellKey, { control: this.control.peerId, now: NOW });
  revoked: string | undefined;
  now = NOW;
  isConnected = true;
  isDiskFull = false;
  isStuck = false;
  /** False: as on a host that can make none. */
  hasGroups = true;
  readonly allowMap = new AllowMap(commands, {
    defaultUser: ownUser().name,
    socket: '/nonexistent',
  });
  agent: CallAgent | undefined;
  groups: CallGroups | undefined;
  #store: LevelStateStore | undefined;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async open(
    t: ExecutionContext,
    limits?: LaneLimits,
    { hasGroups = true } = {},
  ): Promise<TestHost> {
    const host = new TestHost(await mkdtemp(join(tmpdir(), 'odonata-agent-')));
    host.hasGroups = hasGroups;
    t.teardown(async () => {
      await host.close();
      await rm(host.directory, { recursive: true, force: true });
    });
    await host.start(limits);
    return host;
  }

  async start(limits?: LaneLimits): Promise<CallAgent> {
    const log: Log = { ...silentLog, warn: (facts) => this.warnings.push(facts) };
    const self = ownUser();
    this.#store = await LevelStateStore.open(join(this.directory, 'calls'));
    const { journal, begun } = await CallJournal.open(this.#onFullDisk(this.#store));
    this.groups = await this.#groups();
    this.agent = new CallAgent({
      way: this.#way(),
      allowMap: this.allowMap,
      launcher: await Launcher.find(self, { log: silentLog }),
      groups: this.groups,
      journal,
      begun,
      maxRevocationAgeMs: 86_400_000,
      clock,
      log,
      ...(limits === undefined ? {} : { limits }),
    });
    return this.agent;
  }

  async #groups(): Promise<CallGroups> {
    if (!this.hasGroups) return CallGroups.none();
    const { limits: wanted } = this.allowMap;
    return CallGroups.open({ dataDir: this.directory, wanted, clock, log: silentLog });
  }

  async close(): Promise<void> {
    await this.agent?.[Symbol.asyncDispose]();
    await this.#store?.close();
  }

  get running(): CallAgent {
    if (this.agent === undefined) throw new Error('not started');
    return this.agent;
  }

  order(fields: Partial<CallOrder> = {}): CallOrder {
    return {
      cell: this.cellKey.peerId,
      call: randomHex(8),
      host: this.key.peerId,
      hosts: digestOfHosts([this.key.peerId]),
      principal: 'tester',
      issued: this.now,
      expires: this.now + 60_000,
      lane: 'fast',
      command: 'true',
      args: [],
      timeoutMs: 60_000,
      maxOutputBytes: 65_536,
      ...fields,
    };
  }

  message(fields: Partial<CallOrder> = {}, signer = this.control): Call {
    const order = issueCallOrder(signer, this.order(fields));
    return { type: 'call', order, certificate: this.certificate };
  }

  /** The result of a call, once it is told. */
  async result(call: string): Promise<CallResult> {
    await until(() => this.results(call).length > 0);
    const [result] = this.results(call);
    if (result === undefined) throw new Error('no result');
    return result;
  }

  results(call: string): CallResult[] {
    return this.allResults().filter((result) => result.call === call);
  }

  allResults(): CallResult[] {
    return this.sent
      .flatMap((message) => (message.type === 'call-states' ? message.ended : []))
      .map(openCallResult);
  }

  output(call: string): string {
    const parts = this.sent.flatMap((message) =>
      message.type === 'call-output' && message.call === call ? [message] : [],
    );
    return parts.map(({ data }) => Buffer.from(data, 'base64').toString()).join('');
  }

  async run(fields: Partial<CallOrder> = {}): Promise<CallResult> {
    const order = this.order(fields);
    this.running.take(this.message(order));
    return this.result(order.call);
  }

  /** The store itself, but that nothing can be written while the disk is full. */
  #onFullDisk(store: LevelStateStore): StateStore {
    return {
      get: async (key) => store.get(key),
      range: (range, options) => store.range(range, options),
      commit: async (changes, options) => {
        if (this.isDiskFull) throw new CodedError('ERR_STORE_IO', 'no space left');
        return store.commit(changes, options);
      },
      watch: (range, options) => store.watch(range, options),
      close: async () => store.close(),
      [Symbol.asyncDispose]: async () => store.close(),
    };
  }

  #way(): CallWay {
    const send = (message: FromHost): void => {
      if (this.isConnected) this.sent.push(message);
    };
    return {
      key: this.key,
      cell: this.cellKey.peerId,
      now: () => this.now,
      isRevoked: (peer) => peer === this.revoked,
      staleness: () => undefined,
      send,
      sendInTurn: async (message) => {
        if (this.isStuck) await new Promise(() => undefined);
        send(message);
      },
    };
  }
}

test('CallAgent runs a signed call and signs what it came to, after all of its output', async (t) => {
  const host = await TestHost.open(t);
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
  const host = await TestHost.open(t);
  t.like(await host.run({ command: 'false' }), {
    outcome: 'failed',
    code: 'ERR_COMMAND_FAILED',
    exitCode: 1,
  });
  t.like(await host.run({ command: 'gone' }), { outcome: 'failed', code: 'ERR_COMMAND_START' });
});

test('CallAgent refuses what its own map does not have, though the cell says yes', async (t) => {
  const host = await TestHost.open(t);
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

/** What came of a message that is not to be run: refused, or nothing at all; in no case it has run. */
async function refusedBy(
  t: ExecutionContext,
  host: TestHost,
  message: Call,
): Promise<CallResult[]> {
  const before = host.running.counts.refused;
  host.running.take(message);
  await until(() => host.running.counts.refused > before);
  await host.running.idle();
  t.is(host.running.counts.taken, 0);
  t.is(host.warnings.length, 1);
  t.like(host.warnings[0], { code: 'ERR_SIGNATURE' });
  return host.allResults();
}

test('a relay that edits a call is refused', async (t) => {
  const host = await TestHost.open(t);
  const order = host.order({ command: 'say', args: ['harmless'] });
  const message = host.message(order);
  const [version, kind, , signer, signature] = message.order.split('.');
  const body = { v: 1, ...order, args: ['harmful'] };
  const payload = Buffer.from(JSON.stringify(body)).toString('base64url');
  const edited = [version, kind, payload, signer, signature].join('.');
  const [result] = await refusedBy(t, host, { ...message, order: edited });
  t.like(result, { outcome: 'refused', code: 'ERR_SIGNATURE' });
  // The id is not used up: the call as it was signed still runs.
  host.running.take(message);
  await until(() => host.results(order.call).length === 2);
  t.is(host.results(order.call)[1]?.outcome, 'ok');
  t.is(host.output(order.call), 'harmless');
});

test('a relay that replays a call does not make it run again, whenever it does so', async (t) => {
  const host = await TestHost.open(t);
  const file = join(host.directory, 'counter');
  const order = host.order({ command: 'append', args: ['once', file] });
  const message = host.message(order);
  // At once, while it runs, after its end, after the cell has heard it, and after a restart.
  host.running.take(message);
  host.running.take(message);
  await host.result(order.call);
  host.running.take(message);
  await host.running.idle();
  host.running.take({ type: 'calls-heard', calls: [order.call] });
  await host.running.idle();
  host.running.take(message);
  await host.running.idle();
  t.deepEqual(host.running.counts, { taken: 1, refused: 0, repeated: 3 });
  await host.close();
  await host.start();
  host.running.take(message);
  await host.running.idle();
  t.deepEqual(host.running.counts, { taken: 0, refused: 0, repeated: 1 });
  t.is(await readFile(file, 'utf8'), 'once\n');
  // The same id in another order that the cell signed is the same call.
  host.running.take(host.message({ ...order, expires: NOW + 90_000 }));
  await host.running.idle();
  t.is(await readFile(file, 'utf8'), 'once\n');
});

test('a relay that delays a call until it has expired is refused', async (t) => {
  const host = await TestHost.open(t);
  const message = host.message({ call: 'delayed000' });
  host.now += 60_000 + 60_000;
  const [result] = await refusedBy(t, host, message);
  t.like(result, { outcome: 'refused', code: 'ERR_SIGNATURE', message: 'the call has expired' });
});

test('a relay that gives a call to another host than it is for is refused, and hears nothing', async (t) => {
  const host = await TestHost.open(t);
  const other = HostKey.generate().peerId;
  const message = host.message({ call: 'elsewhere0', host: other });
  t.deepEqual(await refusedBy(t, host, message), []);
});

test('a call that a supernode made up itself is refused, whatever it certifies', async (t) => {
  const supernode = HostKey.generate();
  const now = NOW;
  // With the certificate of the real key; with one of its own making; with the cell's certificate that it is a
  // supernode; and with one of another cell.
  const certificates = [
    (host: TestHost) => host.certificate,
    () => issueControlCertificate(supernode, { control: supernode.peerId, now }),
    (host: TestHost) =>
      seal(
        'certificate',
        { v: 1, control: supernode.peerId, notBefore: now, expires: now * 2 },
        host.cellKey,
      ),
    () => issueControlCertificate(HostKey.generate(), { control: supernode.peerId, now }),
  ];
  for (const certificateOf of certificates) {
    const host = await TestHost.open(t);
    const message = host.message({ call: 'invented00' }, supernode);
    const certificate = certificateOf(host);
    const [result] = await refusedBy(t, host, { ...message, certificate });
    t.like(result, { outcome: 'refused', code: 'ERR_SIGNATURE' });
  }
});

test('CallAgent refuses a control key that is revoked, expired or not yet good, another cell, and the future', async (t) => {
  const cases: ((host: TestHost) => Call)[] = [
    (host) => {
      host.revoked = host.control.peerId;
      return host.message();
    },
    (host) => {
      host.now += 400 * 86_400_000;
      return host.message();
    },
    (host) => {
      host.now -= 86_400_000;
      return host.message();
    },
    (host) => host.message({ cell: HostKey.generate().peerId }),
    (host) => host.message({ issued: host.now + 60_001, expires: host.now + 60_002 }),
  ];
  for (const make of cases) {
    const host = await TestHost.open(t);
    await refusedBy(t, host, make(host));
  }
});

test('CallAgent ends a call that is stopped, and one whose time is over, and says which', async (t) => {
  const host = await TestHost.open(t);
  const order = host.order({ command: 'wait' });
  host.running.take(host.message(order));
  await until(() => isTold(host, order.call));
  host.running.take({ type: 'call-stop', calls: [order.call] });
  t.like(await host.result(order.call), { outcome: 'failed', code: 'ERR_INTERRUPTED' });
  const late = await host.run({ command: 'wait', timeoutMs: 50 });
  t.like(late, { outcome: 'failed', code: 'ERR_TIMEOUT' });
});

test('CallAgent does not run a call that was stopped while it waited, also when it comes again', async (t) => {
  const host = await TestHost.open(t, { running: { fast: 1, slow: 1 }, waiting: 10 });
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
  const host = await TestHost.open(t, { running: { fast: 1, slow: 1 }, waiting: 2 });
  const slow = Array.from({ length: 4 }, () => host.order({ command: 'wait', lane: 'slow' }));
  for (const order of slow) host.running.take(host.message(order));
  await until(() => slow.some(({ call }) => host.results(call).length > 0));
  const results = slow.flatMap(({ call }) => host.results(call));
  t.is(results.length, 1);
  t.like(results[0], { outcome: 'refused', code: 'ERR_BUSY' });
  t.like(await host.run(), { outcome: 'ok' });
});

test('CallAgent does not begin a call that expired while it waited', async (t) => {
  const host = await TestHost.open(t, { running: { fast: 1, slow: 1 }, waiting: 2 });
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

test('CallAgent tells results and output again on each connection until they are heard, also after a restart', async (t) => {
  const host = await TestHost.open(t);
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

test('CallAgent keeps the beginning of a flood, counts the rest, and tells it in bounded messages', async (t) => {
  const host = await TestHost.open(t);
  const result = await host.run({ command: 'flood', maxOutputBytes: 150_000 });
  t.is(result.stdoutBytes, 300_000);
  t.is(host.output(result.call).length, 150_000);
  for (const message of host.sent) {
    if (message.type === 'call-output') t.true(message.data.length <= 90_000);
  }
});

test('a call that ran when the daemon was killed is unknown, is ended, and never runs again', async (t) => {
  const host = await TestHost.open(t);
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
    const host = await TestHost.open(t);
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

for (const hasGroups of [true, false]) {
  const way = hasGroups ? 'with a cgroup for each call, where there can be one' : 'without cgroups';
  test(`CallAgent runs, stops and refuses calls ${way}`, async (t) => {
    const host = await TestHost.open(t, undefined, { hasGroups });
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

test('CallAgent ends what runs when it is stopped itself, and tells it after the next start', async (t) => {
  const host = await TestHost.open(t);
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

test('CallAgent stops though a supernode takes nothing of what it is told, and forgeries do not pile up', async (t) => {
  const host = await TestHost.open(t);
  host.isStuck = true;
  const forger = HostKey.generate();
  for (let at = 0; at < 300; at += 1) host.running.take(host.message({}, forger));
  await host.running.quiet();
  t.is(host.running.counts.refused, 300);
  t.true(host.running.untold <= 100, String(host.running.untold));
  await host.close();
  t.deepEqual(host.sent, []);
});

test('CallAgent begins nothing that it cannot write down first', async (t) => {
  const host = await TestHost.open(t);
  const file = join(host.directory, 'counter');
  host.isDiskFull = true;
  const order = host.order({ command: 'append', args: ['x', file] });
  host.running.take(host.message(order));
  t.like(await host.result(order.call), { outcome: 'refused', code: 'ERR_STORE_IO' });
  await t.throwsAsync(readFile(file), { code: 'ENOENT' });
});

function isTold(host: TestHost, call: string): boolean {
  return host.sent.some(
    (message) => message.type === 'call-states' && message.running.includes(call),
  );
}
