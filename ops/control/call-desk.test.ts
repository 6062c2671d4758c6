import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { digestOfHosts, openCallOrder } from '../../core/identity/call-order.ts';
import { openControlCertificate } from '../../core/identity/control-certificate.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { AnsweringHost } from '../../test/support/answering-host.ts';
import { nobodyRevoked } from '../../test/support/revocations.ts';
import { until } from '../../test/support/until.ts';
import type { CallEvent } from './call-record.ts';
import { followCall } from './follow-call.ts';
import { OpsControl } from './index.ts';
import { operator } from './principal.ts';

const alice = { principal: operator, source: 'test' };

interface Bench {
  readonly cell: HostKey;
  readonly clock: ManualClock;
  readonly dataDir: string;
  ops: OpsControl;
  reopen(): Promise<void>;
}

async function openBench(t: ExecutionContext): Promise<Bench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'call-desk-'));
  const cell = HostKey.generate();
  const clock = new ManualClock();
  let opened = 0;
  const open = async (): Promise<OpsControl> =>
    OpsControl.open({
      dataDir,
      cell: cell.peerId,
      cellKey: async () => cell,
      revocations: nobodyRevoked,
      clock,
      random: new SeededRandom((opened += 1)),
      log: silentLog,
    });
  const bench: Bench = {
    cell,
    clock,
    dataDir,
    ops: await open(),
    reopen: async () => {
      await bench.ops[Symbol.asyncDispose]();
      bench.ops = await open();
    },
  };
  t.teardown(async () => {
    await bench.ops[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  return bench;
}

/** Lets a principal make calls. */
async function allow(ops: OpsControl, name: string): Promise<void> {
  const policy = { principals: [name], effect: 'allow', verbs: ['call.*'] } as const;
  const input = { name: `${name}-calls`, policy };
  await ops.door.perform(
    { verb: 'policy.put', caller: alice, input, object: { id: input.name } },
    async () => ops.policies.put(input.name, { ...policy, principals: [name], verbs: ['call.*'] }),
  );
}

function hostsOf(bench: Bench, names: readonly string[]): AnsweringHost[] {
  return names.map((name) => {
    const host = new AnsweringHost(name);
    host.connect(bench.ops.desk);
    return host;
  });
}

test('a call goes to each host as an order of its own, and ends when all have answered', async (t) => {
  const bench = await openBench(t);
  const hosts = hostsOf(bench, ['one', 'two', 'three']);
  const record = await bench.ops.submit({ command: 'echo', args: ['a', ''], on: 'all' }, alice);
  const events: CallEvent[] = [];
  using _watch = bench.ops.desk.find(record.id)?.watch((event) => void events.push(event));
  const peers = hosts.map(({ peer }) => peer);
  for (const host of hosts) {
    const [message] = host.orders;
    const { order, signer } = openCallOrder(message?.order ?? '');
    const { control } = openControlCertificate(message?.certificate ?? '', bench.cell.peerId);
    t.is(signer, control);
    t.like(order, {
      cell: bench.cell.peerId,
      call: record.id,
      host: host.peer,
      hosts: digestOfHosts(peers),
      principal: 'operator',
      command: 'echo',
      args: ['a', ''],
      lane: 'fast',
    });
    host.begin(record.id);
    host.write(record.id, 'out\n');
    host.end(record.id, { outcome: host.hostname === 'two' ? 'failed' : 'ok', exitCode: 0 });
  }
  await until(() => events.at(-1)?.type === 'ended');
  t.like(events.at(-1), { type: 'ended', counts: { hosts: 3, ok: 2, failed: 1, waiting: 0 } });
  t.is(events.filter(({ type }) => type === 'output').length, 3);
  const results = await Array.fromAsync(bench.ops.calls.results(record.id));
  t.deepEqual(
    results.map(({ peer, stdout }) => [peer, Buffer.from(stdout, 'base64').toString()]),
    peers.toSorted().map((peer) => [peer, 'out\n']),
  );
  for (const host of hosts) t.deepEqual(host.heard, [record.id]);
  t.like(await bench.ops.calls.end(record.id), { counts: { ok: 2, failed: 1 } });
});

test('nothing is kept of a call that no host could be given', async (t) => {
  const bench = await openBench(t);
  await t.throwsAsync(bench.ops.submit({ command: 'true', on: 'all' }, alice), {
    code: 'ERR_NOT_FOUND',
  });
  hostsOf(bench, ['one']);
  for (const [request, code] of [
    [{ command: 'true', on: 'host=two' }, 'ERR_NOT_FOUND'],
    [{ command: 'true', on: 'web-*' }, 'ERR_REQUEST'],
    [{ command: 'echo', args: ['ok', 'a\0b'], on: 'all' }, 'ERR_REQUEST'],
    [{ command: 'echo', args: ['x'.repeat(70_000)], on: 'all' }, 'ERR_REQUEST'],
  ] as const) {
    await t.throwsAsync(bench.ops.submit({ ...request, args: [...(request.args ?? [])] }, alice), {
      code,
    });
  }
  t.deepEqual(await bench.ops.calls.list({ limit: 10 }), []);
});

test('a second call with the same word is the first one, also when both come at once and after a restart', async (t) => {
  const bench = await openBench(t);
  const [host] = hostsOf(bench, ['one']);
  const request = { command: 'true', on: 'all', idempotencyKey: 'deploy-7' };
  const [first, second] = await Promise.all([
    bench.ops.submit(request, alice),
    bench.ops.submit(request, alice),
  ]);
  t.is(first?.id, second?.id);
  t.is(host?.orders.length, 1);
  await bench.reopen();
  t.is((await bench.ops.submit(request, alice)).id, first?.id);
  host?.connect(bench.ops.desk);
  // Somebody else's word is another word.
  await allow(bench.ops, 'bob');
  const bob = { principal: { name: 'bob' }, source: 'test' };
  t.not((await bench.ops.submit(request, bob)).id, first?.id);
});

test('a host that goes away and comes back is given the call again, and its answer holds', async (t) => {
  const bench = await openBench(t);
  const [host] = hostsOf(bench, ['one']);
  if (host === undefined) return;
  const { id } = await bench.ops.submit({ command: 'true', on: 'all' }, alice);
  host.disconnect();
  host.connect(bench.ops.desk);
  t.is(host.orders.length, 2);
  host.end(id, { outcome: 'ok' });
  await until(() => bench.ops.desk.find(id) === undefined);
  t.like(await bench.ops.calls.end(id), { counts: { ok: 1 } });
});

test('a host that never had it did not run it; of one that had it and is silent that is not known, until it speaks', async (t) => {
  const bench = await openBench(t);
  const [gone, silent] = hostsOf(bench, ['gone', 'silent']);
  if (gone === undefined || silent === undefined) return;
  // More slow calls than a host has at a time: what is behind them is never sent.
  const slow = { command: 'true', lane: 'slow', on: 'host=gone', waitMs: 600_000 } as const;
  for (let at = 0; at < 16; at += 1) await bench.ops.submit(slow, alice);
  const { id } = await bench.ops.submit({ command: 'true', lane: 'slow', on: 'all' }, alice);
  t.is(gone.orders.length, 16);
  silent.disconnect();
  bench.clock.advance(60_000);
  await until(() => bench.ops.desk.find(id)?.counts.failed === 1);
  t.like(await bench.ops.calls.result(id, gone.peer), { outcome: 'failed', code: 'ERR_TIMEOUT' });
  t.is(await bench.ops.calls.result(id, silent.peer), undefined);
  bench.clock.advance(180_000);
  await until(() => bench.ops.desk.find(id) === undefined);
  t.like(await bench.ops.calls.result(id, silent.peer), { outcome: 'unknown' });
  silent.connect(bench.ops.desk);
  t.deepEqual(
    silent.orders.filter(({ order }) => openCallOrder(order).order.call === id).length,
    1,
    'it is too late to give it again',
  );
  silent.end(id, { outcome: 'ok' });
  await until(() => silent.heard.includes(id));
  t.like(await bench.ops.calls.result(id, silent.peer), { outcome: 'ok' });
});

test('calls that had not ended are taken up by the next start, with what was known of them', async (t) => {
  const bench = await openBench(t);
  const [one, two] = hostsOf(bench, ['one', 'two']);
  if (one === undefined || two === undefined) return;
  const { id } = await bench.ops.submit({ command: 'true', on: 'all' }, alice);
  one.end(id, { outcome: 'ok' });
  await until(() => one.heard.includes(id));
  await bench.reopen();
  t.like(bench.ops.desk.find(id)?.counts, { hosts: 2, ok: 1, waiting: 1 });
  for (const host of [one, two]) {
    host.orders.length = 0;
    host.connect(bench.ops.desk);
  }
  t.is(one.orders.length, 0, 'what has ended is not asked for again');
  t.is(two.orders.length, 1);
  two.end(id, { outcome: 'ok' });
  await until(() => bench.ops.desk.find(id) === undefined);
  await bench.reopen();
  t.is(bench.ops.desk.active, 0);
  t.like(await bench.ops.calls.end(id), { counts: { ok: 2 } });
});

test('a call that is stopped is not begun any more, and who runs it is told, also after a restart', async (t) => {
  const bench = await openBench(t);
  const [one] = hostsOf(bench, ['one']);
  if (one === undefined) return;
  const { id } = await bench.ops.submit({ command: 'true', on: 'all' }, alice);
  one.begin(id);
  await bench.ops.stop(id, alice);
  t.deepEqual(one.stops, [id]);
  await bench.reopen();
  one.connect(bench.ops.desk);
  t.deepEqual(one.stops, [id, id]);
  t.is(one.orders.length, 1);
  one.end(id, { outcome: 'failed', code: 'ERR_INTERRUPTED', message: 'stopped' });
  await until(() => bench.ops.desk.find(id) === undefined);
  t.like(await bench.ops.calls.end(id), { counts: { failed: 1 } });
});

test('what one host says of another counts for nothing', async (t) => {
  const bench = await openBench(t);
  const [one, two] = hostsOf(bench, ['one', 'two']);
  if (one === undefined || two === undefined) return;
  const { id } = await bench.ops.submit({ command: 'true', on: 'host=one' }, alice);
  two.end(id, { outcome: 'ok' });
  two.end(id, { outcome: 'ok' }, { of: one.peer });
  one.end(id, { outcome: 'failed' });
  await until(() => bench.ops.desk.find(id) === undefined);
  t.like(await bench.ops.calls.end(id), { counts: { hosts: 1, ok: 0, failed: 1 } });
});

test('slow calls do not stand in the way of fast ones', async (t) => {
  const bench = await openBench(t);
  const [one] = hostsOf(bench, ['one']);
  for (let at = 0; at < 100; at += 1) {
    await bench.ops.submit({ command: 'sleep', lane: 'slow', on: 'all' }, alice);
  }
  const before = one?.orders.length ?? 0;
  t.true(before < 100);
  await bench.ops.submit({ command: 'true', on: 'all' }, alice);
  t.is(one?.orders.length, before + 1);
});

test('output is kept up to what was asked for, and what is missing is told', async (t) => {
  const bench = await openBench(t);
  const [one] = hostsOf(bench, ['one']);
  if (one === undefined) return;
  const request = { command: 'true', on: 'all', maxOutputBytes: 10 };
  const whole = await bench.ops.submit(request, alice);
  one.write(whole.id, '12345');
  one.disconnect();
  one.connect(bench.ops.desk);
  // It tells again what it has written, and goes on.
  one.write(whole.id, '12345', 0);
  one.write(whole.id, '67890abc', 5);
  one.end(whole.id, { outcome: 'ok' }, { output: '1234567890' });
  const gap = await bench.ops.submit(request, alice);
  one.write(gap.id, '890', 7);
  one.end(gap.id, { outcome: 'ok' }, { output: '1234567890' });
  await until(() => bench.ops.desk.active === 0);
  const kept = await bench.ops.calls.result(whole.id, one.peer);
  t.is(Buffer.from(kept?.stdout ?? '', 'base64').toString(), '1234567890');
  t.is(kept?.isOutputLost, undefined);
  t.like(await bench.ops.calls.result(gap.id, one.peer), { stdout: '', isOutputLost: true });
});

test('calls of a key that is locked end, and their ends are in the audit', async (t) => {
  const bench = await openBench(t);
  const [one] = hostsOf(bench, ['one']);
  if (one === undefined) return;
  await allow(bench.ops, 'carol');
  const input = { principal: 'carol' };
  const { door, principals } = bench.ops;
  const issued = await door.perform(
    { verb: 'key.create', caller: alice, input, object: { id: 'carol' } },
    async () => principals.create(input),
  );
  const principal = principals.find(`Bearer ${issued.key}`);
  if (principal === undefined) throw new Error('no principal');
  const carol = { principal, source: 'test' };
  const { id } = await bench.ops.submit({ command: 'sleep', on: 'all' }, carol);
  const other = await bench.ops.submit({ command: 'sleep', on: 'all' }, alice);
  one.begin(id);
  const about = { id: issued.id };
  await door.perform({ verb: 'key.lock', caller: alice, input: about, object: about }, async () =>
    principals.lock(issued.id),
  );
  await until(() => one.stops.includes(id));
  t.false(one.stops.includes(other.id));
  await t.throwsAsync(bench.ops.submit({ command: 'sleep', on: 'all' }, carol), {
    code: 'ERR_UNAUTHORIZED',
  });
  const { records } = await bench.ops.audit.list({ kind: 'call.cancel', limit: 10 });
  t.like(records, [{ principal: 'door', object: id }]);
});

test('who may not call leaves a record of that, and no call', async (t) => {
  const bench = await openBench(t);
  const [one] = hostsOf(bench, ['one']);
  const mallory = { principal: { name: 'mallory' }, source: '192.0.2.1' };
  await t.throwsAsync(bench.ops.submit({ command: 'true', on: 'all' }, mallory), {
    code: 'ERR_DENIED',
  });
  t.is(one?.orders.length, 0);
  await bench.reopen();
  const { records } = await bench.ops.audit.list({ principal: 'mallory', limit: 10 });
  t.like(records, [{ kind: 'call.run', decision: 'denied', source: '192.0.2.1' }]);
});

test('what a host refuses is in the audit, also of a call that nobody here made', async (t) => {
  const bench = await openBench(t);
  const [one] = hostsOf(bench, ['one']);
  if (one === undefined) return;
  const { id } = await bench.ops.submit({ command: 'reboot', on: 'all' }, alice);
  one.end(id, { outcome: 'refused', code: 'ERR_FORBIDDEN', message: 'no such command' });
  const forged = '0forged0call0000';
  one.end(forged, { outcome: 'refused', code: 'ERR_SIGNATURE', message: 'signed by another' });
  await until(() => one.heard.includes(forged));
  await bench.reopen();
  const { records } = await bench.ops.audit.list({ kind: 'call.refused', limit: 10 });
  t.like(records, [
    { object: id, source: one.peer, decision: 'denied', detail: { code: 'ERR_FORBIDDEN' } },
    { object: forged, source: one.peer, detail: { code: 'ERR_SIGNATURE' } },
  ]);
  t.like(await bench.ops.calls.end(id), { counts: { refused: 1 } });
});

test('who follows a call is told everything once, whenever he begins', async (t) => {
  const bench = await openBench(t);
  const hosts = hostsOf(bench, ['one', 'two', 'three']);
  const { id } = await bench.ops.submit({ command: 'true', on: 'all' }, alice);
  const [one, two, three] = hosts;
  const readers: PassThrough[] = [];
  const follow = (): void => {
    const reader = new PassThrough();
    readers.push(reader);
    void followCall(id, bench.ops, reader);
  };
  follow();
  one?.begin(id);
  one?.write(id, 'early ');
  follow();
  one?.write(id, 'late');
  two?.write(id, 'two');
  two?.end(id, { outcome: 'ok' });
  follow();
  await until(() => two?.heard.includes(id) === true);
  follow();
  one?.end(id, { outcome: 'ok' });
  three?.end(id, { outcome: 'failed' });
  follow();
  await until(() => bench.ops.desk.find(id) === undefined);
  follow();
  for (const [at, reader] of readers.entries()) {
    const events = (await text(reader))
      .trimEnd()
      .split('\n')
      .map((line): CallEvent => JSON.parse(line));
    const written = new Map<string, string>();
    for (const event of events) {
      if (event.type !== 'output') continue;
      const { peer, data } = event;
      written.set(peer, (written.get(peer) ?? '') + Buffer.from(data, 'base64').toString());
    }
    t.is(written.get(one?.peer ?? ''), 'early late', `${at}`);
    t.is(written.get(two?.peer ?? ''), 'two', `${at}`);
    t.is(events.filter(({ type }) => type === 'result').length, 3, `${at}`);
    t.like(events.at(-1), { type: 'ended', counts: { ok: 2, failed: 1 } });
  }
});

test('results come in pages of bounded length, complete whatever the page', async (t) => {
  const bench = await openBench(t);
  const names = Array.from({ length: 7 }, (_item, at) => `host-${at}`);
  const hosts = hostsOf(bench, names);
  const request = { command: 'true', on: 'all', maxOutputBytes: 1_048_576 };
  const { id } = await bench.ops.submit(request, alice);
  for (const host of hosts) {
    host.write(id, 'x'.repeat(1_048_576));
    host.end(id, { outcome: 'ok' });
  }
  await until(() => bench.ops.desk.find(id) === undefined);
  const sizes: number[] = [];
  const peers: string[] = [];
  for (let after: string | undefined; ;) {
    const { items, next } = await bench.ops.calls.page(id, { limit: 100, after });
    sizes.push(items.length);
    peers.push(...items.map(({ peer }) => peer));
    if (next === undefined) break;
    after = next;
  }
  t.deepEqual(peers, hosts.map(({ peer }) => peer).toSorted());
  t.deepEqual(sizes, [3, 3, 1]);
  t.is((await bench.ops.calls.page(id, { limit: 2 })).items.length, 2);
});
