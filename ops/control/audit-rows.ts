/** The rows of the audit: `audit/SEQ` a record, `audit/SEQ/checkpoint` its checkpoint, so one range has all in order. */
import { isRecord } from '../../core/identity/envelope.ts';
import type { ControlCertificate } from '../../core/identity/control-certificate.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { KeyRange, StateChange, StateStore } from '../../core/store/state-store.ts';
import { chainStart } from './audit-record.ts';
import type { ChainPoint } from './audit-record.ts';

/** How far the chain goes. */
export interface AuditTail {
  readonly head: ChainPoint;
  /** The record of the last checkpoint; 0: none. */
  readonly signed: number;
}

const RECORD = 'audit/';
/** The last record that was cut off; written with the record that says so. */
export const baseKey = 'audit-base';
const CERTIFICATE = 'audit-certificate/';
const CHECKPOINT = '/checkpoint';
/** Of the largest whole number. */
const DIGITS = 16;
const HASH = /^[0-9a-f]{64}$/;

const padded = (value: number): string => String(value).padStart(DIGITS, '0');

export function recordKey(seq: number): string {
  return RECORD + padded(seq);
}

export function checkpointKey(seq: number): string {
  return recordKey(seq) + CHECKPOINT;
}

/** Where the certificate is kept that checkpoints of its time are believed for. */
export function certificateKey({ control, notBefore }: ControlCertificate): string {
  return `${CERTIFICATE}${padded(notBefore)}/${control}`;
}

/** Records after one, with their checkpoints, up to another and including it. */
export function rowsAfter(seq: number, last = Number.MAX_SAFE_INTEGER - 1): KeyRange {
  return { gte: recordKey(seq + 1), lt: recordKey(last + 1) };
}

/** What a row of `rowsAfter()` is. */
export function placeOf(key: string): { readonly seq: number; readonly isCheckpoint: boolean } {
  const seq = Number(key.slice(RECORD.length, RECORD.length + DIGITS));
  return { seq, isCheckpoint: key.endsWith(CHECKPOINT) };
}

/** True for a change of what only the audit itself may write. */
export function isOfAudit({ key }: StateChange): boolean {
  return key.startsWith(RECORD) || key.startsWith(CERTIFICATE);
}

/** Certificates of all keys that ever signed a checkpoint, the oldest first. */
export async function readCertificates(state: StateStore): Promise<string[]> {
  const certificates: string[] = [];
  for await (const { value } of state.range(keysWith(CERTIFICATE))) {
    if (typeof value === 'string') certificates.push(value);
  }
  return certificates;
}

/** The last record that was cut off, `chainStart` when none was; what is kept follows it. */
export async function readBase(
  state: StateStore,
): Promise<{ readonly base: ChainPoint; readonly revision: number }> {
  const row = await state.get(baseKey);
  if (row === undefined) return { base: chainStart, revision: 0 };
  const seq = isRecord(row.value) ? row.value['seq'] : undefined;
  const isPlace = typeof seq === 'number' && Number.isSafeInteger(seq) && seq > 0;
  return {
    base: isPlace ? { seq, hash: hashIn(row.value) } : chainStart,
    revision: row.revision,
  };
}

/** Where the chain goes on. Rows are taken as they are: whether they are right is for those to find out who verify. */
export async function readTail(state: StateStore): Promise<AuditTail> {
  let head: ChainPoint | undefined;
  let signed: number | undefined;
  for await (const { key, value } of state.range(rowsAfter(0), { reverse: true })) {
    const { seq, isCheckpoint } = placeOf(key);
    if (isCheckpoint) signed ??= seq;
    else head ??= { seq, hash: hashIn(value) };
    if (head !== undefined && signed !== undefined) break;
  }
  head ??= chainStart;
  signed ??= 0;
  // Of a record that is gone, and was signed, the number is not given to another.
  return signed > head.seq
    ? { head: { seq: signed, hash: chainStart.hash }, signed }
    : { head, signed };
}

function hashIn(value: unknown): string {
  const hash = isRecord(value) ? value['hash'] : undefined;
  return typeof hash === 'string' && HASH.test(hash) ? hash : chainStart.hash;
}
