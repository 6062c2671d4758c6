// What of the audit is not kept any more. A cut is at a record that a checkpoint is of: that checkpoint stays, and the
// chain goes on from it. It counts only with a signed record of the audit itself that says so, which comes after it.
import { CodedError } from '../../core/base/error.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';
import { AuditSigners, checkpointFault, recordFault } from './audit-chain.ts';
import type { AuditFault } from './audit-chain.ts';
import { parseRecord } from './audit-record.ts';
import type { AuditRecord, ChainPoint } from './audit-record.ts';
import {
  baseKey,
  checkpointKey,
  placeOf,
  readBase,
  readCertificates,
  recordKey,
  rowsAfter,
} from './audit-rows.ts';
import type { Effect } from './door-effect.ts';

/** The kind of the record that says that all before was cut off, and of the verb that does it. */
export const pruneKind = 'audit.prune';

/** What is to go. */
export interface PruneInput {
  /** Only records of before that time, ms of cell time. */
  readonly before: number;
  /** The head of an export that the caller has: nothing after it goes. */
  readonly exported: ChainPoint;
}

/** What went. */
export interface Pruned {
  /** The last record that is not there any more. */
  readonly through: ChainPoint;
  readonly records: number;
}

/** Deletions of one commit. */
const TOGETHER = 1_000;

/**
 * Cuts off what is old and exported, as far as a checkpoint goes. ERR_REQUEST when the head is not of this audit,
 * ERR_NOT_FOUND when there is nothing to cut off, ERR_AUDIT_BROKEN when what would go is not as it was written.
 */
export async function pruneEffect(
  { state, cell }: { readonly state: StateStore; readonly cell: string },
  { before, exported }: PruneInput,
): Promise<Effect<Pruned>> {
  const { base, revision } = await readBase(state);
  const row = await state.get(recordKey(exported.seq));
  if (row === undefined || parseRecord(row.value).hash !== exported.hash) {
    const message = 'exported: is no head of an export of what this audit holds';
    throw new CodedError('ERR_REQUEST', message, { detail: { path: 'exported' } });
  }
  const through = await lastToGo(state, { cell, base, before, most: exported.seq });
  if (through === undefined) {
    throw new CodedError(
      'ERR_NOT_FOUND',
      'no checkpoint is of before that time: nothing is pruned',
    );
  }
  const records = through.seq - base.seq;
  return {
    changes: [{ type: 'put', key: baseKey, value: { ...through } }],
    expect: [{ key: baseKey, revision }],
    detail: { ...through, records, before, exported: exported.seq },
    answer: () => ({ through, records }),
  };
}

/** True for the record that says that all up to `base` was cut off. */
export function isPruneOf({ kind, decision, detail }: AuditRecord, base: ChainPoint): boolean {
  const isCut = kind === pruneKind && decision === 'allowed';
  return isCut && detail['seq'] === base.seq && detail['hash'] === base.hash;
}

/** Deletes the rows of what was cut off; what it was stopped at the next call deletes. */
export async function dropPruned(state: StateStore): Promise<number> {
  const { base } = await readBase(state);
  const kept = checkpointKey(base.seq);
  let dropped = 0;
  let changes: StateChange[] = [];
  const commit = async (): Promise<void> => {
    if (changes.length > 0) await state.commit(changes);
    dropped += changes.length;
    changes = [];
  };
  for await (const { key } of state.range(rowsAfter(0, base.seq))) {
    if (key !== kept) changes.push({ type: 'del', key });
    if (changes.length >= TOGETHER) await commit();
  }
  await commit();
  return dropped;
}

/** The last record with a checkpoint that may go; everything up to it is verified. */
async function lastToGo(
  state: StateStore,
  {
    cell,
    base,
    before,
    most,
  }: {
    readonly cell: string;
    readonly base: ChainPoint;
    readonly before: number;
    readonly most: number;
  },
): Promise<ChainPoint | undefined> {
  const signers = new AuditSigners(cell, await readCertificates(state));
  let head = base;
  let cut: ChainPoint | undefined;
  for await (const { key, value } of state.range(rowsAfter(base.seq, most))) {
    const { seq, isCheckpoint } = placeOf(key);
    if (isCheckpoint) {
      const opened = signers.open(String(value), head.seq);
      refuse('problem' in opened ? opened : checkpointFault(head, (cut ?? base).seq, opened));
      cut = head;
    } else {
      const record = parseRecord(value);
      refuse(recordFault(head, record));
      if (record.at >= before) break;
      head = { seq, hash: record.hash };
    }
  }
  return cut;
}

function refuse(fault: AuditFault | undefined): void {
  if (fault === undefined) return;
  const { problem, seq, message } = fault;
  throw new CodedError('ERR_AUDIT_BROKEN', `${problem}: ${message}; nothing is pruned`, {
    detail: { problem, seq },
  });
}
