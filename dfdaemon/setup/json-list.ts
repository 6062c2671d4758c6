/** Lists of strings in a JSON object: order, indentation and everything else of the file are kept. */
import { CodedError } from '../../core/base/error.ts';
import type { Edited } from './file-edit.ts';

/** Puts `item` first in the list `key`; throws ERR_CLIENT_CONFIG naming `path` when the file has no place for it. */
export function withJsonItem(
  before: string | undefined,
  where: { readonly path: string; readonly key: string; readonly item: string },
): Edited {
  const { path, key, item } = where;
  const text = before ?? '';
  const object = text.trim() === '' ? {} : parseObject(text);
  if (object === undefined) throw refusal(`${path}: expected a JSON object`);
  const list = object[key] ?? [];
  if (!isStrings(list)) throw refusal(`${path}: ${key}: expected a list of strings`);
  if (list.some((other) => withoutSlash(other) === item)) return { text, edits: [] };
  const next = { ...object, [key]: [item, ...list] };
  const isOurList = object[key] === undefined;
  return { text: render(next, text), edits: [{ kind: 'json-item', key, item, isOurList }] };
}

/** The text without the item; undefined when it is no JSON object any more. */
export function withoutJsonItem(
  text: string,
  edit: { readonly key: string; readonly item: string; readonly isOurList: boolean },
): string | undefined {
  const { key, item, isOurList } = edit;
  if (text.trim() === '') return text;
  const object = parseObject(text);
  if (object === undefined) return undefined;
  const list = object[key];
  if (!isStrings(list) || !list.includes(item)) return text;
  const rest = list.filter((other) => other !== item);
  const { [key]: _, ...others } = object;
  return render(rest.length === 0 && isOurList ? others : { ...object, [key]: rest }, text);
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

/** As the file was written: its indentation, and its last line ended or not. */
function render(value: object, like: string): string {
  const indent = /\n([ \t]+)"/.exec(like)?.[1] ?? '  ';
  const end = like === '' || like.endsWith('\n') ? '\n' : '';
  return `${JSON.stringify(value, undefined, indent)}${end}`;
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function withoutSlash(url: string): string {
  return url.endsWith('/') ? url.slice(0, -1) : url;
}

function refusal(message: string): CodedError {
  return new CodedError('ERR_CLIENT_CONFIG', message);
}
