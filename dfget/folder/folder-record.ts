import type { BigIntStats } from 'node:fs';
import { constants, open, rename, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Validators } from '../../core/piece/version.ts';

/** What was put in place for one path of the folder. */
export interface KeptFile {
  readonly path: string;
  /** Where it came from, without secrets. */
  readonly source: string;
  /** Of the content, as the mesh counts it. */
  readonly version: string;
  /** What its listing told one content from the next by. */
  readonly listed?: string;
  /** Of the file as it was when it was put in place. */
  readonly state: string;
}

/** Its name in the folder; no file of an origin may have it. */
export const RECORD_NAME = '.dfget-folder';

const MAX_RECORD_BYTES = 256 * 1024 * 1024;

/**
 * What an earlier run put into a folder, so that the next one need not do it again: one JSON line for each file, the
 * last counts. What cannot be read counts as not there. No secret is in it.
 */
export class FolderRecord implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #kept: ReadonlyMap<string, KeptFile>;
  #writes: Promise<void> = Promise.resolve();

  private constructor(file: FileHandle, kept: ReadonlyMap<string, KeptFile>) {
    this.#file = file;
    this.#kept = kept;
  }

  /** Throws ERR_OUTPUT_UNWRITABLE. */
  static async open(folder: string): Promise<FolderRecord> {
    const path = join(folder, RECORD_NAME);
    try {
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND;
      const file = await open(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o644);
      const { kept, lines } = await readLines(file);
      if (lines <= 2 * kept.size + 100) return new FolderRecord(file, kept);
      await file.close();
      return new FolderRecord(await rewritten(path, kept), kept);
    } catch (error) {
      const code = systemCode(error);
      if (error instanceof CodedError || code === undefined) throw error;
      throw new CodedError('ERR_OUTPUT_UNWRITABLE', `cannot write ${path}: ${code}`, {
        cause: error,
        detail: { output: path },
      });
    }
  }

  /** What was put at `path` from `source`, if that is what lies there still. */
  intact(path: string, source: string, found: BigIntStats | undefined): KeptFile | undefined {
    const kept = this.#kept.get(path);
    if (kept === undefined || found === undefined) return undefined;
    return kept.source === source && kept.state === stateOf(found) ? kept : undefined;
  }

  /** Notes what is in place now, unless that is known. */
  async add(kept: KeptFile): Promise<void> {
    if (isDeepStrictEqual(this.#kept.get(kept.path), kept)) return;
    const line = `${JSON.stringify(kept)}\n`;
    this.#writes = this.#writes.then(async () => void (await this.#file.write(line)));
    await this.#writes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writes.catch(() => undefined);
    await this.#file.close();
  }
}

/** What changes when somebody else writes to the file, or puts another in its place. */
export function stateOf({ size, mtimeNs, ino }: BigIntStats): string {
  return `${size}/${mtimeNs}/${ino}`;
}

/** What a listing says of the version, as text that can be compared; undefined when it says too little. */
export function listedVersion(
  validators: Validators | undefined,
  length: number | undefined,
): string | undefined {
  const { etag, lastModified } = validators ?? {};
  if (etag !== undefined && !etag.startsWith('W/')) return JSON.stringify([etag, length ?? null]);
  if (lastModified === undefined || length === undefined) return undefined;
  return JSON.stringify([etag ?? null, lastModified, length]);
}

async function readLines(
  file: FileHandle,
): Promise<{ kept: ReadonlyMap<string, KeptFile>; lines: number }> {
  const kept = new Map<string, KeptFile>();
  const { size } = await file.stat();
  if (size > MAX_RECORD_BYTES) return { kept, lines: Number.POSITIVE_INFINITY };
  let lines = 0;
  for (const line of (await file.readFile('utf8')).split('\n')) {
    lines += 1;
    const entry = parseLine(line);
    if (entry !== undefined) kept.set(entry.path, entry);
  }
  return { kept, lines };
}

async function rewritten(path: string, kept: ReadonlyMap<string, KeptFile>): Promise<FileHandle> {
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  const file = await open(
    temporary,
    constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_APPEND,
    0o644,
  );
  for (const entry of kept.values()) await file.write(`${JSON.stringify(entry)}\n`);
  await rename(temporary, path);
  return file;
}

function parseLine(line: string): KeptFile | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isKeptFile(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isKeptFile(value: unknown): value is KeptFile {
  if (typeof value !== 'object' || value === null) return false;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const isListed = fields['listed'] === undefined || typeof fields['listed'] === 'string';
  return (
    isListed &&
    ['path', 'source', 'version', 'state'].every((name) => typeof fields[name] === 'string')
  );
}
