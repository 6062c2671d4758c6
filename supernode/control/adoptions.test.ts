import { createHash } from 'node:crypto';
import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { issueCertificate } from '../../core/identity/cell.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { CellTrust } from '../../core/identity/trust.ts';
import { Bitfield } from '../../core/piece/bitfield.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { versionOf } from '../../core/piece/version.ts';
import { contiguousRuns, sealManifest } from '../../core/swarm/manifest.ts';
import type { ManifestKind } from '../../core/swarm/manifest.ts';
import type { Announce, TaskShape } from '../../core/wire/messages.ts';
import { seededBytes } from '../../bench/origin/content.ts';
import { Rogue } from '../../test/support/rogue.ts';
import { TestSwarm } from '../../test/support/swarm.ts';
import { until } from '../../test/support/until.ts';
import { Adoptions } from './adoptions.ts';

const KIB = 1024;
const pieceLength = 256 * KIB;
const PIECES = 16;
const length = PIECES * pieceLength;
const url = 'http://origin/f';
const signal = new AbortController().signal;

function shapeOf(validators: TaskShape['validators']): TaskShape {
  const version = versionOf({ digest: undefined, validators, length });
  return { version, pieceLength, length, validators, acceptsRanges: true };
}

/** What a host says that holds everything of the task at `from`, and wants it; digests by piece. */
function announcement(
  about: { readonly shape: TaskShape; readonly from: string },
  said: {
    readonly kind: ManifestKind;
    readonly key: HostKey;
    readonly digests: ReadonlyMap<number, string>;
  },
): Announce {
  const { shape, from } = about;
  const task = taskIdOf({ url: from });
  const { version } = shape;
  const batches = contiguousRuns(said.digests).map((run) =>
    sealManifest(said.kind, { task, version, pieceLength, ...run }, said.key),
  );
  return {
    type: 'announce',
    task,
    shape,
    holding: { version },
    spec: { url: from },
    manifest: said.kind === 'manifest' ? batches : [],
    provisional: said.kind === 'provisional' ? batches : [],
    active: true,
  };
}

function digestsOf(seed: number, pieces: readonly number[]): Map<number, string> {
  return new Map(
    pieces.map((piece) => {
      const bytes = seededBytes(seed, piece * pieceLength, (piece + 1) * pieceLength);
      return [piece, createHash('sha256').update(bytes).digest('hex')] as const;
    }),
  );
}

const all = Array.from({ length: PIECES }, (_unused, piece) => piece);

async function openOrigin(): Promise<never> {
  throw new CodedError('ERR_ORIGIN_UNREACHABLE', 'there is none');
}

/** Adoptions of a cell whose seed answers `revive` as told; no origin is asked here. */
function alone(
  revive: () => Promise<unknown>,
  limits?: ConstructorParameters<typeof Adoptions>[1],
): {
  readonly adoptions: Adoptions;
  readonly clock: ManualClock;
  readonly supernode: HostKey;
} {
  const clock = new ManualClock();
  const cell = HostKey.generate();
  const supernode = HostKey.generate();
  const trust = new CellTrust(cell.peerId);
  trust.addCertificate(issueCertificate(cell, { supernode: supernode.peerId, now: clock.now() }));
  const seeds = { find: () => undefined, revive };
  const parts = {
    seeds,
    pool: { openOrigin },
    trust,
    clock,
    random: new SeededRandom(1),
    log: silentLog,
  };
  return { adoptions: new Adoptions(parts, limits), clock, supernode };
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('a task that hosts download is taken up a moment after they said so, once', async (t) => {
  let revived = 0;
  const { adoptions, clock } = alone(async () => void (revived += 1));
  const shape = shapeOf({ etag: '"1"' });
  const host = HostKey.generate();
  const said = { kind: 'provisional', key: host, digests: digestsOf(1, [0]) } as const;
  for (const peer of ['one', 'other']) {
    adoptions.announced(peer, announcement({ shape, from: url }, said));
  }
  t.is(revived, 0);
  clock.advance(1_000);
  t.is(revived, 1);
});

test('a task that could not be taken up is tried again, with growing pauses, not for ever', async (t) => {
  const atMs: number[] = [];
  const { adoptions, clock } = alone(async () => {
    atMs.push(clock.monotonic());
    throw new CodedError('ERR_NO_SPACE', 'no room now');
  });
  const said = {
    kind: 'provisional',
    key: HostKey.generate(),
    digests: digestsOf(1, [0]),
  } as const;
  const message = announcement({ shape: shapeOf({ etag: '"1"' }), from: url }, said);
  adoptions.announced('one', message);
  for (let second = 0; second < 600; second += 1) {
    clock.advance(1_000);
    await settled();
  }
  t.is(atMs.length, 6);
  const pauses = atMs.slice(1).map((ms, index) => ms - (atMs[index] ?? 0));
  t.true(pauses.every((pause, index) => pause > (pauses[index - 1] ?? 0)));
  adoptions.announced('one', message);
  clock.advance(1_000);
  await settled();
  t.is(atMs.length, 7, 'a host that comes back begins it anew');
});

test('a version that cannot be taken up is not tried again', async (t) => {
  let tries = 0;
  const { adoptions, clock } = alone(async () => {
    tries += 1;
    throw new CodedError('ERR_ORIGIN_CHANGED', 'another version is being fetched');
  });
  const said = {
    kind: 'provisional',
    key: HostKey.generate(),
    digests: digestsOf(1, [0]),
  } as const;
  adoptions.announced('one', announcement({ shape: shapeOf({ etag: '"1"' }), from: url }, said));
  for (let second = 0; second < 100; second += 1) {
    clock.advance(1_000);
    await settled();
  }
  t.is(tries, 1);
});

test('what hosts say is kept up to a number of bytes, of one version and of all', (t) => {
  const limits = { signedBytes: 4_000, statedBytes: 2_000, allBytes: 20_000 };
  const { adoptions, supernode } = alone(async () => undefined, limits);
  const digests = digestsOf(1, [0]);
  for (let number = 0; number < 50; number += 1) {
    const shape = shapeOf({ etag: `"${number % 10}"` });
    const about = { shape, from: `http://origin/${number % 10}` };
    adoptions.announced(
      'one',
      announcement(about, { kind: 'manifest', key: supernode, digests: digestsOf(number, all) }),
    );
    const key = HostKey.generate();
    adoptions.announced('one', announcement(about, { kind: 'provisional', key, digests }));
  }
  t.true(adoptions.bytes > 10_000);
  t.true(adoptions.bytes <= 20_000);
});

test('of what is said to be signed only what the cell signed of this version is kept', (t) => {
  const { adoptions, supernode } = alone(async () => undefined);
  const shape = shapeOf({ etag: '"1"' });
  const digests = digestsOf(1, all);
  const stranger = HostKey.generate();
  adoptions.announced(
    'one',
    announcement({ shape, from: url }, { kind: 'manifest', key: stranger, digests }),
  );
  const other = announcement(
    { shape, from: 'http://origin/other' },
    { kind: 'manifest', key: supernode, digests },
  );
  adoptions.announced('one', { ...other, task: taskIdOf({ url }) });
  t.is(adoptions.bytes, 0);
  adoptions.announced(
    'one',
    announcement({ shape, from: url }, { kind: 'manifest', key: supernode, digests }),
  );
  t.true(adoptions.bytes > 0);
});

/** Resolves with true when `promise` is settled after `ms` of the clock. */
async function isSettledAfter(
  promise: Promise<void>,
  clock: ManualClock,
  ms: number,
): Promise<boolean> {
  let isSettled = false;
  void promise.then(() => (isSettled = true));
  await settled();
  for (let passed = 0; passed < ms; passed += 100) {
    clock.advance(100);
    await settled();
  }
  return isSettled;
}

test('after a start hosts are waited for until those that are named have come, or for some seconds', async (t) => {
  const { adoptions, clock } = alone(async () => undefined);
  const shape = shapeOf({ etag: '"1"' });
  const key = HostKey.generate();
  const said = { kind: 'provisional', key, digests: digestsOf(1, [0]) } as const;
  const message = announcement({ shape, from: url }, said);
  const { task } = message;
  const back = adoptions.hostsBack({ task, version: shape.version }, signal);
  t.false(await isSettledAfter(back, clock, 1_000), 'nobody has come');
  // What the host of `key` stated is told by another, which also takes pieces from a third.
  adoptions.announced('one', { ...message, parents: ['third'] });
  t.false(await isSettledAfter(back, clock, 1_500));
  adoptions.announced(key.peerId, message);
  t.false(await isSettledAfter(back, clock, 500));
  adoptions.announced('third', message);
  t.true(await isSettledAfter(back, clock, 200));

  const other = { task: taskIdOf({ url: 'http://origin/other' }), version: shape.version };
  const nobody = adoptions.hostsBack(other, signal);
  t.false(await isSettledAfter(nobody, clock, 1_000));
  t.true(await isSettledAfter(nobody, clock, 1_000), '5 s after the start');
  t.true(await isSettledAfter(adoptions.hostsBack(other, signal), clock, 0));
});

test('waiting for hosts ends with its signal', async (t) => {
  const { adoptions } = alone(async () => undefined);
  const controller = new AbortController();
  const waiting = adoptions.hostsBack({ task: 'a', version: 'b' }, controller.signal);
  controller.abort(new CodedError('ERR_INTERRUPTED', 'stopping'));
  await t.throwsAsync(waiting, { code: 'ERR_INTERRUPTED' });
});

/** Hosts that were without a supernode, of whom each comes back when it is called, with its pieces. */
interface Comeback {
  readonly swarm: TestSwarm;
  readonly shape: TaskShape;
  readonly task: string;
  /** Says what a host holds, with the digests of the content of `seed`. */
  readonly say: (
    rogue: Rogue,
    held: {
      readonly seed: number;
      readonly pieces: readonly number[];
      readonly parents?: string[];
    },
  ) => Promise<void>;
  /** The seed has all it wants: pieces that the cell signed rightly, and bytes that left the origin. */
  readonly outcome: () => Promise<{ readonly signed: number; readonly bytes: number }>;
}

/** A cell that was restarted and knows nothing; the origin has the content of seed 1. */
async function restarted(swarm: TestSwarm): Promise<Comeback> {
  swarm.origin.set('/f', { content: { seed: 1, length }, validators: 'strong' });
  const from = swarm.origin.url('/f');
  const { headers } = await fetch(from, { method: 'HEAD' });
  const shape = shapeOf({
    etag: headers.get('etag') ?? '',
    lastModified: headers.get('last-modified') ?? '',
  });
  const { version } = shape;
  const task = taskIdOf({ url: from });
  const { meshPort, seeds, store } = swarm.supernode;
  return {
    swarm,
    shape,
    task,
    say: async (rogue, { seed, pieces, parents = [] }) => {
      const reachable = { addresses: [`127.0.0.1:${meshPort}`] };
      const talk = await rogue.control(`127.0.0.1:${meshPort}`, reachable);
      const digests = digestsOf(seed, pieces);
      const said = { kind: 'provisional', key: rogue.key, digests } as const;
      const held = new Bitfield(PIECES);
      for (const piece of pieces) held.set(piece);
      const holding = { version, pieces: Buffer.from(held.bytes).toString('base64') };
      talk.say({ ...announcement({ shape, from }, said), holding, parents });
      await talk.synced();
    },
    outcome: async () => {
      await until(() => {
        const state = seeds.find(task, version)?.state;
        return state !== undefined && state !== 'fetching';
      });
      const stored = store.find(task, version);
      const signed = [...digestsOf(1, all)].filter(
        ([piece, digest]) => stored?.isSigned(piece) === true && stored.digestOf(piece) === digest,
      );
      return { signed: signed.length, bytes: swarm.origin.stats('/f').bodyBytes };
    },
  };
}

test('what a host stated while there was no supernode is signed after one piece of it was compared', async (t) => {
  await using swarm = await TestSwarm.start();
  await using rogue = await Rogue.member(swarm.supernode);
  const { say, outcome } = await restarted(swarm);
  await say(rogue, { seed: 1, pieces: all });
  t.deepEqual(await outcome(), { signed: PIECES, bytes: pieceLength });
});

test('what a host stated wrong is not signed, and the content is fetched', async (t) => {
  await using swarm = await TestSwarm.start();
  await using rogue = await Rogue.member(swarm.supernode);
  const { say, outcome } = await restarted(swarm);
  await say(rogue, { seed: 2, pieces: all });
  t.deepEqual(await outcome(), { signed: PIECES, bytes: length + pieceLength });
});

test('pieces of a host that comes back a moment after another are not asked of the origin', async (t) => {
  await using swarm = await TestSwarm.start();
  await using early = await Rogue.member(swarm.supernode);
  await using late = await Rogue.member(swarm.supernode);
  const { say, outcome, task, shape } = await restarted(swarm);
  await say(early, { seed: 1, pieces: all.slice(0, 8), parents: [late.peerId] });
  // What the first stated is adopted: what is nowhere would be fetched next.
  await until(() => swarm.supernode.store.find(task, shape.version)?.isSigned(0) === true);
  await say(late, { seed: 1, pieces: all.slice(8) });
  t.deepEqual(await outcome(), { signed: PIECES, bytes: 2 * pieceLength });
});
