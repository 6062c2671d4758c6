import { randomInt } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Standing } from '../base/standing.ts';
import { pieceRange } from '../piece/piece-length.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { TaskSpec } from '../wire/messages.ts';
import { openerOf } from './origin-request.ts';
import { wholeDigest } from './task-shape.ts';
import type { TransferPool } from './transfer-pool.ts';

/**
 * Content named by its digest is given to a requester from another URL only when that URL really serves it to
 * him: otherwise whoever runs a server that says yes to every digest would get everybody's content. Either three
 * random ranges of what is held, fetched with his credentials, equal ours; or all that he is served has the digest.
 * Each question has a deadline of its own, so that a slow origin costs only those who name it.
 */
export interface Proof {
  readonly pool: TransferPool;
  readonly clock: Clock;
  readonly stored: StoredTask;
  readonly spec: TaskSpec;
  /** How important it is that the origin is asked. */
  readonly standing?: Standing | undefined;
}

const SAMPLES = 3;
const SAMPLE_BYTES = 64 * 1024;
/** What has to be held before samples of it say something: eight pieces of the smallest. */
const MIN_HELD_BYTES = 2 * 1024 * 1024;
const PROOF_MS = 60_000;
/** The slowest that an origin may send what is read to its end, and what is assumed of unknown length. */
const SLOWEST_BYTES_PER_MS = 1024;
const UNKNOWN_BYTES = 1024 * 1024 * 1024;

/** What an asker is told whose origin serves something else. */
export function notServed(): CodedError {
  const message = 'this URL does not serve the content with that digest';
  return new CodedError('ERR_DIGEST_MISMATCH', message);
}

/** True when enough is held for samples of it to tell whether another origin has the same. */
export function isProvable(stored: StoredTask): boolean {
  return stored.isComplete || stored.pieces.count * stored.pieceLength >= MIN_HELD_BYTES;
}

/**
 * Compares samples of what is held; `unknown` where there are none, or no ranges. Throws the refusal of the origin,
 * ERR_ORIGIN_STALLED when it takes too long.
 */
export async function compareSamples(
  proof: Proof,
  options: { signal: AbortSignal },
): Promise<'same' | 'differs' | 'unknown'> {
  const { stored } = proof;
  if (!isProvable(stored) || stored.length === 0) return 'unknown';
  const held = sampled(stored);
  return within(PROOF_MS, { ...options, clock: proof.clock }, async (signal) => {
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      const piece = held[randomInt(held.length)];
      if (piece === undefined) return 'unknown';
      const verdict = await compareSample(proof, sampleOf(stored, piece), signal);
      if (verdict !== 'same') return verdict;
    }
    return 'same';
  });
}

/**
 * Reads all that the origin serves; true when it has the digest that names the content. Throws the refusal of the
 * origin, ERR_ORIGIN_STALLED when it takes too long.
 */
export async function servesDigest(
  { pool, clock, stored, spec, standing }: Proof,
  options: { signal: AbortSignal },
): Promise<boolean> {
  const expected = wholeDigest(spec);
  if (expected === undefined) return false;
  const algorithm = expected.slice(0, expected.indexOf(':'));
  await using origin = await pool.openOrigin(openerOf(spec).whole(), { ...options, standing });
  const { length } = origin.head;
  if (length !== undefined && stored.isComplete && length !== stored.length) return false;
  const bytes = length ?? stored.length ?? UNKNOWN_BYTES;
  const ms = PROOF_MS + bytes / SLOWEST_BYTES_PER_MS;
  const read = async (signal: AbortSignal): Promise<string> => origin.digest(algorithm, { signal });
  return (await within(ms, { ...options, clock }, read)) === expected;
}

async function compareSample(
  { pool, stored, spec, standing }: Proof,
  { start, end }: { readonly start: number; readonly end: number },
  signal: AbortSignal,
): Promise<'same' | 'differs' | 'unknown'> {
  try {
    const request = openerOf(spec).part(start, end);
    await using origin = await pool.openOrigin(request, { signal, standing });
    const { status, length } = origin.head;
    if (length !== undefined && stored.length !== undefined && length !== stored.length) {
      return 'differs';
    }
    if (status !== 206) return 'unknown';
    const theirs = await origin.read(end - start, { signal });
    return (await readRange(stored, start, end)).equals(theirs) ? 'same' : 'differs';
  } catch (error) {
    // Their content ends before.
    if (CodedError.from(error).code === 'ERR_ORIGIN_RANGE') return 'differs';
    throw error;
  }
}

/** What `work` comes to; ERR_ORIGIN_STALLED after `ms`. */
async function within<T>(
  ms: number,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  using deadline = clock.deadline(ms);
  try {
    return await work(AbortSignal.any([signal, deadline.signal]));
  } catch (error) {
    if (signal.aborted || !deadline.signal.aborted) throw error;
    const seconds = Math.round(ms / 1000);
    const message = `it did not show within ${seconds} s that it serves the content`;
    throw new CodedError('ERR_ORIGIN_STALLED', message, { cause: error });
  }
}

/** Pieces to take samples of: a last one of a few bytes would be guessed, so it counts only where there is no other. */
function sampled({ pieces, pieceLength, length }: StoredTask): readonly number[] {
  const held = [...pieces.indexes()];
  if (length === undefined || length % pieceLength >= SAMPLE_BYTES || held.length < 2) return held;
  return held.filter((piece) => (piece + 1) * pieceLength <= length);
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
