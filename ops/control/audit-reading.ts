import { CodedError } from '../../core/base/error.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { canonical, parseRecord } from './audit-record.ts';
import type { AuditRecord } from './audit-record.ts';
import {
  checkpointKey,
  placeOf,
  readBase,
  readCertificates,
  recordKey,
  rowsAfter,
} from './audit-rows.ts';
import type { AuditTail } from './audit-rows.ts';

/** Which records are asked for. */
export interface AuditQuery {
  /** Default oldest first. */
  readonly order?: 'oldest' | 'newest' | undefined;
  /** Those that come after this one in that order. */
  readonly after?: number | undefined;
  readonly limit: number;
  readonly kind?: string | undefined;
  readonly principal?: string | undefined;
}

/** Some of what was asked for. */
export interface AuditPage {
  readonly records: readonly AuditRecord[];
  /** The `after` of the page that follows, absent at the end; a page may be empty and not the last. */
  readonly next?: number;
}

/** Rows that one page looks at, whatever they hold. */
const MAX_LOOKED_AT = 10_000;

/** A page of records; ERR_STORE_IO naming one that cannot be read. */
export async function listAudit(state: StateStore, query: AuditQuery): Promise<AuditPage> {
  const { order = 'oldest', after, limit, kind, principal } = query;
  const isNewest = order === 'newest';
  const { gte, lt } = rowsAfter(isNewest ? 0 : (after ?? 0));
  const range = { gte, lt: isNewest && after !== undefined ? recordKey(after) : lt };
  const records: AuditRecord[] = [];
  let lookedAt = 0;
  let last = 0;
  for await (const { key, value } of state.range(range, { reverse: isNewest })) {
    const { seq, isCheckpoint } = placeOf(key);
    if (isCheckpoint) continue;
    if (records.length >= limit || lookedAt >= MAX_LOOKED_AT) return { records, next: last };
    lookedAt += 1;
    last = seq;
    const record = recordAt(seq, value);
    const fits = kind === undefined || record.kind === kind;
    if (fits && (principal === undefined || record.principal === principal)) records.push(record);
  }
  return { records };
}

function recordAt(seq: number, value: unknown): AuditRecord {
  try {
    return parseRecord(value);
  } catch (cause) {
    throw new CodedError('ERR_STORE_IO', `record ${seq} of the audit is damaged`, { cause });
  }
}

/**
 * The lines of an export up to `tail`: `{v, cell, certificates, head}` with `head` the last checkpoint, that of the last
 * record that was cut off, if any was, then a record or `{checkpoint}` each. Rows are given as they are: what is wrong with them is for the verifier to find.
 */
export async function* exportAudit(
  state: StateStore,
  { cell, tail }: { readonly cell: string; readonly tail: AuditTail },
): AsyncGenerator<string, void, undefined> {
  const head = (await state.get(checkpointKey(tail.signed)))?.value;
  const certificates = await readCertificates(state);
  const { base } = await readBase(state);
  yield lineOf({ v: 1, cell, certificates, head });
  if (base.seq > 0) yield lineOf({ checkpoint: (await state.get(checkpointKey(base.seq)))?.value });
  for await (const { key, value } of state.range(rowsAfter(base.seq, tail.head.seq))) {
    const { seq, isCheckpoint } = placeOf(key);
    // Written since the header was.
    if (isCheckpoint && seq > tail.signed) continue;
    yield lineOf(isCheckpoint ? { checkpoint: value } : value);
  }
}

function lineOf(value: unknown): string {
  try {
    return `${canonical(value)}\n`;
  } catch {
    return `${JSON.stringify(value)}\n`;
  }
}
