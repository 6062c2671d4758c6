import { join } from 'node:path';
import test from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { openEngine } from '../../core/swarm/engine.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const content = { seed: 11, length: 4 * MIB } as const;
const never = new AbortController().signal;

test('downloads that fail before they begin give the connections to the origin back', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content });
  const alone = await swarm.host('alone', { supernodes: [], quota: 1024 });
  const url = swarm.origin.url('/f');
  // More than there are connections for one origin.
  for (let count = 0; count < 9; count += 1) {
    const failed = await swarm.download(alone, { url, timeoutMs: 5_000 });
    t.like(failed, { type: 'failed', code: 'ERR_NO_SPACE' });
  }
});

test('a download that begins while one of the same content is being given up completes', async (t) => {
  await using swarm = await TestSwarm.start({ bytesPerSecond: MIB });
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  const host = await swarm.host('host');
  const controller = new AbortController();
  const given = swarm.download(
    host,
    { url },
    {
      signal: controller.signal,
      onEvent: ({ type }) => {
        if (type === 'progress') controller.abort();
      },
    },
  );
  await until(() => controller.signal.aborted);
  const [first, second] = await Promise.all([given, swarm.download(host, { url })]);
  t.is(first.type, 'failed');
  t.is(doneOf(second).length, content.length);
});

test('the supernode learns that a host gave up before it took part', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  const host = await swarm.host('host', { quota: 1024 });
  await host.member?.client.whenConnected(5_000, { signal: never });
  t.like(await swarm.download(host, { url, backToSource: false }), { code: 'ERR_NO_SPACE' });
  await until(() => [...swarm.supernode.table.versions()].length === 1);
  const [version] = swarm.supernode.table.versions();
  await until(() => version?.activePeers === 0);
  t.is(version?.activePeers, 0);
});

test('the supernode learns that a host gave up while it waited for the reply', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content, slowHeadMs: 500 });
  const url = swarm.origin.url('/f');
  const host = await swarm.host('host');
  await host.member?.client.whenConnected(5_000, { signal: never });
  const failed = await swarm.download(host, { url, timeoutMs: 250, backToSource: false });
  t.like(failed, { type: 'failed', code: 'ERR_TIMEOUT' });
  await until(() => [...swarm.supernode.table.versions()].length === 1);
  const [version] = swarm.supernode.table.versions();
  await until(() => version?.activePeers === 0);
  t.is(version?.activePeers, 0);
});

/** A machine on another day. */
class LaterClock extends SystemClock {
  override now(): number {
    return super.now() + 25 * 3_600_000;
  }
}

test('a host that was away for longer than its record starts, gives what it keeps, and says what is missing', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/kept', { content });
  swarm.origin.set('/new', { content: { seed: 12, length: MIB } });
  {
    await using host = await swarm.host('host');
    doneOf(await swarm.download(host, { url: swarm.origin.url('/kept') }));
  }
  await using host = await openEngine({
    dataDir: join(swarm.directory, 'host'),
    supernodes: [`127.0.0.1:${swarm.supernode.meshPort}`],
    originAllow: ['127.0.0.0/8'],
    workers: 1,
    clock: new LaterClock(),
    log: swarm.logOf('host'),
  });
  t.is(host.member?.hasJoined, true);
  t.is(host.member?.record, undefined);
  const failed = await swarm.download(host, { url: swarm.origin.url('/new') });
  t.like(failed, { type: 'failed', code: 'ERR_TOKEN' });
  t.regex(failed.type === 'failed' ? failed.message : '', /expired.*--join-token/);
  t.is(swarm.origin.stats('/new').requests, 0);
  const kept = doneOf(await swarm.download(host, { url: swarm.origin.url('/kept') }));
  t.is(kept.fromCache, content.length);
  t.is(swarm.origin.stats('/kept').bodyBytes, content.length);
  t.like(host.member?.client.lastError, { code: 'ERR_TOKEN' });
});
