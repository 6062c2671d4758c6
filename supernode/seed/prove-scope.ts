import { randomInt } from 'node:crypto';
import { CodedError } from '../../core/base/error.ts';
import type { StoredTask } from '../../core/store/piece-store.ts';
import { openerOf } from '../../core/swarm/origin-request.ts';
import type { TransferPool } from '../../core/swarm/transfer-pool.ts';
import type { TaskSpec } from '../../core/wire/messages.ts';

const SAMPLES = 3;
const SAMPLE_BYTES = 64 * 1024;

/**
 * Content named by its digest is given to a requester from another URL only when that URL really serves it
 * to him: three random ranges fetched with his credentials equal ours. Otherwise whoever runs a server that
 * says yes to every digest would get everybody's content. Throws ERR_DIGEST_MISMATCH when they differ.
 */
export async function proveSameContent(
  parts: { readonly pool: TransferPool; readonly stored: StoredTask; readonly spec: TaskSpec },
  signal: AbortSignal,
): Promise<void> {
  const { pool, stored, spec } = parts;
  const length = stored.length ?? 0;
  for (let sample = 0; sample < SAMPLES && length > 0; sample += 1) {
    const start = length <= SAMPLE_BYTES ? 0 : randomInt(length - SAMPLE_BYTES);
    const end = Math.min(start + SAMPLE_BYTES, length);
    await using origin = await pool.openOrigin(openerOf(spec).part(start, end), { signal });
    // Without ranges the answer begins at 0: as much of it as is needed is read and compared at its place.
    const offset = start - origin.head.rangeStart;
    const theirs = await origin.read(offset + end - start, { signal });
    const ours = await readRange(stored, start, end);
    if (ours.compare(theirs, offset, offset + end - start) === 0) continue;
    throw new CodedError(
      'ERR_DIGEST_MISMATCH',
      'this URL does not serve the content with that digest',
    );
  }
}

async function readRange(stored: StoredTask, start: number, end: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stored.read({ start, end })) chunks.push(new Uint8Array(chunk));
  return Buffer.concat(chunks);
}
