import { randomInt } from 'node:crypto';
import { CodedError } from '../../core/base/error.ts';
import { pieceRange } from '../../core/piece/piece-length.ts';
import type { StoredTask } from '../../core/store/piece-store.ts';
import { openerOf } from '../../core/swarm/origin-request.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import type { TaskSpec } from '../../core/wire/messages.ts';

const SAMPLES = 3;
const SAMPLE_BYTES = 64 * 1024;

interface Proof {
  readonly pool: TransferPool;
  readonly stored: StoredTask;
  readonly spec: TaskSpec;
}

/**
 * Content named by its digest is given to a requester from another URL only when that URL really serves it to
 * him: otherwise whoever runs a server that says yes to every digest would get everybody's content. Three random
 * ranges of what is held, fetched with his credentials, have to equal ours; where there are no ranges, the whole.
 * `unknown` while too little is held to tell; throws the refusal of the origin.
 */
export async function compareWithOrigin(
  proof: Proof,
  signal: AbortSignal,
): Promise<'same' | 'differs' | 'unknown'> {
  const { stored } = proof;
  if (stored.length === 0) return servesWhole(proof, signal);
  const held = [...stored.pieces.indexes()];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const piece = held[randomInt(Math.max(1, held.length))];
    if (piece === undefined) return 'unknown';
    const verdict = await servesSample(proof, sampleOf(stored, piece), signal);
    if (verdict === 'differs') return verdict;
    if (verdict === 'no ranges') return stored.isComplete ? servesWhole(proof, signal) : 'unknown';
  }
  return 'same';
}

async function servesSample(
  { pool, stored, spec }: Proof,
  { start, end }: { readonly start: number; readonly end: number },
  signal: AbortSignal,
): Promise<'same' | 'differs' | 'no ranges'> {
  try {
    await using origin = await pool.openOrigin(openerOf(spec).part(start, end), { signal });
    const { status, length } = origin.head;
    if (length !== undefined && stored.length !== undefined && length !== stored.length) {
      return 'differs';
    }
    if (status !== 206) return 'no ranges';
    const theirs = await origin.read(end - start, { signal });
    return (await readRange(stored, start, end)).equals(theirs) ? 'same' : 'differs';
  } catch (error) {
    // Their content ends before.
    if (CodedError.from(error).code === 'ERR_ORIGIN_RANGE') return 'differs';
    throw error;
  }
}

async function servesWhole(
  { pool, stored, spec }: Proof,
  signal: AbortSignal,
): Promise<'same' | 'differs'> {
  await using origin = await pool.openOrigin(openerOf(spec).whole(), { signal });
  const { length } = origin.head;
  if (length !== undefined && length !== stored.length) return 'differs';
  const ours = stored.wholeDigest ?? (await pool.digest(stored.path, 'sha256', { signal }));
  return (await origin.digest({ signal })) === ours ? 'same' : 'differs';
}

function sampleOf(stored: StoredTask, piece: number): { start: number; end: number } {
  const { pieceLength, length = Number.MAX_SAFE_INTEGER } = stored;
  const { start, end } = pieceRange(piece, { length, pieceLength });
  const offset = randomInt(Math.max(1, end - start - SAMPLE_BYTES + 1));
  return { start: start + offset, end: Math.min(start + offset + SAMPLE_BYTES, end) };
}

async function readRange(stored: StoredTask, start: number, end: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stored.read({ start, end })) chunks.push(new Uint8Array(chunk));
  return Buffer.concat(chunks);
}
