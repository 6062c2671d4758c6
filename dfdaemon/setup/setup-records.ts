/**
 * What was set up, one file per client, readable by its owner alone: former texts may hold passwords, and whoever
 * could write here would decide what `--undo` writes. So the folder must be the caller's own.
 */
import { createHash } from 'node:crypto';
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { ClientName } from './client-setup.ts';
import { FileEdit } from './file-edit.ts';
import type { MachineFiles } from './machine-files.ts';

/** One file that was changed. */
const FileRecord = Type.Object({
  path: Type.String(),
  /** Null: there was no such file. */
  before: Type.Union([Type.String(), Type.Null()]),
  /** Hex, of the text that was written. */
  afterSha256: Type.String(),
  edits: Type.Array(FileEdit),
  /** Made for it, outermost first. */
  folders: Type.Array(Type.String()),
});
export type FileRecord = Static<typeof FileRecord>;

/** What setting up one client did. */
const SetupRecord = Type.Object({
  v: Type.Literal(1),
  address: Type.String(),
  registries: Type.Array(Type.String()),
  /** What makes the client read its files again once they are as before. */
  undoCommands: Type.Array(Type.String()),
  files: Type.Array(FileRecord),
});
export type SetupRecord = Static<typeof SetupRecord>;
const parse = parser(SetupRecord, { code: 'ERR_STORE_IO' });

/** The records of one root, or of one user. */
export class SetupRecords {
  readonly #files: MachineFiles;
  readonly #folder: string;
  readonly #uid: number;

  /** `folder` as seen from the root of `files`. */
  constructor(files: MachineFiles, folder: string, uid: number) {
    this.#files = files;
    this.#folder = folder;
    this.#uid = uid;
  }

  /** Undefined when the client is not set up. */
  async read(client: ClientName): Promise<SetupRecord | undefined> {
    if (!(await this.#isThere())) return undefined;
    const path = this.#pathOf(client);
    const text = await this.#files.read(path);
    if (text === undefined) return undefined;
    try {
      const value: unknown = JSON.parse(text);
      return parse(value);
    } catch (cause) {
      throw new CodedError('ERR_STORE_IO', `${path}: is no record of this version`, { cause });
    }
  }

  async write(client: ClientName, record: SetupRecord): Promise<void> {
    if (!(await this.#isThere())) await this.#files.makeFolder(this.#folder, { mode: 0o700 });
    const text = `${JSON.stringify(record, undefined, 2)}\n`;
    await this.#files.write(this.#pathOf(client), text, { mode: 0o600 });
  }

  async remove(client: ClientName): Promise<void> {
    await this.#files.remove(this.#pathOf(client));
  }

  /** Keeps a text that is about to be lost; where it is now. */
  async keep(client: ClientName, text: string): Promise<string> {
    const path = join(this.#folder, `${client}-${sha256(text).slice(0, 8)}.kept`);
    await this.#files.write(path, text, { mode: 0o600 });
    return path;
  }

  #pathOf(client: ClientName): string {
    return join(this.#folder, `${client}.json`);
  }

  /** Throws ERR_STORE_IO when others could have written what is in it. */
  async #isThere(): Promise<boolean> {
    try {
      const facts = await lstat(join(this.#files.root, this.#folder));
      const isOurs = facts.isDirectory() && facts.uid === this.#uid && (facts.mode & 0o022) === 0;
      if (isOurs) return true;
    } catch (cause) {
      if (systemCode(cause) === 'ENOENT') return false;
      const why = systemCode(cause) ?? 'unknown';
      throw new CodedError('ERR_STORE_IO', `cannot look at ${this.#folder} (${why})`, { cause });
    }
    const message = `${this.#folder}: is not a folder that this user alone may write to, so what it says is not used`;
    throw new CodedError('ERR_STORE_IO', message);
  }
}

/** Hex. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
