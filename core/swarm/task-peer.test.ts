import { open } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { silentLog } from '../base/log.ts';
import { SeededRandom } from '../base/random.ts';
import { HostKey } from '../identity/host-key.ts';
import { RateLimiter } from '../net/pacing.ts';
import {
  contentOf,
  openStore,
  removeFolder,
  sha256,
  specOf,
  temporaryFolder,
} from '../store/fixtures/content.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { Parent } from '../wire/messages.ts';
import { sealManifest } from './manifest.ts';
import { Reporter } from './reporter.ts';
import type { RemoteOrigin } from './origin-bodies.ts';
import type { SwarmContext } from './swarm-context.ts';
import { RequestTurns } from './request-turns.ts';
import { TaskPeer } from './task-peer.ts';
import type { ChannelListener, RemoteChannel, TransferPool } from './transfer-pool.ts';

const PIECES = 4;
const PIECE_LENGTH = 1024;
const content = contentOf('content', PIECES * PIECE_LENGTH);
const cell = HostKey.generate();
const whole = `sha256:${sha256(content)}`;

function pieceOf(piece: number): Buffer {
  return content.subarray(piece * PIECE_LENGTH, (piece + 1) * PIECE_LENGTH);
}

/** Writes a piece as a worker does. */
async function writePiece(task: StoredTask, piece: number): Promise<void> {
  await using file = await open(task.path, 'r+');
  await file.write(pieceOf(piece), 0, undefined, piece * PIECE_LENGTH);
}

/** The transfer pool as far as a task uses it: one parent that has what it is given, and an origin that has all. */
class Transfers {
  readonly has: number[] = [];
  /** Resolves when a piece may come; what it returns is thrown. */
  gate: (piece: number) => Promise<CodedError | undefined> = async () => undefined;
  asked: number[] = [];
  originReads = 0;
  listener: ChannelListener | undefined;

  async openChannel(
    to: { readonly peer: string; readonly task: StoredTask },
    { listener }: { readonly listener: ChannelListener },
  ): Promise<Partial<RemoteChannel>> {
    this.listener = listener;
    return {
      peer: to.peer,
      address: 'there:1',
      pieces: this.has,
      closed: new Promise<CodedError>(() => undefined),
      fetch: async ({ index, length }, { signal }) => {
        this.asked.push(index);
        const error = await this.gate(index);
        signal.throwIfAborted();
        if (error !== undefined) throw error;
        await writePiece(to.task, index);
        return { bytes: length, wireBytes: length, ms: 1 };
      },
      receivedBytes: async () => ({ bytes: 0, allBytes: 0, parents: 1, isHeldBack: false }),
      askManifest: async () => undefined,
      renew: async () => undefined,
      close: async () => undefined,
    };
  }

  async openOrigin(): Promise<Partial<RemoteOrigin>> {
    this.originReads += 1;
    return {
      pump: async (task, { start, end = PIECES, onPiece }) => {
        let bytes = 0;
        for (let piece = start; piece < end; piece += 1) {
          await writePiece(task, piece);
          const part = pieceOf(piece);
          bytes += part.length;
          onPiece(piece, sha256(part), part.length);
        }
        return { bytes };
      },
      [Symbol.asyncDispose]: async () => undefined,
    };
  }

  async putTask(): Promise<void> {}
  announce(): void {}
  retract(): void {}
  keepManifest(): void {}
  offerManifest(): void {}
}

interface Begun {
  readonly clock: ManualClock;
  readonly pool: Transfers;
  readonly peer: TaskPeer;
  readonly questions: string[];
  /** Lets time pass, in steps in which what is due happens. */
  readonly pass: (ms: number) => Promise<void>;
  /** The digests of all pieces; `digest` makes it the last batch. */
  readonly batch: (rest?: { length: number; digest: string }) => string;
}

async function begin(
  t: ExecutionContext,
  options: { readonly isGranted?: boolean } = {},
): Promise<Begun> {
  const folder = await temporaryFolder();
  const clock = new ManualClock();
  const store = await openStore(folder, { clock });
  const stored = await store.create(
    specOf('content', content.length, { pieceLength: PIECE_LENGTH }),
  );
  const use = stored.acquire();
  t.teardown(async () => {
    use[Symbol.dispose]();
    await store.close();
    await removeFolder(folder);
  });
  const pool = new Transfers();
  const questions: string[] = [];
  const context: SwarmContext = {
    pool: pool as unknown as TransferPool,
    store,
    clock,
    random: new SeededRandom(1),
    log: silentLog,
    key: HostKey.generate(),
    reporter: new Reporter(clock, () => undefined),
    downloadLimiter: new RateLimiter(0, clock),
    turns: new RequestTurns(clock, new RateLimiter(0, clock)),
    verifySupernode: (signer) => {
      if (signer !== cell.peerId) throw new CodedError('ERR_SIGNATURE', 'no supernode');
    },
    idc: () => undefined,
    isSupervised: () => true,
    askParents: () => undefined,
    askSource: async (_task, reason) => {
      questions.push(reason);
      return options.isGranted === true;
    },
  };
  const { taskId: task, version, pieceLength } = stored;
  const shape = {
    version,
    pieceLength,
    length: content.length,
    validators: { etag: '"1"' },
    acceptsRanges: true,
  };
  const spec = { url: 'http://origin/content' };
  const peer = new TaskPeer(context, {
    stored,
    shape,
    spec,
    originPolicy: 'when-orphaned',
    priority: 'normal',
  });
  const digests = [0, 1, 2, 3].map((piece) => sha256(pieceOf(piece)));
  return {
    clock,
    pool,
    peer,
    questions,
    pass: async (ms) => {
      for (let passed = 0; passed < ms; passed += 50) {
        clock.advance(50);
        // The store writes meanwhile, on real time.
        for (let turn = 0; turn < 5; turn += 1) await new Promise((go) => setImmediate(go));
      }
    },
    batch: (rest) =>
      sealManifest('manifest', { task, version, pieceLength, start: 0, digests, ...rest }, cell),
  };
}

const parent: Parent = { peer: 'a', role: 'peer', addresses: ['a:1'] };
const last = { length: content.length, digest: whole };

/** Lets time pass until the work ends. */
async function ending(work: Promise<void>, { pass }: Begun): Promise<void> {
  let isOver = false;
  const over = work.finally(() => (isOver = true));
  over.catch(() => undefined);
  while (!isOver) await pass(50);
  await over;
}

test('TaskPeer waits for the last batch of the manifest, and so for the digest of the whole', async (t) => {
  const begun = await begin(t);
  const { peer, pool, pass, batch } = begun;
  pool.has.push(0, 1, 2, 3);
  peer.addParents([parent]);
  peer.addManifest([batch()], 'supernode');
  const running = peer.run();
  while (!peer.isComplete) await pass(50);
  await pass(500);
  t.false(peer.isEnding, 'everything is here, and it still waits');
  peer.addManifest([batch(last)], 'supernode');
  await ending(running, begun);
  t.is(peer.stored.wholeDigest, whole);
});

test('TaskPeer does not wait for ever for the last batch', async (t) => {
  const begun = await begin(t);
  const { peer, pool, batch } = begun;
  pool.has.push(0, 1, 2, 3);
  peer.addParents([parent]);
  peer.addManifest([batch()], 'supernode');
  await ending(peer.run(), begun);
  t.true(peer.stored.isComplete);
  t.is(peer.stored.wholeDigest, undefined);
});

test('TaskPeer asks the supernode for a turn at the origin when nobody gives what is missing', async (t) => {
  const begun = await begin(t, { isGranted: true });
  const { peer, pool, clock, questions, batch } = begun;
  pool.has.push(0, 1, 2);
  peer.addParents([parent]);
  peer.addManifest([batch(last)], 'supernode');
  await ending(peer.run(), begun);
  t.is(questions.length, 1);
  t.regex(questions[0] ?? '', /none of them has a piece/);
  t.true(clock.monotonic() >= 15_000, `${clock.monotonic()}`);
  t.deepEqual(peer.ledger.since({ fromPeers: 0, fromSeed: 0, fromOrigin: 0 }), {
    fromPeers: 3 * PIECE_LENGTH,
    fromSeed: 0,
    fromOrigin: PIECE_LENGTH,
  });
  t.is(peer.ledger.duplicate, 0);
});

test('TaskPeer takes no for an answer, and asks again later each time', async (t) => {
  const begun = await begin(t);
  const { peer, pool, clock, questions, pass, batch } = begun;
  peer.addParents([parent]);
  peer.addManifest([batch(last)], 'supernode');
  const running = peer.run();
  const askedMs: number[] = [];
  while (askedMs.length < 4) {
    await pass(250);
    if (questions.length > askedMs.length) askedMs.push(clock.monotonic());
  }
  const waits = askedMs.slice(1).map((ms, index) => ms - (askedMs[index] ?? 0));
  t.true(
    waits.every((ms, index) => ms >= 7_500 * 2 ** index),
    waits.join(' '),
  );
  t.is(pool.originReads, 0);
  peer.fail(new CodedError('ERR_INTERRUPTED', 'enough'));
  await t.throwsAsync(ending(running, begun), { code: 'ERR_INTERRUPTED' });
});

test('TaskPeer leaves the origin alone while the seed has nothing new', async (t) => {
  const begun = await begin(t);
  const { peer, questions, pass } = begun;
  peer.addParents([{ ...parent, role: 'seed' }]);
  const running = peer.run();
  await pass(60_000);
  t.deepEqual(questions, []);
  peer.fail(new CodedError('ERR_INTERRUPTED', 'enough'));
  await t.throwsAsync(ending(running, begun), { code: 'ERR_INTERRUPTED' });
});

test('TaskPeer counts what both a parent and the origin brought as duplicate, once to its source', async (t) => {
  const begun = await begin(t);
  const { peer, pool, pass, batch } = begun;
  const gate = Promise.withResolvers<undefined>();
  pool.gate = async (piece) => (piece === 3 ? gate.promise : undefined);
  pool.has.push(3);
  peer.addParents([parent]);
  peer.addManifest([batch(last)], 'supernode');
  const running = peer.run();
  while (pool.asked.length === 0) await pass(50);
  // Everything else comes from the origin; when the parent's piece is late, that one too.
  await writePiece(peer.stored, 3);
  await peer.stored.markHad(3);
  peer.ledger.source('origin', 'origin');
  peer.ledger.delivered('origin', 3, PIECE_LENGTH);
  gate.resolve(undefined);
  peer.goAlone();
  await ending(running, begun);
  t.is(peer.ledger.duplicate, PIECE_LENGTH);
  t.is(peer.ledger.bytesFrom('peer') + peer.ledger.bytesFrom('origin'), content.length);
});

test('TaskPeer counts a wrong piece as bytes that come twice', async (t) => {
  const begun = await begin(t);
  const { peer, pool, batch } = begun;
  let isWrong = true;
  pool.gate = async (piece) => {
    if (piece !== 0 || !isWrong) return undefined;
    isWrong = false;
    return new CodedError('ERR_PIECE_DIGEST', 'wrong');
  };
  pool.has.push(0, 1, 2, 3);
  peer.addParents([{ ...parent, role: 'seed' }]);
  peer.addManifest([batch(last)], 'supernode');
  await ending(peer.run(), begun);
  t.is(peer.ledger.duplicate, PIECE_LENGTH);
  t.like(peer.ledger.explain().sources[0], { wrongPieces: 1, bytes: content.length });
});

test('TaskPeer does not hold it against a parent that an own worker ended', async (t) => {
  const begun = await begin(t);
  const { peer, pool, batch } = begun;
  let ends = 1;
  pool.gate = async () => {
    ends -= 1;
    return ends === 0 ? new CodedError('ERR_WORKER', 'ended') : undefined;
  };
  pool.has.push(0, 1, 2, 3);
  peer.addParents([parent]);
  peer.addManifest([batch(last)], 'supernode');
  await ending(peer.run(), begun);
  t.like(peer.ledger.explain().sources[0], { failures: 0, wrongPieces: 0, bytes: content.length });
});
