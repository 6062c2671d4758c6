import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { openControlCertificate } from '../../core/identity/control-certificate.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import { sealCheckpoint } from './audit-checkpoint.ts';
import { settleGroup } from './audit-group.ts';
import type { WaitingAppend } from './audit-group.ts';
import { writeAuditHead } from './audit-head.ts';
import { inspectAudit } from './audit-inspection.ts';
import { exportAudit, listAudit } from './audit-reading.ts';
import type { AuditPage, AuditQuery } from './audit-reading.ts';
import { dropPruned, pruneEffect } from './audit-pruning.ts';
import type { Pruned, PruneInput } from './audit-pruning.ts';
import { checkedEntry, recordAfter } from './audit-record.ts';
import type { AuditEntry, AuditRecord, ChainPoint } from './audit-record.ts';
import {
  certificateKey,
  checkpointKey,
  isOfAudit,
  readBase,
  readTail,
  recordKey,
} from './audit-rows.ts';
import type { AuditTail } from './audit-rows.ts';
import type { Effect } from './door-effect.ts';

export interface AuditLogParts {
  readonly state: StateStore;
  /** Cell id. */
  readonly cell: string;
  /** Signs checkpoints; reading the certificate throws while there is none in force. */
  readonly control: { readonly key: HostKey; readonly certificate: string };
  /** Where the last checkpoint is kept beside the store. */
  readonly headFile: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Bounds of the log. */
export const auditLimits = {
  /** Appends that wait to be written. */
  waiting: 10_000,
  /** Records of one commit. */
  together: 500,
  /** Changes of one append besides its record. */
  changes: 5_000,
  /** Records after which a checkpoint is due. */
  checkpointRecords: 1_000,
  /** Time after which one is due when there was something new, ms. */
  checkpointMs: 60_000,
} as const;

/** What goes with a record. */
export interface AppendOptions {
  readonly changes?: readonly StateChange[];
  readonly expect?: readonly Expectation[];
}

/** A commit as it was put together. */
interface Draft {
  readonly records: readonly AuditRecord[];
  readonly tail: AuditTail;
  /** Its envelope and certificate, if there is one in this commit. */
  readonly checkpoint: { readonly envelope: string; readonly changes: StateChange[] } | undefined;
}

/**
 * What was done and denied, as rows of a state store: each record holds the hash of the one before it, and now and then
 * the hash of the last one is signed. A record is on the disk, with the changes it is about, before `append` resolves.
 * Appends that meet share one commit.
 */
export class AuditLog implements AsyncDisposable {
  readonly #parts: AuditLogParts;
  readonly #timer: Timer;
  #waiting: WaitingAppend[] = [];
  /** What the log found out about itself and is still to be written down. */
  #findings: AuditEntry[];
  /** Undefined after a failure: then it is not known what the store holds. */
  #tail: AuditTail | undefined;
  #running: Promise<void> | undefined;
  #isCheckpointDue = false;
  #isFailing = false;
  /** Fewer after a commit was refused, to find out for whose sake. */
  #together: number = auditLimits.together;
  #isClosed = false;

  private constructor(
    parts: AuditLogParts,
    found: { readonly tail: AuditTail; readonly findings: AuditEntry[] },
  ) {
    this.#parts = parts;
    this.#tail = found.tail;
    this.#findings = found.findings;
    this.#timer = parts.clock.every(auditLimits.checkpointMs, () => void this.#checkpoint());
  }

  /**
   * Goes on where the store ends. What is wrong with the records since the last checkpoint, or with the store by the
   * checkpoint beside it, is logged as an error and becomes a record. ERR_STORE_IO when the store cannot be read.
   */
  static async open(parts: AuditLogParts): Promise<AuditLog> {
    const tail = await readTail(parts.state);
    const findings = await inspectAudit(parts, tail);
    for (const { object, detail } of findings) {
      parts.log.error({ object, ...detail }, 'the audit log is damaged');
    }
    const audit = new AuditLog(parts, { tail, findings });
    if (findings.length > 0) await audit.#checkpoint();
    await audit.sweep();
    return audit;
  }

  /** The last record that is known to be on the disk; undefined after a failure. */
  get head(): ChainPoint | undefined {
    return this.#tail?.head;
  }

  /**
   * Writes a record and, in the same commit, `changes`. ERR_CONFLICT when something expected is no more so,
   * ERR_REQUEST for an entry that cannot be a record: then nothing of it is there. ERR_AUDIT_UNWRITABLE when the store
   * fails: it is not known whether it is there, and what it is about must not be done. ERR_BUSY when too many wait.
   */
  async append(entry: AuditEntry, options: AppendOptions = {}): Promise<AuditRecord> {
    const checked = checkedEntry(entry);
    const { changes = [], expect = [] } = options;
    if (changes.some(isOfAudit)) throw new TypeError('only the audit changes its own rows');
    if (changes.length > auditLimits.changes) {
      const message = `a record goes with at most ${auditLimits.changes} changes, not ${changes.length}`;
      throw new CodedError('ERR_REQUEST', message);
    }
    if (this.#isClosed) throw unwritable(new CodedError('ERR_STORE_IO', 'the audit is closed'));
    if (this.#waiting.length >= auditLimits.waiting) {
      throw new CodedError('ERR_BUSY', `${auditLimits.waiting} records wait to be written`);
    }
    const { promise, resolve, reject } = Promise.withResolvers<AuditRecord>();
    this.#waiting.push({ entry: checked, changes, expect, resolve, reject });
    this.#running ??= this.#run();
    return promise;
  }

  /** A page of records in order; ERR_STORE_IO when one of them cannot be read. */
  async list(query: AuditQuery): Promise<AuditPage> {
    return listAudit(this.#parts.state, query);
  }

  /** Lines, each with its newline: a header, then records and checkpoints. What is new is signed before, where that can be. */
  async *export(): AsyncGenerator<string, void, undefined> {
    await this.#checkpoint();
    const { state, cell } = this.#parts;
    yield* exportAudit(state, { cell, tail: this.#tail ?? (await readTail(state)) });
  }

  /** What cuts off old records; the rows go by `sweep()`. See `pruneEffect()`. */
  async prune(input: PruneInput): Promise<Effect<Pruned>> {
    // Nobody would believe the cut.
    void this.#parts.control.certificate;
    return pruneEffect(this.#parts, input);
  }

  /** Deletes what was cut off, if the record that says so is signed; what is left the next start deletes. */
  async sweep(): Promise<void> {
    const { state, log } = this.#parts;
    try {
      const { base } = await readBase(state);
      if (base.seq === 0) return;
      const head = this.#tail?.head.seq ?? Number.MAX_SAFE_INTEGER;
      await this.#checkpoint();
      if ((this.#tail?.signed ?? 0) >= head) await dropPruned(state);
    } catch (error) {
      log.error({ err: error }, 'what was pruned of the audit is not deleted yet');
    }
  }

  /** Writes what waits, and a last checkpoint; harmless when closed. */
  async close(): Promise<void> {
    if (this.#isClosed) return this.#running;
    this.#isClosed = true;
    this.#timer.cancel();
    await this.#checkpoint();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Signs what is new, and writes what was found out; resolves when that is done or has failed. */
  async #checkpoint(): Promise<void> {
    this.#isCheckpointDue = true;
    this.#running ??= this.#run();
    await this.#running;
  }

  async #run(): Promise<void> {
    // What is asked for in one turn of the event loop is written together.
    await Promise.resolve();
    while (this.#waiting.length > 0 || this.#isCheckpointDue) {
      const group = this.#nextGroup();
      try {
        await this.#write(group);
      } catch (cause) {
        this.#fail(group, cause);
      }
    }
    this.#running = undefined;
  }

  /** Findings first, then appends, as many as one commit takes; a checkpoint comes after every so many records. */
  #nextGroup(): WaitingAppend[] {
    const findings = this.#findings.map((entry) => ({
      entry,
      changes: [],
      expect: [],
      resolve: () => (this.#findings = this.#findings.filter((other) => other !== entry)),
      reject: () => undefined,
    }));
    const sinceSigned = this.#tail === undefined ? 0 : this.#tail.head.seq - this.#tail.signed;
    const untilDue = auditLimits.checkpointRecords - sinceSigned - findings.length;
    // Whoever spoils a commit is not found while findings are in each.
    const isAlone = findings.length > 0 && this.#together < auditLimits.together;
    const most = isAlone ? 0 : untilDue > 0 ? Math.min(this.#together, untilDue) : this.#together;
    let changes = 0;
    const fits = this.#waiting.findIndex((append, at) => {
      changes += append.changes.length;
      return at >= most || changes > auditLimits.changes;
    });
    return [...findings, ...this.#waiting.splice(0, fits < 0 ? this.#waiting.length : fits)];
  }

  async #write(group: WaitingAppend[]): Promise<void> {
    const { state } = this.#parts;
    const { head } = (this.#tail ??= await readTail(state));
    // Of a commit that failed it is not known whether it will be there once the store has mended itself.
    const isFree = { key: recordKey(head.seq + 1), revision: 0 };
    const { accepted, refused, expect } = await settleGroup(state, group);
    const { records, tail, checkpoint } = this.#draft(this.#tail, accepted);
    const changes = [
      ...(checkpoint?.changes ?? []),
      ...accepted.flatMap((append) => append.changes),
      ...records.map((value) => ({ type: 'put' as const, key: recordKey(value.seq), value })),
    ];
    try {
      if (changes.length > 0) await state.commit(changes, { expect: [...expect, isFree] });
    } catch (error) {
      if (!isOfOne(error)) throw error;
      this.#tail = await readTail(state);
      if (this.#tail.head.seq === head.seq) this.#divide(group, error);
      else this.#putBack(group);
      return;
    }
    this.#tail = tail;
    this.#isCheckpointDue = false;
    this.#together = auditLimits.together;
    if (changes.length > 0) this.#worked(tail);
    for (const { append, key } of refused) {
      append.reject(new CodedError('ERR_CONFLICT', `row ${key} has changed meanwhile`));
    }
    for (const [at, record] of records.entries()) accepted[at]?.resolve(record);
    if (checkpoint !== undefined) await this.#keepHead(checkpoint.envelope);
  }

  #draft({ head: last, signed }: AuditTail, accepted: readonly WaitingAppend[]): Draft {
    const at = Math.round(this.#parts.clock.now());
    let head: ChainPoint = last;
    const records = accepted.map(({ entry }) => {
      const record = recordAfter(head, entry, at);
      head = record;
      return record;
    });
    const { seq, hash } = head;
    const isDue = this.#isCheckpointDue || seq - signed >= auditLimits.checkpointRecords;
    const checkpoint = isDue && seq > signed ? this.#sign({ seq, hash }, signed) : undefined;
    const tail = { head: { seq, hash }, signed: checkpoint === undefined ? signed : seq };
    return { records, tail, checkpoint };
  }

  /** Undefined while the key has no certificate: nobody would believe the checkpoint. */
  #sign(head: ChainPoint, signed: number): Draft['checkpoint'] {
    const { control, cell, clock, log } = this.#parts;
    try {
      const { certificate } = control;
      const key = certificateKey(openControlCertificate(certificate, cell));
      const at = Math.round(clock.now());
      const body = { ...head, cell, at, count: head.seq - signed };
      const envelope = sealCheckpoint(control.key, body);
      const changes: StateChange[] = [
        { type: 'put', key, value: certificate },
        { type: 'put', key: checkpointKey(head.seq), value: envelope },
      ];
      return { envelope, changes };
    } catch (error) {
      if (this.#isCheckpointDue) log.error({ err: error }, 'the audit cannot be signed');
      return undefined;
    }
  }

  /** Of several in a commit that was refused it is not known who is to blame: half of them are tried at first. */
  #divide(group: WaitingAppend[], error: unknown): void {
    const [only] = group;
    if (group.length === 1) only?.reject(error);
    else this.#putBack(group);
    this.#together = Math.max(1, Math.floor(group.length / 2));
  }

  #putBack(group: readonly WaitingAppend[]): void {
    this.#waiting.unshift(...group.filter(({ entry }) => !this.#findings.includes(entry)));
  }

  #worked({ head }: AuditTail): void {
    if (this.#isFailing) this.#parts.log.info({ seq: head.seq }, 'the audit is written again');
    this.#isFailing = false;
  }

  /** It is not known what the store holds now: all who wait are refused, and the next looks first. */
  #fail(group: readonly WaitingAppend[], cause: unknown): void {
    this.#tail = undefined;
    this.#isCheckpointDue = false;
    if (!this.#isFailing) this.#parts.log.error({ err: cause }, 'the audit cannot be written');
    this.#isFailing = true;
    for (const { reject } of [...group, ...this.#waiting.splice(0)]) reject(unwritable(cause));
  }

  async #keepHead(envelope: string): Promise<void> {
    const { headFile, log } = this.#parts;
    try {
      await writeAuditHead(headFile, envelope);
    } catch (error) {
      log.error({ err: error, path: headFile }, 'the head of the audit is not kept beside it');
    }
  }
}

/** True when a commit was refused for what one of its appends asks, and the store is as it was. */
function isOfOne(error: unknown): boolean {
  const { code } = CodedError.from(error);
  return code === 'ERR_CONFLICT' || code === 'ERR_REQUEST';
}

function unwritable(cause: unknown): CodedError {
  const { message } = CodedError.from(cause);
  return new CodedError('ERR_AUDIT_UNWRITABLE', `the audit cannot be written: ${message}`, {
    cause,
  });
}
