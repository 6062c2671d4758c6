import { CodedError } from '../base/error.ts';
import type { StoredTask } from '../store/piece-store.ts';
import { addFinalPart } from './final-manifest.ts';
import { openManifest } from './manifest.ts';
import type { ManifestBatch } from './manifest.ts';

/** Who may state digests of a task, besides supernodes of the cell. */
export interface ManifestJudge {
  /** Throws when `signer` is not a certified supernode. */
  readonly verifySupernode: (signer: string) => void;
  /** True when digests stated by that host alone may be used for now. */
  readonly acceptsProvisional: (signer: string) => boolean;
}

/** What a batch changed. */
export interface ManifestChange {
  /** Pieces that were had under another digest and must be fetched again. */
  readonly dropped: readonly number[];
  /** Pieces whose digest it states. */
  readonly pieces: readonly number[];
  /** False: everything in it was known. */
  readonly isNews: boolean;
}

const UNCHANGED: ManifestChange = { dropped: [], pieces: [], isNews: false };

/**
 * Adds a batch that came from a supernode, a peer or this host to the stored manifest, when its signer
 * may state it and it speaks of this version. Throws ERR_MANIFEST or ERR_SIGNATURE; unwanted provisional
 * batches are passed over in silence.
 */
export async function addManifestBatch(
  task: StoredTask,
  text: string,
  judge: ManifestJudge,
): Promise<ManifestChange> {
  const kind = text.startsWith('v1.provisional.') ? 'provisional' : 'manifest';
  const batch = openManifest(text, kind);
  checkSubject(task, batch);
  if (kind === 'provisional') {
    if (!judge.acceptsProvisional(batch.signer)) return UNCHANGED;
    if (batch.entries.every(({ index }) => task.digestOf(index) !== undefined)) return UNCHANGED;
    const dropped = await task.addProvisional(text, batch.signer, batch.entries);
    return { dropped, pieces: piecesOf(batch), isNews: true };
  }
  judge.verifySupernode(batch.signer);
  try {
    return await addSigned(task, text, batch);
  } catch (error) {
    const coded = CodedError.from(error);
    if (coded.code !== 'ERR_MANIFEST') throw coded;
    const message = 'the cell has signed something else of this version before: it changed';
    throw new CodedError('ERR_ORIGIN_CHANGED', message, { cause: error, detail: coded.detail });
  }
}

async function addSigned(
  task: StoredTask,
  text: string,
  batch: ManifestBatch,
): Promise<ManifestChange> {
  const { length, digest } = batch.body;
  if (length !== undefined) {
    // A seed that has not all of it signs without the digest of the whole, and once more when it has.
    const isDigestKnown = digest === undefined || digest === task.wholeDigest;
    if (task.isManifestFinal && isDigestKnown && isKnown(task, batch)) return UNCHANGED;
    // Throws when another length is known.
    await task.setLength(length);
    const final = addFinalPart(task, text, batch);
    if (final !== undefined) {
      const { texts, entries } = final;
      const dropped = await task.replaceManifest(texts, entries, { wholeDigest: digest });
      return { dropped, pieces: piecesOf(final), isNews: true };
    }
  }
  if (isKnown(task, batch)) return UNCHANGED;
  const dropped = await task.addManifest(text, batch.entries);
  return { dropped, pieces: piecesOf(batch), isNews: true };
}

/** True when the cell has signed the same before. */
function isKnown(task: StoredTask, { entries }: ManifestBatch): boolean {
  return entries.every(({ index, digest }) => {
    return task.isSigned(index) && task.digestOf(index) === digest;
  });
}

function piecesOf(batch: Pick<ManifestBatch, 'entries'>): number[] {
  return batch.entries.map(({ index }) => index);
}

function checkSubject(task: StoredTask, { body }: ManifestBatch): void {
  const isOther =
    body.task !== task.taskId ||
    body.version !== task.version ||
    body.pieceLength !== task.pieceLength;
  if (isOther) throw new CodedError('ERR_MANIFEST', 'the batch speaks of other content');
}
