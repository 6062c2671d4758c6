import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { open, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { CodedError } from '../../core/base/error.ts';
import { runCommand } from '../cluster/command.ts';
import { checkout } from '../cluster/installation.ts';
import type { Workplace } from '../cluster/workplace.ts';

/** Kinds of content that are measured. */
export const contentKinds = ['elf', 'text', 'disk', 'random', 'gzip'] as const;
export type ContentKind = (typeof contentKinds)[number];

/** What each kind is, for reports. */
export const contentWords: Readonly<Record<ContentKind, string>> = {
  elf: 'ELF binaries',
  text: 'a tar of text',
  disk: 'a raw disk image',
  random: 'random bytes',
  gzip: 'a gzip layer',
};

/** A file of one kind. */
export interface ContentFile {
  readonly kind: ContentKind;
  readonly path: string;
  /** `sha256:HEX`. */
  readonly digest: string;
}

/** Makes a file of `bytes` of each kind in the workplace. */
export async function makeContents(
  kinds: readonly ContentKind[],
  size: number,
  about: { readonly workplace: Workplace; readonly signal: AbortSignal },
): Promise<ContentFile[]> {
  const files: ContentFile[] = [];
  for (const kind of kinds) {
    const path = join(await about.workplace.subfolder('contents'), kind);
    await makers[kind](path, size, about);
    // Filled up with zeros it would be content of another kind.
    const made = await stat(path);
    if (made.size < size) {
      const message = `there are only ${made.size} bytes of ${contentWords[kind]} here`;
      throw new CodedError('ERR_INTERNAL', message);
    }
    await truncate(path, size);
    const sum = createHash('sha256');
    for await (const chunk of createReadStream(path)) sum.update(chunk as Buffer);
    files.push({ kind, path, digest: `sha256:${sum.digest('hex')}` });
  }
  return files;
}

type Maker = (
  path: string,
  size: number,
  about: { readonly workplace: Workplace; readonly signal: AbortSignal },
) => Promise<void>;

/** Shell, so that the tools' own streams are used; `$1` is the file, `$2` its size, `$3` this checkout. */
const scripts = {
  elf: 'while [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -lt "$2" ]; do cat "$4" >>"$1"; done',
  text: `{ find "$3" -name node_modules -prune -o -name .git -prune -o -type f \\( -name '*.ts' -o -name '*.md' \\) -print
           find "$3/node_modules" -type f \\( -name '*.js' -o -name '*.ts' -o -name '*.md' -o -name '*.json' \\); } |
         tar --create --no-recursion --files-from=- 2>/dev/null | head -c "$2" >"$1"`,
  disk: `folder=$(mktemp -d) && mkdir "$folder/files" && cp -r "$3/core" "$3/docs" "$folder/files/" &&
         head -c "$(($2 / 3))" "$4" >"$folder/files/program" &&
         head -c "$(($2 / 6))" /dev/urandom >"$folder/files/noise" &&
         PATH="/usr/sbin:$PATH" mke2fs -q -t ext4 -d "$folder/files" "$1" "$(($2 / 1024))k"; rm -rf "$folder"`,
};

async function byScript(
  script: keyof typeof scripts,
  made: { readonly path: string; readonly size: number },
  { workplace, signal }: { readonly workplace: Workplace; readonly signal: AbortSignal },
): Promise<void> {
  const { guard, env } = workplace;
  const words = [made.path, String(made.size), checkout, process.execPath];
  const argv = ['sh', '-ec', scripts[script], script, ...words];
  const { exitCode, stderr } = await runCommand(argv, { guard, env, signal });
  if (exitCode !== 0) throw new Error(`${script}: ${stderr}`);
}

const makers: Readonly<Record<ContentKind, Maker>> = {
  elf: async (path, size, about) => byScript('elf', { path, size }, about),
  text: async (path, size, about) => byScript('text', { path, size }, about),
  disk: async (path, size, about) => byScript('disk', { path, size }, about),
  random: async (path, size) => {
    await using file = await open(path, 'w');
    for (let written = 0; written < size; written += 1_048_576) {
      await file.write(randomBytes(Math.min(1_048_576, size - written)));
    }
  },
  gzip: async (path, size, about) => {
    // More than enough: gzip at its fastest makes less than a third of programs rarely.
    const raw = `${path}.raw`;
    await byScript('elf', { path: raw, size: 4 * size }, about);
    await pipeline(createReadStream(raw), createGzip({ level: 1 }), createWriteStream(path));
    await rm(raw);
  },
};
