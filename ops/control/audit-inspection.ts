import { CodedError } from '../../core/base/error.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { AuditSigners, checkpointFault, recordFault } from './audit-chain.ts';
import type { AuditFault } from './audit-chain.ts';
import { openCheckpoint } from './audit-checkpoint.ts';
import { readAuditHead } from './audit-head.ts';
import { chainStart, parseRecord } from './audit-record.ts';
import type { AuditEntry, AuditRecord, ChainPoint } from './audit-record.ts';
import {
  checkpointKey,
  placeOf,
  readBase,
  readCertificates,
  recordKey,
  rowsAfter,
} from './audit-rows.ts';
import type { AuditTail } from './audit-rows.ts';

interface InspectedParts {
  readonly state: StateStore;
  readonly cell: string;
  readonly headFile: string;
}

/** What is wrong with the end of the log, as records to be: the last checkpoint, what came after it, and its copy. */
export async function inspectAudit(parts: InspectedParts, tail: AuditTail): Promise<AuditEntry[]> {
  const faults = [await faultSinceSigned(parts, tail), await faultByHead(parts, tail)];
  return faults.flatMap((fault) => (fault === undefined ? [] : [entryOf(fault)]));
}

function entryOf({ problem, seq, message }: AuditFault): AuditEntry {
  return {
    kind: 'audit.damaged',
    principal: '',
    source: '',
    decision: 'allowed',
    object: `record ${seq}`,
    detail: { problem, seq, message },
  };
}

async function faultSinceSigned(
  { state, cell }: InspectedParts,
  { signed }: AuditTail,
): Promise<AuditFault | undefined> {
  let before: ChainPoint = chainStart;
  if (signed > 0) {
    const last = await signedRecord(state, { cell, signed });
    if ('problem' in last) return last;
    before = last;
  }
  for await (const { key, value } of state.range(rowsAfter(signed))) {
    const { seq, isCheckpoint } = placeOf(key);
    if (isCheckpoint) continue;
    const record = recordIn(value, seq);
    const fault = 'problem' in record ? record : recordFault(before, record);
    if (fault !== undefined) return fault;
    before = { seq, hash: 'hash' in record ? record.hash : '' };
  }
  return undefined;
}

/** The record that the last checkpoint is of, if that is as it was signed. */
async function signedRecord(
  state: StateStore,
  { cell, signed }: { readonly cell: string; readonly signed: number },
): Promise<ChainPoint | AuditFault> {
  const envelope = (await state.get(checkpointKey(signed)))?.value;
  const row = await state.get(recordKey(signed));
  if (row === undefined) {
    return { problem: 'missing', seq: signed, message: `record ${signed} is not there` };
  }
  const record = recordIn(row.value, signed);
  if ('problem' in record) return record;
  const opened = signersOf(cell, await readCertificates(state)).open(String(envelope), signed);
  if ('problem' in opened) return opened;
  const { seq, hash, prev } = record;
  const fault =
    recordFault({ seq: signed - 1, hash: prev }, record) ??
    checkpointFault({ seq, hash }, signed - opened.count, opened);
  return fault ?? { seq, hash };
}

/** One that knows nobody where a certificate is not of the cell. */
function signersOf(cell: string, certificates: readonly string[]): AuditSigners {
  try {
    return new AuditSigners(cell, certificates);
  } catch (error) {
    if (error instanceof CodedError) return new AuditSigners(cell, []);
    throw error;
  }
}

function recordIn(value: unknown, seq: number): AuditRecord | AuditFault {
  try {
    return parseRecord(value);
  } catch (error) {
    const { message } = CodedError.from(error);
    return { problem: 'flipped', seq, message: `record ${seq} is none: ${message}` };
  }
}

/** What the store should hold by the checkpoint beside it. A crash leaves that one behind the store, never before it. */
async function faultByHead(
  { state, cell, headFile }: InspectedParts,
  { head, signed }: AuditTail,
): Promise<AuditFault | undefined> {
  try {
    const envelope = await readAuditHead(headFile);
    if (envelope === undefined) {
      const message = `the file ${headFile} is not there`;
      return signed === 0 ? undefined : { problem: 'missing', seq: signed, message };
    }
    const { seq, hash } = openCheckpoint(envelope, cell).checkpoint;
    if (seq > head.seq) {
      const message = `the store ends with record ${head.seq}, record ${seq} had been signed with hash ${hash}`;
      return { problem: 'truncated', seq: head.seq + 1, message };
    }
    const { base } = await readBase(state);
    // The file is behind by more than is kept: what it says can be held against nothing.
    if (seq < base.seq) return undefined;
    const record =
      seq === base.seq ? base : recordIn((await state.get(recordKey(seq)))?.value, seq);
    if ('problem' in record) return record;
    if (record.hash === hash) return undefined;
    const message = `record ${seq} had been signed with hash ${hash}, and has another`;
    return { problem: 'rewritten', seq, message };
  } catch (error) {
    const { code, message } = CodedError.from(error);
    if (code !== 'ERR_SIGNATURE') throw error;
    return { problem: 'flipped', seq: signed, message: `${headFile}: ${message}` };
  }
}
