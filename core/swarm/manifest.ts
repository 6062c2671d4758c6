import { CodedError } from '../base/error.ts';
import { openEnvelope, seal } from '../identity/envelope.ts';
import type { HostKey } from '../identity/host-key.ts';
import { ManifestBody } from '../wire/messages.ts';
import { parser } from '../wire/parse-message.ts';

/** Digests of a run of pieces, as stated by whoever signed the batch. */
export interface ManifestBatch {
  readonly body: ManifestBody;
  readonly signer: string;
  readonly entries: readonly { readonly index: number; readonly digest: string }[];
}

/** `manifest`: signed by the cell. `provisional`: stated by one host while no supernode answers. */
export type ManifestKind = 'manifest' | 'provisional';

const DIGEST_BYTES = 32;
const MAX_ENVELOPE_BYTES = 900_000;
/** Pieces that one batch names at most, and parts of a final manifest but the last do: 57 characters each, twice base64. */
export const MAX_BATCH_PIECES = 4_096;
const parseBody = parser(ManifestBody, { code: 'ERR_MANIFEST' });

/** Signs the digests of pieces `start`, `start + 1`, … of one version. */
export function sealManifest(
  kind: ManifestKind,
  batch: Omit<ManifestBody, 'v' | 'digests'> & { readonly digests: readonly string[] },
  key: HostKey,
): string {
  const digests = Buffer.from(batch.digests.join(''), 'hex').toString('base64');
  return seal(kind, { ...batch, v: 1, digests }, key);
}

/** Opens a batch and checks its signature and shape; who may sign is the caller's to judge. */
export function openManifest(text: string, kind: ManifestKind): ManifestBatch {
  const { body: unknownBody, signer } = openEnvelope(text, kind, { maxBytes: MAX_ENVELOPE_BYTES });
  const body = parseBody(unknownBody);
  const bytes = Buffer.from(body.digests, 'base64');
  if (bytes.length === 0 || bytes.length % DIGEST_BYTES !== 0) {
    if (body.length !== 0) throw new CodedError('ERR_MANIFEST', 'digests are not whole');
  }
  const entries: { index: number; digest: string }[] = [];
  for (let offset = 0; offset < bytes.length; offset += DIGEST_BYTES) {
    const digest = bytes.toString('hex', offset, offset + DIGEST_BYTES);
    entries.push({ index: body.start + offset / DIGEST_BYTES, digest });
  }
  return { body, signer, entries };
}

/** Splits piece indexes with their digests into runs of neighbours, each fit for one batch. */
export function contiguousRuns(
  pieces: ReadonlyMap<number, string>,
): { start: number; digests: string[] }[] {
  const runs: { start: number; digests: string[] }[] = [];
  for (const [index, digest] of [...pieces].toSorted((a, b) => a[0] - b[0])) {
    const last = runs.at(-1);
    const isNext = last !== undefined && last.start + last.digests.length === index;
    if (isNext && last.digests.length < MAX_BATCH_PIECES) last.digests.push(digest);
    else runs.push({ start: index, digests: [digest] });
  }
  return runs;
}
