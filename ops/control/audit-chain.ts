import { CodedError } from '../../core/base/error.ts';
import { openControlCertificate } from '../../core/identity/control-certificate.ts';
import type { ControlCertificate } from '../../core/identity/control-certificate.ts';
import { openCheckpoint } from './audit-checkpoint.ts';
import type { AuditCheckpoint } from './audit-checkpoint.ts';
import { hashOf } from './audit-record.ts';
import type { AuditRecord, ChainPoint } from './audit-record.ts';

/**
 * What can be wrong: a record or checkpoint is not what was written (`flipped`); is not there (`missing`); stands
 * elsewhere (`out-of-order`); is signed by a key that the cell did not certify (`re-signed`); does not lead to what was
 * signed (`rewritten`); the end is not there (`truncated`).
 */
export type AuditProblem =
  | 'flipped'
  | 'missing'
  | 'out-of-order'
  | 're-signed'
  | 'rewritten'
  | 'truncated';

/** The first thing that is wrong. */
export interface AuditFault {
  readonly problem: AuditProblem;
  /** The record that it is about. */
  readonly seq: number;
  readonly message: string;
}

/** Clocks are set back now and then: a checkpoint may be so much older or younger than its certificate, ms. */
const CLOCK_SLACK_MS = 86_400_000;

/** What is wrong with a record as the one after `before`. */
export function recordFault(before: ChainPoint, record: AuditRecord): AuditFault | undefined {
  const seq = before.seq + 1;
  if (record.seq > seq) {
    return { problem: 'missing', seq, message: `record ${seq} is not there` };
  }
  if (record.seq < seq) {
    const message = `record ${record.seq} stands after record ${before.seq}`;
    return { problem: 'out-of-order', seq: record.seq, message };
  }
  if (hashOf(record) !== record.hash) {
    return { problem: 'flipped', seq, message: `record ${seq} does not have its hash` };
  }
  if (record.prev === before.hash) return undefined;
  const message = `record ${seq} does not follow the one before: either was written anew`;
  return { problem: 'rewritten', seq, message };
}

/** Who may sign checkpoints of a cell, by what its key certified. */
export class AuditSigners {
  readonly #cell: string;
  readonly #certificates: readonly ControlCertificate[];

  /** ERR_SIGNATURE when one of the certificates is not of the cell. */
  constructor(cell: string, certificates: readonly string[]) {
    this.#cell = cell;
    this.#certificates = certificates.map((envelope) => openControlCertificate(envelope, cell));
  }

  /** What a checkpoint says, or what is wrong with it; `seq`: the record that it is expected after. */
  open(envelope: string, seq: number): AuditCheckpoint | AuditFault {
    const what = `the checkpoint after record ${seq}`;
    try {
      const { checkpoint, signer } = openCheckpoint(envelope, this.#cell);
      const known = this.#certificates.filter(({ control }) => control === signer);
      const fault = { problem: 're-signed', seq } as const;
      if (known.length === 0) {
        return {
          ...fault,
          message: `${what} is signed by ${signer}, which the cell does not know`,
        };
      }
      const { at } = checkpoint;
      const isCovered = known.some(
        ({ notBefore, expires }) =>
          at >= notBefore - CLOCK_SLACK_MS && at <= expires + CLOCK_SLACK_MS,
      );
      if (isCovered) return checkpoint;
      return { ...fault, message: `${what} was signed when ${signer} was not certified` };
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      return {
        problem: 'flipped',
        seq,
        message: `${what} is not what was signed: ${error.message}`,
      };
    }
  }
}

/** What is wrong with a checkpoint after `head`, the one before it being of record `signed`. */
export function checkpointFault(
  head: ChainPoint,
  signed: number,
  checkpoint: AuditCheckpoint,
): AuditFault | undefined {
  const { seq, hash, count } = checkpoint;
  if (seq > head.seq) {
    const message = `record ${head.seq + 1} is not there, a checkpoint of record ${seq} is`;
    return { problem: 'missing', seq: head.seq + 1, message };
  }
  if (seq < head.seq) {
    const message = `the checkpoint of record ${seq} stands after record ${head.seq}`;
    return { problem: 'out-of-order', seq, message };
  }
  if (hash !== head.hash) {
    const message = `what the checkpoint of record ${seq} signed was another: since record ${signed + 1} something was written anew`;
    return { problem: 'rewritten', seq, message };
  }
  if (seq - signed === count) return undefined;
  const message = `a checkpoint between records ${signed + 1} and ${seq} is not there`;
  return { problem: 'missing', seq, message };
}
