import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import test from 'ava';
import { contentDigest, seededBytes } from '../../bench/origin/content.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { RateLimiter } from '../../core/net/pacing.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { AddressGuard } from '../../core/origin/address-guard.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import type { DownloadRequest } from '../../core/swarm/download-events.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { waitFor } from '../../test/support/rogue.ts';
import { TestSwarm, doneOf } from '../../test/support/swarm.ts';
import { BodyStreams } from './body-stream.ts';
import type { BodyReport } from './body-stream.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const clock = new SystemClock();
const never = new AbortController().signal;
/** A stall is as long as a piece takes at least; nothing more. */
const SHORT = { stallMs: 1 };

/** A host that its supernode knows: one that waits in vain for that fetches alone. */
async function joined(swarm: TestSwarm): Promise<Engine> {
  const host = await swarm.host('host');
  await host.member?.client.whenConnected(45_000, { signal: never });
  return host;
}

interface Got extends BodyReport {
  readonly length: number;
  readonly digest: string;
  readonly error: string | undefined;
}

/** Digest of bytes `[start, end)` of generated content. */
function partDigest(seed: number, start: number, end: number): string {
  const hash = createHash('sha256').update(seededBytes(seed, start, end));
  return `sha256:${hash.digest('hex')}`;
}

/** Reads a body to its end, or to the error that cuts it; begins when the mesh has brought `afterBytes` of it. */
async function get(
  host: Engine,
  request: DownloadRequest,
  options: {
    readonly range?: { readonly start: number; readonly end?: number };
    readonly afterBytes?: number;
    readonly allow?: readonly string[];
    readonly stallMs?: number;
    readonly limiter?: RateLimiter;
    readonly bodies?: BodyStreams;
    readonly onChunk?: (length: number) => Promise<void> | void;
    readonly onTurn?: (turn: object) => void;
  } = {},
): Promise<Got> {
  const { range = { start: 0 }, afterBytes = 0, allow = ['127.0.0.0/8'], onChunk } = options;
  const guard = new AddressGuard({ allow });
  await using connections = new OriginConnections({ guard, clock });
  const log = { ...silentLog, debug: (facts: object) => options.onTurn?.(facts) };
  const bodies =
    options.bodies ?? new BodyStreams({ clock, random: new SystemRandom(), log, ...options });
  await using content = await host.openContent(request, { signal: never });
  const from = range.start;
  await waitFor('the mesh', () => content.readyUntil(from) >= from + afterBytes || undefined);
  const body = bodies.body({ content, request, range, connections }, { signal: never });
  const hash = createHash('sha256');
  let length = 0;
  let error: string | undefined;
  try {
    for await (const chunk of body) {
      hash.update(chunk);
      length += chunk.length;
      await onChunk?.(length);
    }
  } catch (reason) {
    error = (reason as { code: string }).code;
  }
  return { ...body.report, length, digest: `sha256:${hash.digest('hex')}`, error };
}

test.serial('a body comes from the mesh alone while that does its work', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 1, length: 8 * MIB };
  swarm.origin.set('/f', { content });
  const host = await joined(swarm);
  const digest = await contentDigest(content);
  const got = await get(host, { url: swarm.origin.url('/f'), digest });
  t.is(got.digest, digest);
  t.deepEqual([got.fromMesh, got.direct], [content.length, 0]);
  t.deepEqual(got.turns, []);
  t.is(swarm.origin.stats('/f').bodyBytes, content.length);
});

for (const isNamed of [true, false]) {
  const how = isNamed ? 'named by a digest' : 'of one version';
  test.serial(`a body ${how} goes on from the origin where the mesh stalls`, async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 2, length: 8 * MIB };
    // The seed's request gets no further than this; any other gets all.
    swarm.origin.set('/f', { content, stall: { afterBytes: 3 * MIB, times: 1 } });
    const host = await joined(swarm);
    const digest = await contentDigest(content);
    const request = { url: swarm.origin.url('/f'), ...(isNamed ? { digest } : {}) };
    const limiter = new RateLimiter(0, clock);
    const got = await get(host, request, { ...SHORT, afterBytes: 2 * MIB, limiter });
    t.is(got.error, undefined);
    t.is(limiter.passedBytes, got.direct, 'a limit of what comes from origins would hold');
    t.is(got.digest, digest);
    t.true(got.direct >= 4 * MIB);
    t.is(got.fromMesh + got.direct, content.length);
    t.regex(got.turns[0]?.reason ?? '', /^ERR_STALLED/);
    t.is(got.turns[0]?.at, got.fromMesh);
  });
}

test.serial(
  'a body in the middle of the content is continued there, and no byte outside it is read',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 3, length: 8 * MIB };
    swarm.origin.set('/f', { content, stall: { afterBytes: 2 * MIB, times: 1 } });
    const host = await joined(swarm);
    const range = { start: 1 * MIB + 7, end: 6 * MIB + 1 };
    const got = await get(
      host,
      { url: swarm.origin.url('/f') },
      { ...SHORT, range, afterBytes: 512 * KIB },
    );
    t.is(got.error, undefined);
    t.is(got.digest, partDigest(content.seed, range.start, range.end));
    t.is(got.fromMesh + got.direct, range.end - range.start);
    t.true(got.fromMesh > 0);
  },
);

test.serial('a body whose rest is of another version is cut, not completed', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 4, length: 8 * MIB };
  swarm.origin.set('/f', { content, stall: { afterBytes: 3 * MIB, times: 1 } });
  const host = await joined(swarm);
  const url = swarm.origin.url('/f');
  const onChunk = (): void => {
    const other = { seed: 5, length: 8 * MIB };
    swarm.origin.set('/f', { content: other, lastModified: 'Wed, 01 May 2024 00:00:00 GMT' });
  };
  const got = await get(host, { url }, { ...SHORT, afterBytes: 2 * MIB, onChunk });
  t.true(got.error !== undefined);
  t.is(got.direct, 0);
  t.is(got.digest, partDigest(content.seed, 0, got.length));
});

test.serial(
  'a body whose end came from elsewhere and is wrong is cut before its last bytes',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 6, length: 8 * MIB };
    swarm.origin.set('/f', { content, stall: { afterBytes: 3 * MIB, times: 1 } });
    const host = await joined(swarm);
    const request = { url: swarm.origin.url('/f'), digest: await contentDigest(content) };
    const onChunk = (): void => swarm.origin.set('/f', { content: { seed: 7, length: 8 * MIB } });
    const got = await get(host, request, { ...SHORT, afterBytes: 2 * MIB, onChunk });
    t.is(got.error, 'ERR_DIGEST_MISMATCH');
    t.true(got.direct > 0);
    t.true(got.length < content.length);
  },
);

test.serial('a host that sends wrong pieces costs a body nothing', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 8, length: 8 * MIB };
  swarm.origin.set('/f', { content });
  const request = { url: swarm.origin.url('/f'), digest: await contentDigest(content) };
  const liar = await swarm.host('liar');
  const { task, path = '' } = doneOf(await swarm.download(liar, request));
  const file = await open(path, 'r+');
  for (let at = 99; at < content.length; at += 256 * KIB)
    await file.write(Buffer.from('altered'), 0, 7, at);
  await file.close();
  const stored = liar.store.find(task);
  if (stored === undefined) throw new Error('not stored');
  // The liar believes its file: it is sealed again as it is now.
  await stored.complete();
  await liar.pool.putTask(stored);
  const host = await joined(swarm);
  const got = await get(host, request);
  t.is(got.digest, request.digest);
  t.deepEqual([got.fromMesh, got.direct], [content.length, 0]);
});

test.serial('a body survives the death of the supernode in its middle', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 9, length: 8 * MIB };
  const { promise: until, resolve: release } = Promise.withResolvers<void>();
  swarm.origin.set('/f', { content, hold: { afterBytes: 3 * MIB, until } });
  const host = await joined(swarm);
  const request = { url: swarm.origin.url('/f'), digest: await contentDigest(content) };
  let isDead = false;
  const onChunk = async (): Promise<void> => {
    if (isDead) return;
    isDead = true;
    await swarm.supernode[Symbol.asyncDispose]();
    release();
  };
  const got = await get(host, request, { afterBytes: 1 * MIB, onChunk });
  t.is(got.error, undefined);
  t.is(got.digest, request.digest);
});

test.serial(
  'a body of which neither mesh nor origin can give the rest says what both said',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 10, length: 8 * MIB };
    swarm.origin.set('/f', { content, cut: { afterBytes: 3 * MIB } });
    const host = await joined(swarm);
    const url = swarm.origin.url('/f');
    const onChunk = (): void => swarm.origin.set('/f', { fail: { status: 404 } });
    const got = await get(host, { url }, { afterBytes: 2 * MIB, onChunk });
    t.is(got.error, 'ERR_ORIGIN_REFUSED');
    t.is(got.digest, partDigest(content.seed, 0, got.length));
  },
);

test.serial('a body does not go where its client may not go', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 11, length: 8 * MIB };
  const { promise: until, resolve: release } = Promise.withResolvers<void>();
  swarm.origin.set('/f', { content, hold: { afterBytes: 3 * MIB, until } });
  const host = await joined(swarm);
  const url = swarm.origin.url('/f');
  // The mesh is waited for, because the origin is no way out.
  const onTurn = (turn: object): void => void ('to' in turn && turn.to === 'mesh' && release());
  const got = await get(host, { url }, { ...SHORT, afterBytes: 2 * MIB, allow: [], onTurn });
  t.is(got.digest, await contentDigest(content));
  t.is(got.direct, 0);
  t.is(swarm.origin.stats('/f').requests, 1);
  t.deepEqual(
    got.turns.map(({ to }) => to),
    ['origin', 'mesh'],
  );
});

/** Time for those who judge how fast bytes come: hours pass for them while a test runs. */
class HastyClock extends SystemClock {
  override monotonic(): number {
    return super.monotonic() * 100;
  }
}

test.serial('a body goes on from an origin that is faster than the mesh', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 12, length: 3 * MIB };
  swarm.origin.set('/f', { content, bytesPerSecond: 512 * KIB });
  const host = await joined(swarm);
  const request = { url: swarm.origin.url('/f'), digest: await contentDigest(content) };
  const onChunk = (): void => swarm.origin.set('/f', { content });
  const parts = { clock: new HastyClock(), random: new SystemRandom(), log: silentLog };
  const bodies = new BodyStreams({ ...parts, stallMs: 60_000 });
  const got = await get(host, request, { bodies, onChunk });
  t.is(got.error, undefined);
  t.is(got.digest, request.digest);
  t.true(got.direct >= 1 * MIB);
  t.regex(got.turns[0]?.reason ?? '', /^the mesh brings \d+ KiB\/s/);
});

test.serial('a body returns from an origin that is no faster than the mesh', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 13, length: 3 * MIB };
  swarm.origin.set('/f', { content, bytesPerSecond: 512 * KIB });
  const host = await joined(swarm);
  const parts = { clock: new HastyClock(), random: new SystemRandom(), log: silentLog };
  const bodies = new BodyStreams({ ...parts, stallMs: 60_000 });
  const got = await get(host, { url: swarm.origin.url('/f') }, { bodies });
  t.is(got.digest, await contentDigest(content));
  t.deepEqual(
    got.turns.slice(0, 2).map(({ to }) => to),
    ['origin', 'mesh'],
  );
});
