/**
 * Rows of the journal. `task/<taskId>-<version>` holds everything of a task but its digests and is rewritten
 * whole at each change; `manifest/<taskId>-<version>/<sequence>` holds signed batches and is written once,
 * together with the task's row, which states the sequences.
 */
import { Buffer } from 'node:buffer';
import { Bitfield } from '../piece/bitfield.ts';
import type { Validators } from '../piece/version.ts';
import { isRowRuns } from './row-runs.ts';
import type { RowRuns } from './row-runs.ts';
import { withoutSum, withSum } from './row-sum.ts';

/** A task as the journal has it. */
export interface TaskRow {
  readonly taskId: string;
  readonly version: string;
  readonly pieceLength: number;
  readonly length: number | undefined;
  readonly url: string | undefined;
  readonly scope: string | undefined;
  readonly isPrivate: boolean;
  readonly validators: Validators;
  readonly wholeDigest: string | undefined;
  readonly isManifestFinal: boolean;
  /** Numbers of its manifest rows; kept here so that opening need not read those. */
  readonly manifestRows: RowRuns;
  readonly createdMs: number;
  readonly accessedMs: number;
  /** The data file when it was found complete. */
  readonly sealed: SealedFile | undefined;
  /** The data file of an incomplete task when its last user was gone; undefined while somebody may write to it. */
  readonly rested: SealedFile | undefined;
  /** Not evicted before this wall time, ms; undefined: whenever there is need. */
  readonly keptUntilMs: number | undefined;
  /** Boot under which bytes were last written and may not be on the platter yet; undefined: they are. */
  readonly boot: string | undefined;
  /** True when the bytes have to be hashed before anybody may rely on them. */
  readonly isSuspect: boolean;
  /** One bit a piece, as of `Bitfield`; trailing zero bytes are left out. */
  readonly had: Uint8Array;
}

/** What a data file looked like; another value means that somebody edited it, or put another in its place. */
export interface SealedFile {
  readonly size: number;
  readonly mtimeMs: number;
  /** Undefined in rows of format 1. */
  readonly inode?: number | undefined;
}

/** Digests that one signed envelope states. */
export interface StoredBatch {
  /** The envelope as received. */
  readonly batch: string;
  /** Peer id of the host that vouched for a provisional batch; undefined: signed by the cell. */
  readonly signer: string | undefined;
  readonly entries: readonly ManifestEntry[];
}

/** The digest (64 hex digits, sha256) of one piece. */
export interface ManifestEntry {
  readonly index: number;
  readonly digest: string;
}

export const TASK_PREFIX = 'task/';
export const MANIFEST_PREFIX = 'manifest/';
const ROW_VERSION = 1;
/** 16 TiB at the largest piece length; bounds the bitfield that a row or a manifest can ask for. */
export const MAX_PIECES = 1024 * 1024;
/** Pieces that content of unknown length may have: 256 GiB at 4 MiB, 8 KiB of shared memory. */
export const UNKNOWN_LENGTH_PIECES = 64 * 1024;
const NAME = /^([0-9a-f]{64})-([0-9a-f]{16})$/;
const DIGEST = /^[0-9a-f]{64}$/;

/** The name of a task in keys and file names: `<taskId>-<version>`. */
export function taskName(task: { readonly taskId: string; readonly version: string }): string {
  return `${task.taskId}-${task.version}`;
}

/** True for `<64 hex>-<16 hex>`, and so safe as a file name. */
export function isTaskName(name: string): boolean {
  return NAME.test(name);
}

export function taskKey(name: string): string {
  return TASK_PREFIX + name;
}

export function manifestKey(name: string, sequence: number): string {
  return `${MANIFEST_PREFIX}${name}/${String(sequence).padStart(10, '0')}`;
}

/** Takes a key of a manifest row apart; undefined when it is none. */
export function parseManifestKey(key: string): { name: string; sequence: number } | undefined {
  const match = /^manifest\/([^/]+)\/(\d{10})$/.exec(key);
  const [, name, digits] = match ?? [];
  if (name === undefined || digits === undefined || !isTaskName(name)) return undefined;
  return { name, sequence: Number(digits) };
}

/** How many bits a task's bitfield has. */
export function bitCapacity(task: {
  readonly length: number | undefined;
  readonly pieceLength: number;
}): number {
  if (task.length === undefined) return UNKNOWN_LENGTH_PIECES;
  return Math.ceil(task.length / task.pieceLength);
}

export function encodeTaskRow(row: TaskRow): string {
  let end = row.had.length;
  while (end > 0 && row.had[end - 1] === 0) end -= 1;
  const had = Buffer.from(row.had.subarray(0, end)).toString('base64');
  return withSum(taskKey(taskName(row)), JSON.stringify({ v: ROW_VERSION, ...row, had }));
}

/** The row under `key`; undefined when anything in it is not as `encodeTaskRow` writes it. */
export function parseTaskRow(key: string, text: string): TaskRow | undefined {
  const value = parseObject(key, text);
  if (value === undefined) return undefined;
  const field = new Fields(value);
  const row = {
    taskId: field.text('taskId'),
    version: field.text('version'),
    pieceLength: field.count('pieceLength'),
    length: field.optional('length', isCount),
    url: field.optional('url', isText),
    scope: field.optional('scope', isText),
    isPrivate: field.flag('isPrivate'),
    validators: field.validators(),
    wholeDigest: field.optional('wholeDigest', isText),
    isManifestFinal: field.flag('isManifestFinal'),
    manifestRows: field.rowRuns('manifestRows'),
    createdMs: field.count('createdMs'),
    accessedMs: field.count('accessedMs'),
    sealed: field.file('sealed'),
    rested: field.file('rested'),
    keptUntilMs: field.optional('keptUntilMs', isCount),
    boot: field.optional('boot', isText),
    isSuspect: field.flag('isSuspect'),
    had: field.bytes('had'),
  };
  if (!field.isWhole || taskKey(taskName(row)) !== key || !isTaskName(taskName(row)))
    return undefined;
  if (row.pieceLength < 1 || bitCapacity(row) > MAX_PIECES) return undefined;
  return row.had.length <= Math.ceil(bitCapacity(row) / 8) ? row : undefined;
}

/** The bits of a row as a set; bits past the last piece are dropped. */
export function bitsOfRow(row: TaskRow): Bitfield {
  const capacity = bitCapacity(row);
  const bytes = new Uint8Array(Math.ceil(capacity / 8));
  bytes.set(row.had);
  return new Bitfield(capacity, bytes);
}

export function encodeBatches(key: string, batches: readonly StoredBatch[]): string {
  const plain = batches.map(({ batch, signer, entries }) => ({
    batch,
    signer,
    entries: entries.map(({ index, digest }) => [index, digest]),
  }));
  return withSum(key, JSON.stringify({ v: ROW_VERSION, batches: plain }));
}

/** The batches of the manifest row under `key`; undefined when anything in it is malformed. */
export function parseBatches(key: string, text: string): StoredBatch[] | undefined {
  const batches = parseObject(key, text)?.['batches'];
  if (!Array.isArray(batches)) return undefined;
  const parsed: StoredBatch[] = [];
  for (const value of batches) {
    const batch = parseBatch(value);
    if (batch === undefined) return undefined;
    parsed.push(batch);
  }
  return parsed;
}

/** True for a digest of a piece at an index that a task can have. */
export function isManifestEntry(entry: {
  readonly index: unknown;
  readonly digest: unknown;
}): entry is ManifestEntry {
  const { index, digest } = entry;
  return isCount(index) && index < MAX_PIECES && isText(digest) && DIGEST.test(digest);
}

function parseBatch(value: unknown): StoredBatch | undefined {
  if (!isObject(value)) return undefined;
  const { batch, signer, entries } = value;
  if (!isText(batch) || !Array.isArray(entries)) return undefined;
  if (signer !== undefined && !isText(signer)) return undefined;
  const parsed: ManifestEntry[] = [];
  for (const pair of entries) {
    const entry = Array.isArray(pair) ? { index: pair[0], digest: pair[1] } : undefined;
    if (entry === undefined || !isManifestEntry(entry)) return undefined;
    parsed.push(entry);
  }
  return { batch, signer, entries: parsed };
}

/** Reads fields and remembers whether one was not what it should be. */
class Fields {
  isWhole = true;
  readonly #value: Readonly<Record<string, unknown>>;

  constructor(value: Readonly<Record<string, unknown>>) {
    this.#value = value;
  }

  text(name: string): string {
    return this.#required(name, isText, '');
  }

  count(name: string): number {
    return this.#required(name, isCount, 0);
  }

  rowRuns(name: string): RowRuns {
    return this.#required(name, isRowRuns, []);
  }

  flag(name: string): boolean {
    return this.#required(name, (value) => typeof value === 'boolean', false);
  }

  bytes(name: string): Uint8Array {
    const text = this.text(name);
    const bytes = Buffer.from(text, 'base64');
    // `Buffer` skips what is not base64, and would shift every bit after it.
    if (bytes.toString('base64') !== text) this.isWhole = false;
    return bytes;
  }

  optional<T>(name: string, is: (value: unknown) => value is T): T | undefined {
    const value = this.#value[name];
    if (value === undefined || is(value)) return value;
    this.isWhole = false;
    return undefined;
  }

  validators(): Validators {
    const value = this.#required('validators', isObject, {});
    const inner = new Fields(value);
    const etag = inner.optional('etag', isText);
    const lastModified = inner.optional('lastModified', isText);
    this.isWhole &&= inner.isWhole;
    return {
      ...(etag === undefined ? {} : { etag }),
      ...(lastModified === undefined ? {} : { lastModified }),
    };
  }

  file(name: string): SealedFile | undefined {
    const value = this.optional(name, isObject);
    if (value === undefined) return undefined;
    const { size, mtimeMs, inode } = value;
    const isInode = inode === undefined || typeof inode === 'number';
    if (isCount(size) && typeof mtimeMs === 'number' && isInode) {
      return { size, mtimeMs, ...(inode === undefined ? {} : { inode }) };
    }
    this.isWhole = false;
    return undefined;
  }

  #required<T>(name: string, is: (value: unknown) => value is T, fallback: T): T {
    const value = this.#value[name];
    if (is(value)) return value;
    this.isWhole = false;
    return fallback;
  }
}

function parseObject(key: string, text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(withoutSum(key, text) ?? '');
    return isObject(value) && value['v'] === ROW_VERSION ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && typeof value === 'number' && value >= 0;
}
