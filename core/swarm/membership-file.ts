import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Type } from 'typebox';
import { CodedError, systemCode } from '../base/error.ts';
import { Membership } from '../wire/messages.ts';
import { parser } from '../wire/parse-message.ts';

const StoredMembership = Type.Object({
  v: Type.Literal(1),
  cell: Type.String(),
  membership: Membership,
});
const parse = parser(StoredMembership, { code: 'ERR_KEY_FILE' });

/** What a host keeps of its cell between runs. */
export interface KnownCell {
  readonly cell: string;
  readonly membership: Membership;
}

/** The file in which a host keeps what it knows of its cell; the only writer of it. */
export class MembershipFile {
  readonly #path: string;
  /** What is to be written next, and who waits for that: what came before it and was not begun is left out. */
  #next: { readonly known: KnownCell; readonly written: Promise<void> } | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(path: string) {
    this.#path = path;
  }

  /** What an earlier run learned when it joined; undefined when there is nothing. */
  async read(): Promise<KnownCell | undefined> {
    try {
      const { cell, membership } = parse(JSON.parse(await readFile(this.#path, 'utf8')));
      return { cell, membership };
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw new CodedError('ERR_KEY_FILE', `cannot use ${this.#path}: remove it and join again`, {
        cause: error,
      });
    }
  }

  /** Writes it whole or not at all, readable by this user only; resolves when this or something newer is there. */
  async write(known: KnownCell): Promise<void> {
    const written = this.#next?.written ?? this.#last.then(async () => this.#writeNext());
    this.#next = { known, written };
    this.#last = written.catch(() => undefined);
    return written;
  }

  async #writeNext(): Promise<void> {
    const known = this.#next?.known;
    this.#next = undefined;
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const temporary = `${this.#path}.new`;
    await writeFile(temporary, JSON.stringify({ v: 1, ...known }), { mode: 0o600 });
    await rename(temporary, this.#path);
  }
}
