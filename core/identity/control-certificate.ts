import { CodedError } from '../base/error.ts';
import { certificateTtlMs } from './cell.ts';
import { openEnvelope, seal } from './envelope.ts';
import type { HostKey } from './host-key.ts';
import { SignedBody } from './signed-body.ts';

/**
 * That a key may sign calls for the hosts of the cell from `notBefore` to `expires`, ms of cell time. It is another key
 * than that of any supernode: whoever only passes calls on can make none.
 */
export interface ControlCertificate {
  /** Peer id of the key. */
  readonly control: string;
  readonly notBefore: number;
  readonly expires: number;
}

const MAX_BYTES = 2048;

/** The certificate (envelope kind `control`), signed by the cell key; ERR_SIGNATURE on a wrong field. */
export function issueControlCertificate(
  cellKey: HostKey,
  options: { control: string; now: number; ttlMs?: number },
): string {
  const { control, now, ttlMs = certificateTtlMs } = options;
  const body = { v: 1, control, notBefore: now, expires: now + ttlMs };
  parse(body);
  return seal('control', body, cellKey);
}

/** What a certificate says; ERR_SIGNATURE when it is malformed or not signed by the key of `cellId`. */
export function openControlCertificate(envelope: string, cellId: string): ControlCertificate {
  const { body, signer } = openEnvelope(envelope, 'control', { maxBytes: MAX_BYTES });
  if (signer !== cellId) {
    throw new CodedError('ERR_SIGNATURE', 'the control certificate is signed by another key', {
      detail: { signer, cell: cellId },
    });
  }
  return parse(body);
}

function parse(body: Readonly<Record<string, unknown>>): ControlCertificate {
  const fields = new SignedBody('control', body);
  return {
    control: fields.peerId('control'),
    notBefore: fields.integer('notBefore'),
    expires: fields.integer('expires'),
  };
}
