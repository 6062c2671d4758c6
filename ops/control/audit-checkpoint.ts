import { CodedError } from '../../core/base/error.ts';
import { openEnvelope, seal } from '../../core/identity/envelope.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import { SignedBody } from '../../core/identity/signed-body.ts';
import type { ChainPoint } from './audit-record.ts';

/** That the record `seq` of a cell has this hash, and with it everything before it. */
export interface AuditCheckpoint extends ChainPoint {
  /** Cell id. */
  readonly cell: string;
  /** When it was signed, cell time, ms. */
  readonly at: number;
  /** Records since the checkpoint before, at least 1. */
  readonly count: number;
}

/** Longest envelope of a checkpoint, bytes. */
export const maxCheckpointBytes = 1_024;

const KIND = 'audit-checkpoint';
const HASH = /^[0-9a-f]{64}$/;

/** The envelope of a checkpoint, signed by a control key; ERR_SIGNATURE naming a wrong field. */
export function sealCheckpoint(key: HostKey, checkpoint: AuditCheckpoint): string {
  const body = { v: 1, ...checkpoint };
  parse(body);
  return seal(KIND, body, key);
}

/** What a checkpoint of `cell` says and who signed it; whether that signer may is for the reader to judge. ERR_SIGNATURE. */
export function openCheckpoint(
  envelope: string,
  cell: string,
): { readonly checkpoint: AuditCheckpoint; readonly signer: string } {
  const { body, signer } = openEnvelope(envelope, KIND, { maxBytes: maxCheckpointBytes });
  const checkpoint = parse(body);
  if (checkpoint.cell !== cell) {
    throw new CodedError('ERR_SIGNATURE', `the ${KIND} is of another cell`, { detail: { signer } });
  }
  return { checkpoint, signer };
}

function parse(body: Readonly<Record<string, unknown>>): AuditCheckpoint {
  const fields = new SignedBody(KIND, body);
  return {
    cell: fields.peerId('cell'),
    seq: fields.integer('seq'),
    hash: fields.text('hash', HASH),
    at: fields.integer('at'),
    count: fields.integer('count'),
  };
}
