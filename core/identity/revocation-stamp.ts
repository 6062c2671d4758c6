// That a revocation list was the one in force at a time. The cell map that holds the list is signed by a supernode, and
// so by whoever passes calls on; this is signed by the key that signs the calls, and small enough to be made anew often.
import { createHash } from 'node:crypto';
import { openEnvelope, seal } from './envelope.ts';
import type { HostKey } from './host-key.ts';
import { SignedBody } from './signed-body.ts';

/** What the control key says of the list of a cell. */
export interface RevocationStamp {
  /** Cell id. */
  readonly cell: string;
  /** Of the cell map that holds the list. */
  readonly epoch: number;
  /** `digestOfRevoked()` of the list. */
  readonly digest: string;
  /** When that was so, ms of cell time. */
  readonly issued: number;
}

const MAX_BYTES = 2_048;
const DIGEST = /^[0-9a-f]{64}$/;

/** SHA-256 over the revoked peer ids, sorted, one a line. */
export function digestOfRevoked(revoked: readonly string[]): string {
  return createHash('sha256').update(revoked.toSorted().join('\n')).digest('hex');
}

/** The stamp (envelope kind `revocations`), signed by a control key; ERR_SIGNATURE on a wrong field. */
export function issueRevocationStamp(controlKey: HostKey, stamp: RevocationStamp): string {
  const { cell, epoch, digest, issued } = stamp;
  const body = { v: 1, cell, epoch, digest, issued };
  parse(body);
  return seal('revocations', body, controlKey);
}

/** What a stamp says and who signed it; whether that signer may is for `RevocationAge` to judge. ERR_SIGNATURE. */
export function openRevocationStamp(envelope: string): { stamp: RevocationStamp; signer: string } {
  const { body, signer } = openEnvelope(envelope, 'revocations', { maxBytes: MAX_BYTES });
  return { stamp: parse(body), signer };
}

function parse(body: Readonly<Record<string, unknown>>): RevocationStamp {
  const fields = new SignedBody('revocations', body);
  return {
    cell: fields.peerId('cell'),
    epoch: fields.integer('epoch'),
    digest: fields.text('digest', DIGEST),
    issued: fields.integer('issued'),
  };
}
