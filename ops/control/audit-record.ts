// One record of the audit and the bytes that its hash is over. The text of a record is canonical (RFC 8785 without
// fractions): whoever has the fields has the bytes, and a line of an export that is spelled in another way is no record.
import { createHash } from 'node:crypto';
import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';

/** What is written down of one privileged act, before it has its place in the chain. */
export interface AuditEntry {
  /** Words with dots: `call.run`, `key.create`. */
  readonly kind: string;
  /** Who asked; empty when that is not known. */
  readonly principal: string;
  /** The address that it came from; empty for what the supernode does by itself. */
  readonly source: string;
  readonly decision: 'allowed' | 'denied';
  /** What it is about, in short. */
  readonly object: string;
  /** JSON without fractions. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** A record at its place in the chain. */
export interface AuditRecord extends AuditEntry {
  /** From 1, without gaps. */
  readonly seq: number;
  /** Cell time, ms. */
  readonly at: number;
  /** `hash` of the record before; 64 zeros in the first. */
  readonly prev: string;
  /** SHA-256 over the bytes of `prev` and the canonical text of everything but `hash`. */
  readonly hash: string;
}

/** A place in the chain. */
export interface ChainPoint {
  readonly seq: number;
  readonly hash: string;
}

/** Bounds of a record. */
export const recordLimits = {
  /** Of its canonical text in UTF-8. */
  bytes: 16_384,
  /** Of principal and source, in characters. */
  nameLength: 256,
  objectLength: 1_024,
  /** Of arrays and objects in one another. */
  depth: 16,
} as const;

/** Before the first record. */
export const chainStart: ChainPoint = { seq: 0, hash: '0'.repeat(64) };

const KIND = '^[a-z][a-z0-9-]{0,31}(\\.[a-z][a-z0-9-]{0,31}){0,3}$';
const Hash = Type.String({ pattern: '^[0-9a-f]{64}$' });
const Name = Type.String({ maxLength: recordLimits.nameLength });
const entryFields = {
  kind: Type.String({ pattern: KIND }),
  principal: Name,
  source: Name,
  decision: Type.Enum(['allowed', 'denied']),
  object: Type.String({ maxLength: recordLimits.objectLength }),
  detail: Type.Record(Type.String(), Type.Unknown()),
};

/** A record as it is kept, and as a page of the API holds it. */
export const AuditRecordRow = Type.Object({
  seq: Type.Integer({ minimum: 1 }),
  at: Type.Integer({ minimum: 0 }),
  ...entryFields,
  prev: Hash,
  hash: Hash,
});

const parseEntryFields = parser(Type.Object(entryFields), { code: 'ERR_REQUEST', strict: true });
const parseRow = parser(AuditRecordRow, { code: 'ERR_STORE_IO' });

/** A copy of an entry that can become a record; ERR_REQUEST naming the field that is wrong, or the size. */
export function checkedEntry(entry: AuditEntry): AuditEntry {
  const copy = parseEntryFields(JSON.parse(canonical(entry)));
  const largest = { seq: Number.MAX_SAFE_INTEGER, at: Number.MAX_SAFE_INTEGER, prev: '', hash: '' };
  const bytes = Buffer.byteLength(canonical({ ...copy, ...largest })) + 2 * 64;
  if (bytes <= recordLimits.bytes) return copy;
  const message = `/detail: a record of the audit has at most ${recordLimits.bytes} bytes, not ${bytes}`;
  throw new CodedError('ERR_REQUEST', message, { detail: { path: '/detail' } });
}

/** The record of a checked entry that follows `before`. */
export function recordAfter(before: ChainPoint, entry: AuditEntry, at: number): AuditRecord {
  const content = { ...entry, seq: before.seq + 1, at, prev: before.hash };
  return { ...content, hash: hashOf(content) };
}

/** What the hash of a record has to be, whatever it says itself. */
export function hashOf(record: Omit<AuditRecord, 'hash'>): string {
  const content = { ...record, hash: undefined };
  return createHash('sha256')
    .update(Buffer.from(record.prev, 'hex'))
    .update(canonical(content))
    .digest('hex');
}

/** A record that was read; ERR_STORE_IO naming the field that is wrong. Fields of later versions are kept. */
export function parseRecord(value: unknown): AuditRecord {
  return parseRow(value);
}

/**
 * The canonical text of a JSON value: keys in the order of their UTF-16 units, no spaces; fields that are undefined are
 * left out. ERR_REQUEST with the path of what has no such text: fractions, lone surrogates, what is no JSON.
 */
export function canonical(value: unknown): string {
  return textOf(value, '', 0);
}

function textOf(value: unknown, path: string, depth: number): string {
  if (depth > recordLimits.depth) throw refused(path, 'is nested too deep');
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw refused(path, 'is no well-formed text');
    return JSON.stringify(value);
  }
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw refused(path, 'is no whole number');
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) {
    const items = value.map((item: unknown, at) => textOf(item, `${path}/${at}`, depth + 1));
    return `[${items.join(',')}]`;
  }
  if (typeof value !== 'object') throw refused(path, 'is no JSON');
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]: [string, unknown]) => {
      const at = `${path}/${name}`;
      if (!name.isWellFormed()) throw refused(path, 'has a key that is no well-formed text');
      return `${JSON.stringify(name)}:${textOf(field, at, depth + 1)}`;
    });
  return `{${fields.join(',')}}`;
}

function refused(path: string, problem: string): CodedError {
  const where = path.slice(0, 200) || '/';
  return new CodedError('ERR_REQUEST', `${where}: ${problem}`, { detail: { path: where } });
}
