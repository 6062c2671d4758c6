import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { seededBytes } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import { ManualClock, SystemClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { silentLog } from '../base/log.ts';
import { SeededRandom } from '../base/random.ts';
import { hexId, openStore, temporaryFolder } from '../store/fixtures/content.ts';
import type { StoredTask } from '../store/piece-store.ts';
import { compareSamples, isProvable, servesDigest } from './prove-scope.ts';
import type { Proof } from './prove-scope.ts';
import { TransferPool } from './transfer-pool.ts';

const MIB = 1024 * 1024;
const PIECE_LENGTH = MIB / 4;
const never = new AbortController().signal;
const content = { seed: 1, length: 4 * MIB + 1 };
const bytes = seededBytes(content.seed, 0, content.length);
const other = { content: { ...content, seed: 2 } };
const cut = { content: { ...content, length: content.length - 1 } };

function digestOf(algorithm: string): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

interface Setup {
  readonly origin: FaultOrigin;
  readonly stored: StoredTask;
  /** A proof of what the origin has at `/f`. */
  readonly proof: (rest?: Partial<Proof> & { readonly algorithm?: string }) => Proof;
  /** Takes pieces from the origin, as a seed does. */
  readonly hold: (pieces: number) => Promise<void>;
}

async function setup(t: ExecutionContext): Promise<Setup> {
  const clock = new SystemClock();
  const folder = await temporaryFolder();
  const store = await openStore(folder, { clock });
  const origin = await startOrigin({ routes: { '/kept': { content }, '/f': { content } } });
  const pool = await TransferPool.start({
    clock,
    random: new SeededRandom(1),
    log: silentLog,
    workers: 1,
    onAltered: () => undefined,
    origin: { allow: ['127.0.0.0/8'], connectionsPerHost: 8 },
  });
  const name = { taskId: hexId('task', 64), version: hexId('version', 16) };
  const stored = await store.create({ ...name, pieceLength: PIECE_LENGTH, length: content.length });
  const use = stored.acquire();
  await pool.putTask(stored);
  t.teardown(async () => {
    use[Symbol.dispose]();
    await pool[Symbol.asyncDispose]();
    await store.close();
    await origin.close();
    await rm(folder, { recursive: true });
  });
  return {
    origin,
    stored,
    proof: ({ algorithm = 'sha256', ...rest } = {}) => ({
      pool,
      clock,
      stored,
      spec: { url: origin.url('/f'), digest: digestOf(algorithm) },
      ...rest,
    }),
    hold: async (pieces) => {
      const range = { start: 0, end: Math.min(pieces * PIECE_LENGTH, content.length) };
      const url = origin.url('/kept');
      await using body = await pool.openOrigin({ url, headers: {}, range }, { signal: never });
      const digests: { index: number; digest: string }[] = [];
      await body.pump(stored, {
        start: 0,
        end: pieces,
        whole: false,
        signal: never,
        onPiece: (index, digest) => void digests.push({ index, digest }),
      });
      await stored.addManifest('batch', digests);
      for (const { index } of digests) await stored.markHad(index);
      if (stored.isComplete) await stored.complete();
    },
  };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    return CodedError.from(error).code;
  }
}

test('isProvable() takes two MiB, or the whole', async (t) => {
  const { stored, hold } = await setup(t);
  t.false(isProvable(stored));
  await hold(7);
  t.false(isProvable(stored));
  await hold(8);
  t.true(isProvable(stored));
});

test('compareSamples() tells content that is the same from content that is not, of a part or the whole', async (t) => {
  const { origin, proof, hold } = await setup(t);
  t.is(await compareSamples(proof(), { signal: never }), 'unknown', 'nothing is held');
  for (const pieces of [8, 17]) {
    await hold(pieces);
    origin.set('/f', { content });
    t.is(await compareSamples(proof(), { signal: never }), 'same');
    origin.set('/f', other);
    t.is(await compareSamples(proof(), { signal: never }), 'differs', 'other bytes');
    origin.set('/f', cut);
    t.is(await compareSamples(proof(), { signal: never }), 'differs', 'another length');
    origin.set('/f', {});
    t.is(await compareSamples(proof(), { signal: never }), 'differs', 'nothing');
    origin.set('/f', { content, ranges: false });
    t.is(await compareSamples(proof(), { signal: never }), 'unknown', 'no ranges');
    origin.set('/f', { content, authorization: 'Bearer a' });
    t.is(await codeOf(compareSamples(proof(), { signal: never })), 'ERR_ORIGIN_REFUSED');
  }
});

test('compareSamples() asks for three samples of 64 KiB, none of them a short last piece', async (t) => {
  const { origin, proof, hold } = await setup(t);
  await hold(17);
  for (let round = 0; round < 30; round += 1) await compareSamples(proof(), { signal: never });
  t.is(origin.stats('/f').rangeRequests, 90);
  t.is(origin.stats('/f').bodyBytes, 90 * 64 * 1024);
});

test('servesDigest() is what the whole says, whatever the algorithm and however much is held', async (t) => {
  const { origin, proof, hold } = await setup(t);
  for (const pieces of [0, 17]) {
    if (pieces > 0) await hold(pieces);
    for (const algorithm of ['md5', 'sha1', 'sha256', 'sha512']) {
      const named = proof({ algorithm });
      for (const ranges of [true, false]) {
        origin.set('/f', { content, ranges });
        t.true(await servesDigest(named, { signal: never }), algorithm);
        origin.set('/f', { ...other, ranges });
        t.false(await servesDigest(named, { signal: never }), algorithm);
      }
      origin.set('/f', cut);
      t.false(await servesDigest(named, { signal: never }), algorithm);
    }
    origin.set('/f', { content, framing: 'chunked' });
    t.true(await servesDigest(proof(), { signal: never }), 'of unknown length');
    origin.set('/f', { content, authorization: 'Bearer a' });
    t.is(await codeOf(servesDigest(proof(), { signal: never })), 'ERR_ORIGIN_REFUSED');
  }
});

test('servesDigest() is false for an origin that sends another length, before it is read', async (t) => {
  const { origin, proof, hold } = await setup(t);
  await hold(17);
  origin.set('/f', { ...cut, stall: { afterBytes: 0 } });
  t.false(await servesDigest(proof(), { signal: never }));
});

for (const work of [compareSamples, servesDigest]) {
  test(`${work.name}() of an origin that does not get on ends with ERR_ORIGIN_STALLED, or with its asker`, async (t) => {
    const { origin, proof, hold } = await setup(t);
    await hold(17);
    const clock = new ManualClock();
    origin.set('/f', { content, stall: { afterBytes: 10 } });
    const running = codeOf(work(proof({ clock }), { signal: never }));
    // The deadline may begin only with the answer: time passes until it is over.
    const passing = new SystemClock().every(1, () => clock.advance(60_000));
    t.is(await running, 'ERR_ORIGIN_STALLED');
    passing.cancel();
    const controller = new AbortController();
    const leaving = codeOf(work(proof(), { signal: controller.signal }));
    controller.abort(new CodedError('ERR_INTERRUPTED', 'gone'));
    t.is(await leaving, 'ERR_INTERRUPTED');
  });
}
