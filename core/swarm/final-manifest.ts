import { CodedError } from '../base/error.ts';
import type { HostKey } from '../identity/host-key.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { ManifestBody } from '../wire/messages.ts';
import { MAX_BATCH_PIECES, sealManifest } from './manifest.ts';
import type { ManifestBatch } from './manifest.ts';

/** A final manifest as it is stored: the batches, and what they state together. */
export interface FinalManifest {
  readonly texts: readonly string[];
  readonly entries: ManifestBatch['entries'];
}

/** What a final manifest says besides digests. */
type FinalFacts = Pick<ManifestBody, 'task' | 'version' | 'pieceLength' | 'digest'> & {
  readonly length: number;
};

/**
 * Signs what is known at the end of a version: the digests of all pieces, its length and, where it is known, the digest
 * of the whole. One batch, or for more pieces than a batch names as many parts as it takes, each with all of the facts.
 */
export function sealFinal(
  facts: FinalFacts,
  digests: readonly string[],
  key: HostKey,
): FinalManifest {
  const texts: string[] = [];
  for (let start = 0; start === 0 || start < digests.length; start += MAX_BATCH_PIECES) {
    const part = digests.slice(start, start + MAX_BATCH_PIECES);
    texts.push(sealManifest('manifest', { ...facts, start, digests: part }, key));
  }
  return { texts, entries: digests.map((digest, index) => ({ index, digest })) };
}

interface Part {
  readonly text: string;
  readonly entries: ManifestBatch['entries'];
}

/** Parts that wait for the others, by their first piece; they go with the task. */
const partsOf = new WeakMap<StoredTask, Map<number, Part>>();

/**
 * Adds a batch that states the length, which the task must know by now. Answers with the final manifest once it is
 * here as a whole; ERR_MANIFEST when the batch is neither all of it nor one of its parts.
 */
export function addFinalPart(
  task: StoredTask,
  text: string,
  batch: ManifestBatch,
): FinalManifest | undefined {
  const pieces = task.pieceCount ?? 0;
  const { entries } = batch;
  const { start } = batch.body;
  if (start === 0 && entries.length === pieces) return { texts: [text], entries };
  const partLength = Math.min(MAX_BATCH_PIECES, pieces - start);
  if (start % MAX_BATCH_PIECES !== 0 || entries.length !== partLength) {
    throw new CodedError('ERR_MANIFEST', 'the final batch does not cover every piece', {
      detail: { start, entries: entries.length, pieces },
    });
  }
  const parts = partsOf.get(task) ?? new Map<number, Part>();
  partsOf.set(task, parts.set(start, { text, entries }));
  if (parts.size * MAX_BATCH_PIECES < pieces) return undefined;
  partsOf.delete(task);
  const inOrder = [...parts].toSorted(([a], [b]) => a - b).map(([, part]) => part);
  return {
    texts: inOrder.map((part) => part.text),
    entries: inOrder.flatMap((part) => part.entries),
  };
}
