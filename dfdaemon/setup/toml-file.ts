/**
 * Changes a few lines of a TOML file and leaves the rest, comments too, as it is. Lines are found by their form, which
 * text within a multi-line string may imitate: so the result is parsed, and must say what the file said before and
 * the wanted change, nothing else.
 */
import { isDeepStrictEqual } from 'node:util';
import { TomlError, parse } from 'smol-toml';
import { CodedError } from '../../core/base/error.ts';
import { appendLines, replaceLines } from './file-edit.ts';
import type { Edited } from './file-edit.ts';

/** A parsed table. */
export type TomlObject = Record<string, unknown>;

/** The line that opens a table: `[a."b".c]` or `[[a]]`. */
export interface TableHeader {
  readonly keys: readonly string[];
  readonly isArray: boolean;
  /** Of the line, and of the one after it. */
  readonly start: number;
  readonly end: number;
}

/** Throws ERR_CLIENT_CONFIG naming the file and the line. */
export function parseToml(text: string, path: string): TomlObject {
  try {
    return parse(text);
  } catch (error) {
    const why = error instanceof TomlError ? `line ${error.line}: not TOML` : 'not TOML';
    throw new CodedError('ERR_CLIENT_CONFIG', `${path}: ${why}`, { cause: error });
  }
}

/** What is at `keys`; undefined when there is nothing. */
export function valueAt(object: TomlObject, keys: readonly string[]): unknown {
  return keys.reduce<unknown>((value, key) => (isObject(value) ? value[key] : undefined), object);
}

/** True for a table. */
export function isObject(value: unknown): value is TomlObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `text` as a string of TOML. */
export function tomlString(text: string): string {
  return JSON.stringify(text);
}

/** The headers of the file, from top to bottom. */
export function tableHeaders(text: string): readonly TableHeader[] {
  const lines = text.matchAll(/^[ \t]*(\[{1,2})([^\n]*?)\]{1,2}[ \t]*(?:#[^\n]*)?\r?$/gm);
  return [...lines].flatMap((line) => {
    const keys = keysOf(line[2] ?? '');
    const lineEnd = line.index + line[0].length;
    const end = Math.min(text.length, lineEnd + 1);
    return keys === undefined ? [] : [{ keys, isArray: line[1] === '[[', start: line.index, end }];
  });
}

/** Sets a string in a table that may not be there yet; it must be unset or empty now. */
export function setTomlString(
  text: string,
  place: { readonly path: string; readonly table: readonly string[]; readonly key: string },
  value: string,
): Edited {
  const { path, table, key } = place;
  const line = `${key} = ${tomlString(value)}`;
  const edited = placeLine(text, { table, key, line });
  const expected = parseToml(text, path);
  setAt(expected, [...table, key], value);
  checkResult(edited.text, { expected, path, wish: `${line} in [${table.join('.')}]` });
  return edited;
}

/** Throws ERR_CLIENT_CONFIG unless the text says exactly what is expected. */
export function checkResult(
  text: string,
  about: { readonly expected: TomlObject; readonly path: string; readonly wish: string },
): void {
  const { expected, path, wish } = about;
  try {
    if (isDeepStrictEqual(plain(parse(text)), plain(expected))) return;
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
  }
  throw new CodedError(
    'ERR_CLIENT_CONFIG',
    `${path}: there is no safe place for it; write ${wish}`,
  );
}

function placeLine(
  text: string,
  { table, key, line }: { table: readonly string[]; key: string; line: string },
): Edited {
  const headers = tableHeaders(text);
  const at = headers.findIndex(({ keys, isArray }) => !isArray && isDeepStrictEqual(keys, table));
  const header = headers[at];
  if (header === undefined) {
    const name = table.map((word) => (/^[\w-]+$/.test(word) ? word : tomlString(word))).join('.');
    return appendLines(text, { block: `[${name}]\n  ${line}\n`, mark: line });
  }
  const bodyEnd = headers[at + 1]?.start ?? text.length;
  const body = text.slice(header.end, bodyEnd);
  const empty = emptyLine(body, key);
  const head = text.slice(header.start, header.end).replace(/\n?$/, '\n');
  const indent = `${/^[ \t]*/.exec(head)?.[0] ?? ''}  `;
  // From the header on, which is there once: so that it can be found again.
  if (empty === undefined) {
    const block = `${head}${indent}${line}\n`;
    return replaceLines(text, { start: header.start, end: header.end }, { block, mark: line });
  }
  const end = header.end + empty.end;
  const block = `${head}${body.slice(0, empty.start)}${empty.indent}${line}${empty.rest}`;
  return replaceLines(text, { start: header.start, end }, { block, mark: line });
}

/** The line that sets the key to an empty string. */
function emptyLine(
  body: string,
  key: string,
): { start: number; end: number; indent: string; rest: string } | undefined {
  const found = new RegExp(
    String.raw`^([ \t]*)${key}[ \t]*=[ \t]*(?:""|'')([ \t]*(?:#.*)?)$`,
    'm',
  ).exec(body);
  if (found === null) return undefined;
  const lineEnd = found.index + found[0].length;
  const end = Math.min(body.length, lineEnd + 1);
  return { start: found.index, end, indent: found[1] ?? '', rest: `${found[2] ?? ''}\n` };
}

/** `a."b.c".'d'` in its parts; undefined when it is no key. */
function keysOf(text: string): readonly string[] | undefined {
  const keys: string[] = [];
  const part = /\s*(?:([A-Za-z0-9_-]+)|"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(\.|$)/y;
  while (part.lastIndex < text.length) {
    const found = part.exec(text);
    if (found === null) return undefined;
    const [, bare, basic, literal, end] = found;
    keys.push(bare ?? literal ?? unescaped(basic ?? ''));
    if (end === '') return keys;
  }
  return undefined;
}

function unescaped(text: string): string {
  const value: unknown = parse(`x = "${text}"`)['x'];
  return typeof value === 'string' ? value : text;
}

function setAt(object: TomlObject, keys: readonly string[], value: unknown): void {
  const [key = '', ...rest] = keys;
  if (rest.length === 0) {
    object[key] = value;
    return;
  }
  const inner = object[key];
  const next = isObject(inner) ? inner : {};
  object[key] = next;
  setAt(next, rest, value);
}

/** Tables without their prototypes' differences, dates as text. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? String(item) : item)),
  );
}
