/** Whether an export of the audit is what the supernode wrote, by nothing but the cell's id, which is its public key. */
import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { AuditSigners, checkpointFault, recordFault } from './audit-chain.ts';
import type { AuditFault } from './audit-chain.ts';
import type { AuditCheckpoint } from './audit-checkpoint.ts';
import { isPruneOf } from './audit-pruning.ts';
import { canonical, chainStart, parseRecord } from './audit-record.ts';
import type { AuditRecord, ChainPoint } from './audit-record.ts';

export interface VerifyOptions {
  /** Cell id. */
  readonly cell: string;
  /** The head of an earlier verification: it has to be in this export too. */
  readonly atLeast?: ChainPoint | undefined;
}

/** What is known of an export. */
export interface AuditVerdict {
  /** Undefined: nothing is wrong. */
  readonly fault?: AuditFault & { readonly line: number };
  /** Records before the fault, all of them without one. */
  readonly records: number;
  /** The checkpoint of the last record that was pruned: from there on this verifies. Undefined: from the first record. */
  readonly from?: ChainPoint & { readonly at: number };
  readonly checkpoints: number;
  /** Records after the last checkpoint: the chain holds, but nobody signed for it yet. */
  readonly unsigned: number;
  readonly first?: { readonly seq: number; readonly at: number };
  readonly last?: { readonly seq: number; readonly at: number };
  /** The last checkpoint: what the next verification is given as `atLeast`. */
  readonly head?: ChainPoint & { readonly at: number };
}

/** Longest line, characters: a header with thousands of certificates. */
export const maxLineLength = 4 * 1024 * 1024;

const parseHeader = parser(
  Type.Object({
    v: Type.Literal(1),
    cell: Type.String(),
    certificates: Type.Array(Type.String()),
    head: Type.Optional(Type.String()),
  }),
  { code: 'ERR_AUDIT_BROKEN', strict: true },
);
const parseCheckpointLine = parser(Type.Object({ checkpoint: Type.String() }), {
  code: 'ERR_AUDIT_BROKEN',
  strict: true,
});

/** Takes the lines of an export one by one; memory does not grow with them. */
export class AuditVerifier {
  readonly #options: VerifyOptions;
  #line = 0;
  #signers: AuditSigners | undefined;
  /** What the header says that the last checkpoint is. */
  #announced: AuditCheckpoint | undefined;
  #head: ChainPoint = chainStart;
  #signed: AuditCheckpoint | undefined;
  /** That of the last record that was pruned. */
  #base: AuditCheckpoint | undefined;
  /** The record that says that it was. */
  #pruneSeq: number | undefined;
  #checkpoints = 0;
  #first: AuditVerdict['first'];
  #last: AuditVerdict['last'];
  #fault: AuditVerdict['fault'];

  constructor(options: VerifyOptions) {
    this.#options = options;
  }

  /** The next line, without its newline; undefined for bytes that are no text, or too many. */
  take(text: string | undefined): void {
    this.#line += 1;
    if (this.#fault !== undefined) this.#lookFurther(this.#fault, text);
    else if (this.#line === 1) this.#takeHeader(text);
    else this.#takeLine(text);
  }

  /** The verdict once there are no more lines; `rest`: what stood after the last newline. */
  end(rest: string): AuditVerdict {
    if (this.#fault === undefined) this.#checkEnd(rest);
    const { seq } = this.#head;
    return {
      ...(this.#fault === undefined ? {} : { fault: this.#fault }),
      records: seq - (this.#base?.seq ?? 0),
      ...(this.#base === undefined ? {} : { from: headOf(this.#base) }),
      checkpoints: this.#checkpoints,
      unsigned: seq - (this.#signed?.seq ?? 0),
      ...(this.#first === undefined ? {} : { first: this.#first }),
      ...(this.#last === undefined ? {} : { last: this.#last }),
      ...(this.#signed === undefined ? {} : { head: headOf(this.#signed) }),
    };
  }

  #takeHeader(text: string | undefined): void {
    try {
      const { cell, certificates, head } = parseHeader(valueOf(text));
      if (cell !== this.#options.cell) {
        this.#found({ problem: 're-signed', seq: 0, message: `the export is of cell ${cell}` });
        return;
      }
      this.#signers = new AuditSigners(cell, certificates);
      if (head === undefined) return;
      const announced = this.#signers.open(head, 0);
      if ('problem' in announced) this.#found({ ...announced, message: 'the head is not signed' });
      else this.#announced = announced;
    } catch (error) {
      const { code, message } = CodedError.from(error);
      const problem = code === 'ERR_SIGNATURE' ? 're-signed' : 'flipped';
      this.#found({ problem, seq: 0, message: `the header is not what was written: ${message}` });
    }
  }

  #takeLine(text: string | undefined): void {
    const seq = this.#head.seq + 1;
    try {
      const value = valueOf(text);
      if (Object.hasOwn(value, 'checkpoint')) {
        this.#takeCheckpoint(parseCheckpointLine(value).checkpoint);
      } else this.#takeRecord(parseRecord(value));
    } catch (error) {
      const { message } = CodedError.from(error);
      this.#found({
        problem: 'flipped',
        seq,
        message: `where record ${seq} should be: ${message}`,
      });
    }
  }

  #takeRecord(record: AuditRecord): void {
    const { atLeast } = this.#options;
    const { seq, hash, at } = record;
    const fault = recordFault(this.#head, record);
    if (fault !== undefined) {
      this.#found(fault);
    } else if (atLeast?.seq === seq && atLeast.hash !== hash) {
      const message = `record ${seq} had hash ${atLeast.hash} before: it, or one before it, was written anew`;
      this.#found({ problem: 'rewritten', seq, message });
    } else {
      this.#head = { seq, hash };
      if (this.#base !== undefined && isPruneOf(record, this.#base)) this.#pruneSeq ??= seq;
      this.#first ??= { seq, at };
      this.#last = { seq, at };
    }
  }

  /** What stands before the first record: all up to it was pruned, if a record says so that is signed. */
  #takeBase(envelope: string): void {
    const opened = this.#signers?.open(envelope, 0);
    if (opened === undefined) return;
    if ('problem' in opened) {
      this.#found(opened);
      return;
    }
    const { seq, hash } = opened;
    const { atLeast } = this.#options;
    if (atLeast !== undefined && atLeast.seq < seq) {
      const message = `it begins after record ${seq}, and cannot be held against record ${atLeast.seq}: verify what was exported before that was pruned, and give its head`;
      this.#found({ problem: 'missing', seq: atLeast.seq, message });
    } else if (atLeast?.seq === seq && atLeast.hash !== hash) {
      const message = `record ${seq} had hash ${atLeast.hash} before: it, or one before it, was written anew`;
      this.#found({ problem: 'rewritten', seq, message });
    } else {
      this.#base = opened;
      this.#signed = opened;
      this.#head = { seq, hash };
    }
  }

  #takeCheckpoint(envelope: string): void {
    if (this.#line === 2) {
      this.#takeBase(envelope);
      return;
    }
    const opened = this.#signers?.open(envelope, this.#head.seq);
    if (opened === undefined) return;
    const fault =
      'problem' in opened ? opened : checkpointFault(this.#head, this.#signed?.seq ?? 0, opened);
    if (fault !== undefined) {
      this.#found(fault);
    } else if (!('problem' in opened)) {
      this.#signed = opened;
      this.#checkpoints += 1;
    }
  }

  /** A record that is not at its place may stand further on. */
  #lookFurther(fault: AuditFault, text: string | undefined): void {
    if (fault.problem !== 'missing' || text === undefined) return;
    try {
      const record = parseRecord(valueOf(text));
      if (record.seq !== fault.seq) return;
      const message = `record ${fault.seq} is not at its place but in line ${this.#line}`;
      this.#fault = { ...fault, line: this.#fault?.line ?? 0, problem: 'out-of-order', message };
    } catch {
      // Only the first fault is told.
    }
  }

  #checkEnd(rest: string): void {
    const { seq } = this.#head;
    const { atLeast } = this.#options;
    this.#line += 1;
    const fault = { problem: 'truncated', seq: seq + 1 } as const;
    const signed = this.#signed?.seq ?? 0;
    const announced = this.#announced?.seq ?? 0;
    if (this.#line === 1) this.#found({ ...fault, message: 'there is nothing in it' });
    else if (rest !== '') this.#found({ ...fault, message: 'the last line is cut' });
    else if (atLeast !== undefined && seq < atLeast.seq) {
      this.#found({
        ...fault,
        message: `it ends before record ${atLeast.seq}, that was there before`,
      });
    } else if (signed < announced) {
      const message = `its header has a checkpoint of record ${announced}, it ends before that`;
      this.#found({ ...fault, message });
    } else if (signed > announced || this.#signed?.hash !== this.#announced?.hash) {
      const message = `its header has record ${announced} as the last that was signed, not ${signed}`;
      this.#found({ problem: 'rewritten', seq: signed, message });
    } else if (this.#base !== undefined && (this.#pruneSeq ?? signed + 1) > signed) {
      const message = `the records up to ${this.#base.seq} are not there, and no signed record says that they were pruned`;
      this.#found({ problem: 'missing', seq: 1, message });
    }
  }

  #found(fault: AuditFault): void {
    this.#fault ??= { ...fault, line: this.#line };
  }
}

/** Reads an export, of any length, to its end. */
export async function verifyAudit(
  chunks: AsyncIterable<Uint8Array>,
  options: VerifyOptions,
): Promise<AuditVerdict> {
  const verifier = new AuditVerifier(options);
  let rest: Buffer = Buffer.alloc(0);
  /** What is behind in a line that is too long is of no interest. */
  let isTooLong = false;
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      const line = Buffer.concat([rest, chunk.subarray(start, end)]);
      verifier.take(isTooLong ? undefined : decoded(line));
      rest = Buffer.alloc(0);
      isTooLong = false;
      start = end + 1;
    }
    rest = Buffer.concat([rest, chunk.subarray(start)]);
    if (rest.length > maxLineLength) [rest, isTooLong] = [Buffer.from('…'), true];
  }
  return verifier.end(rest.toString('latin1'));
}

function decoded(line: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line);
  } catch {
    return undefined;
  }
}

/** The JSON object of a line in its one canonical spelling; ERR_AUDIT_BROKEN. */
function valueOf(text: string | undefined): object {
  if (text === undefined) throw new CodedError('ERR_AUDIT_BROKEN', 'what stands there is no text');
  let value: unknown;
  try {
    value = JSON.parse(text);
    if (typeof value === 'object' && value !== null && canonical(value) === text) return value;
  } catch (cause) {
    throw new CodedError('ERR_AUDIT_BROKEN', 'what stands there is no JSON of ours', { cause });
  }
  throw new CodedError('ERR_AUDIT_BROKEN', 'what stands there is spelled as we never do');
}

function headOf({ seq, hash, at }: AuditCheckpoint): ChainPoint & { readonly at: number } {
  return { seq, hash, at };
}
