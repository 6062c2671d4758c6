import { rm } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { CodedError } from '../base/error.ts';
import { silentLog } from '../base/log.ts';
import { ManualClock } from '../base/clock.ts';
import { HostKey } from '../identity/host-key.ts';
import { openStore, sha256, specOf, temporaryFolder } from '../store/fixtures/content.ts';
import type { StoredTask } from '../store/piece-store.ts';
import { Ledger } from './ledger.ts';
import { ManifestIntake } from './manifest-intake.ts';
import { sealManifest } from './manifest.ts';
import type { ManifestKind } from './manifest.ts';
import { addManifestBatch } from './task-manifest.ts';
import type { ManifestChange, ManifestJudge } from './task-manifest.ts';

const cell = HostKey.generate();
const friend = HostKey.generate();
const stranger = HostKey.generate();
const PIECES = 4;
const PIECE_LENGTH = 1024;

const judge: ManifestJudge = {
  verifySupernode: (signer) => {
    if (signer !== cell.peerId) throw new CodedError('ERR_SIGNATURE', 'no supernode');
  },
  acceptsProvisional: (signer) => signer === friend.peerId,
};

/** An empty task of four pieces, in use; without `length` it is not known how many there are. */
async function begin(t: ExecutionContext, length?: number): Promise<StoredTask> {
  const folder = await temporaryFolder();
  const store = await openStore(folder);
  const task = await store.create(specOf('content', length, { pieceLength: PIECE_LENGTH }));
  const use = task.acquire();
  t.teardown(async () => {
    use[Symbol.dispose]();
    await store.close();
    await rm(folder, { recursive: true });
  });
  return task;
}

function digest(piece: number, seed = ''): string {
  return sha256(Buffer.from(`${seed}${piece}`));
}

function digests(seed = ''): string[] {
  return Array.from({ length: PIECES }, (_unused, piece) => digest(piece, seed));
}

function batchOf(
  task: StoredTask,
  rest: {
    kind?: ManifestKind;
    key?: HostKey;
    start?: number;
    digests?: string[];
    length?: number;
    version?: string;
    digest?: string;
  } = {},
): string {
  const { kind = 'manifest', key = cell, ...body } = rest;
  const { taskId, version, pieceLength } = task;
  const batch = { task: taskId, version, pieceLength, start: 0, digests: digests(), ...body };
  return sealManifest(kind, batch, key);
}

test('addManifestBatch() takes what a supernode signed, once', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  const text = batchOf(task, { start: 1, digests: [digest(1), digest(2)] });
  const change = await addManifestBatch(task, text, judge);
  t.deepEqual(change, { dropped: [], pieces: [1, 2], isNews: true });
  t.deepEqual([...task.missingWithDigest()], [1, 2]);
  t.true(task.isSigned(1));
  t.false((await addManifestBatch(task, text, judge)).isNews);
});

test('addManifestBatch() refuses what somebody else signed, and what speaks of other content', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  const add = async (text: string): Promise<ManifestChange> => addManifestBatch(task, text, judge);
  await t.throwsAsync(add(batchOf(task, { key: friend })), { code: 'ERR_SIGNATURE' });
  await t.throwsAsync(add(batchOf(task, { version: '0'.repeat(16) })), { code: 'ERR_MANIFEST' });
  t.is(task.digestOf(0), undefined);
});

test('addManifestBatch() passes over what a stranger states', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  const text = batchOf(task, { kind: 'provisional', key: stranger });
  t.false((await addManifestBatch(task, text, judge)).isNews);
  t.is(task.digestOf(0), undefined);
});

test('addManifestBatch() takes what a friend states where nothing is known, until the cell says otherwise', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  await addManifestBatch(task, batchOf(task, { digests: [digest(0)] }), judge);
  const stated = batchOf(task, { kind: 'provisional', key: friend, digests: digests('wrong') });
  t.true((await addManifestBatch(task, stated, judge)).isNews);
  t.is(task.digestOf(0), digest(0));
  t.is(task.digestOf(1), digest(1, 'wrong'));
  await task.markHad(1);
  const signed = batchOf(task, { start: 1, digests: [digest(1)] });
  t.deepEqual((await addManifestBatch(task, signed, judge)).dropped, [1]);
  t.false(task.pieces.has(1));
  t.is(task.digestOf(1), digest(1));
});

test('addManifestBatch() ends a version that the cell restates', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  await addManifestBatch(task, batchOf(task), judge);
  const other = batchOf(task, { digests: digests('other') });
  await t.throwsAsync(addManifestBatch(task, other, judge), { code: 'ERR_ORIGIN_CHANGED' });
});

test('addManifestBatch() learns length and digest from the final batch', async (t) => {
  const task = await begin(t);
  const length = (PIECES - 1) * PIECE_LENGTH + 1;
  const whole = `sha256:${digest(9)}`;
  t.true((await addManifestBatch(task, batchOf(task, { length, digest: whole }), judge)).isNews);
  t.is(task.length, length);
  t.is(task.wholeDigest, whole);
  t.true(task.isManifestFinal);
  t.false((await addManifestBatch(task, batchOf(task, { length }), judge)).isNews);
});

test('addManifestBatch() takes the digest of the whole from a later final batch, too', async (t) => {
  const task = await begin(t);
  const length = PIECES * PIECE_LENGTH;
  await addManifestBatch(task, batchOf(task, { length }), judge);
  t.is(task.wholeDigest, undefined);
  const whole = `sha256:${digest(9)}`;
  t.true((await addManifestBatch(task, batchOf(task, { length, digest: whole }), judge)).isNews);
  t.is(task.wholeDigest, whole);
});

test('addManifestBatch() of empty content makes it complete', async (t) => {
  const task = await begin(t);
  const change = await addManifestBatch(task, batchOf(task, { digests: [], length: 0 }), judge);
  t.true(change.isNews);
  t.true(task.isComplete);
});

test('addManifestBatch() refuses a final batch of another length or with pieces left out', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  const longer = batchOf(task, { length: PIECES * PIECE_LENGTH - 1 });
  await t.throwsAsync(addManifestBatch(task, longer, judge), { code: 'ERR_ORIGIN_CHANGED' });
  const short = batchOf(task, { length: PIECES * PIECE_LENGTH, digests: [digest(0)] });
  await t.throwsAsync(addManifestBatch(task, short, judge), { code: 'ERR_ORIGIN_CHANGED' });
  t.false(task.isManifestFinal);
});

test('ManifestIntake takes batches in their order, and tells what is new', async (t) => {
  const task = await begin(t);
  const grown: { fresh: readonly string[]; isFirstLength: boolean }[] = [];
  const broken: CodedError[] = [];
  const changed: number[] = [];
  const ledger = new Ledger(new ManualClock());
  const intake = new ManifestIntake({
    stored: task,
    judge,
    ledger,
    log: silentLog,
    onChange: ({ pieces }) => changed.push(...pieces),
    onGrown: (fresh, { isFirstLength }) => grown.push({ fresh, isFirstLength }),
    makeRoom: async () => false,
    onBroken: (error) => broken.push(error),
  });
  const first = batchOf(task, { digests: [digest(0)] });
  const bad = batchOf(task, { key: stranger });
  const final = batchOf(task, { length: PIECES * PIECE_LENGTH });
  intake.add([first, bad, first], 'one');
  intake.add([first], 'other');
  intake.add([final], 'supernode');
  await intake.idle();
  t.deepEqual(grown, [
    { fresh: [first], isFirstLength: false },
    { fresh: [final], isFirstLength: true },
  ]);
  t.deepEqual(changed, [0, 0, 1, 2, 3]);
  t.deepEqual(broken, []);
  t.is(ledger.explain().notes.length, 1);
  intake.add([batchOf(task, { digests: digests('other') })], 'supernode');
  await intake.idle();
  t.deepEqual(
    broken.map(({ code }) => code),
    ['ERR_ORIGIN_CHANGED'],
  );
});

test('ManifestIntake drops what comes faster than it can take it in, and goes on', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  const ledger = new Ledger(new ManualClock());
  const intake = new ManifestIntake({
    stored: task,
    judge,
    ledger,
    log: silentLog,
    onChange: () => undefined,
    onGrown: () => undefined,
    makeRoom: async () => false,
    onBroken: (error) => t.fail(error.message),
  });
  const flood = 'x'.repeat(1024 * 1024);
  for (let count = 0; count < 70; count += 1) intake.add([flood], 'host');
  t.regex(ledger.explain().notes.join(' '), /from host refused: too many batches are waiting/);
  intake.add([batchOf(task)], 'supernode');
  await intake.idle();
  t.true(task.isSigned(0));
});

test('ManifestIntake tells of a store that takes nothing any more, and goes on', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  const broken: CodedError[] = [];
  const intake = new ManifestIntake({
    stored: task,
    judge,
    ledger: new Ledger(new ManualClock()),
    log: silentLog,
    onChange: () => undefined,
    onGrown: () => {
      throw new CodedError('ERR_STORE_IO', 'the journal is gone');
    },
    makeRoom: async () => false,
    onBroken: (error) => broken.push(error),
  });
  intake.add([batchOf(task, { digests: [digest(0)] })], 'one');
  intake.add([batchOf(task)], 'one');
  await intake.idle();
  t.deepEqual(
    broken.map(({ code }) => code),
    ['ERR_STORE_IO', 'ERR_STORE_IO'],
  );
});

test('ManifestIntake does not pass over a batch that the store does not take', async (t) => {
  const task = await begin(t, PIECES * PIECE_LENGTH);
  const broken: CodedError[] = [];
  const intake = new ManifestIntake({
    stored: task,
    judge,
    ledger: new Ledger(new ManualClock()),
    log: silentLog,
    onChange: () => undefined,
    onGrown: () => undefined,
    makeRoom: async () => false,
    onBroken: (error) => broken.push(error),
  });
  task.retire();
  intake.add([batchOf(task)], 'supernode');
  await intake.idle();
  t.deepEqual(
    broken.map(({ code }) => code),
    ['ERR_NOT_FOUND'],
  );
});
