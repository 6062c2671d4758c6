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

/** Reads what an earlier run learned when it joined; undefined when there is nothing. */
export async function readMembership(file: string): Promise<KnownCell | undefined> {
  try {
    const { cell, membership } = parse(JSON.parse(await readFile(file, 'utf8')));
    return { cell, membership };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw new CodedError('ERR_KEY_FILE', `cannot use ${file}: remove it and join again`, {
      cause: error,
    });
  }
}

/** Writes it whole or not at all, readable by this user only. */
export async function writeMembership(file: string, known: KnownCell): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}.new`;
  const text = JSON.stringify({ v: 1, ...known });
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, file);
}
