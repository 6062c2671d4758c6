import { homedir } from 'node:os';
import { formatHostPort, parseCidr, parseHostPort, parseIp } from './addresses.ts';
import type { HostPort } from './addresses.ts';
import { systemCode } from './error.ts';
import { isSecret } from './options.ts';
import type { OptionKind, OptionRecord, OptionScalar, OptionSpec } from './options.ts';
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseRate,
  parseSize,
} from './units.ts';

/** A value, or what is wrong with the text; `warning` when it is usable all the same. */
export type ParsedValue =
  | { readonly value: OptionScalar; readonly warning?: string }
  | { readonly problem: string };

// Not imported: as a module it loads the streams of files, 3 ms of every start.
const { readFileSync, statSync } = process.getBuiltinModule('node:fs');

/** A secret is a token, a key or a password; a longer file was named by mistake. */
const MAX_SECRET_BYTES = 64 * 1024;

const truths = new Map([
  ['true', true],
  ['yes', true],
  ['on', true],
  ['1', true],
  ['false', false],
  ['no', false],
  ['off', false],
  ['0', false],
]);

/** What a value of each kind looks like, for messages, help and docs. */
export const valueHelp: Readonly<Record<OptionKind, string>> = {
  string: 'text',
  integer: 'a whole number',
  size: 'a size: bytes, or with k, m, g, t as powers of 1024 (64k, 1.5g, 10GiB)',
  rate: 'bytes per second, with k, m, g as powers of 1024 (20MB/s, 512k), or decimal bits (200mbit); 0 is no limit',
  duration: 'a duration with its unit (500ms, 30s, 24h, 1h30m)',
  boolean: 'true or false',
  path: 'a path',
  ip: 'an IP address',
  url: 'an absolute http:// or https:// URL',
  hostPort: 'HOST:PORT, [IPV6]:PORT',
  cidr: 'a network such as 10.0.0.0/8 or fd00::/8, or one address',
  choice: 'one of the listed words',
  secret: 'the secret, or @FILE to read it from a file',
  record: 'a mapping in the file, a JSON object elsewhere',
};

/** Parses the text of one value, strictly. */
export function parseValue(spec: OptionSpec, text: string): ParsedValue {
  if (spec.kind === 'secret') return parseSecret(text);
  const value = scalarOf(spec, text);
  if (value === undefined) return { problem: `expected ${expectationOf(spec)}${got(spec, text)}` };
  if (typeof value === 'number' && !inBounds(spec, value)) {
    return { problem: `expected ${expectationOf(spec)}${got(spec, text)}` };
  }
  return { value };
}

/** `true`, `yes`, `on`, `1` and their opposites in any case; undefined for other text. */
export function parseBoolean(text: string): boolean | undefined {
  return truths.get(text.toLowerCase());
}

/** One value of a YAML file, which may be typed already. */
export function parseTypedValue(spec: OptionSpec, raw: unknown): ParsedValue {
  if (typeof raw === 'string') return parseValue(spec, raw);
  if (typeof raw === 'boolean' && spec.kind === 'boolean') return { value: raw };
  if (spec.kind === 'record' && isRecord(raw)) return { value: raw };
  if (typeof raw === 'number' && isNumeric(spec.kind)) return parseValue(spec, String(raw));
  if (typeof raw === 'number' || typeof raw === 'boolean') {
    return { problem: `expected ${expectationOf(spec)}; put quotes round a number that is text` };
  }
  return { problem: `expected ${expectationOf(spec)}` };
}

/** The text that `parseValue` turns back into `value`. */
export function formatValue(spec: OptionSpec, value: OptionScalar): string {
  if (typeof value === 'object') {
    return isHostPort(value) ? formatHostPort(value) : JSON.stringify(value);
  }
  if (typeof value !== 'number') return String(value);
  if (spec.kind === 'size') return formatSize(value);
  if (spec.kind === 'rate') return formatRate(value);
  return spec.kind === 'duration' ? formatDuration(value) : String(value);
}

/** What a value of this option must be, with its bounds and choices. */
export function expectationOf(spec: OptionSpec): string {
  if (spec.kind === 'choice') return `one of ${(spec.choices ?? []).join(', ')}`;
  if (spec.kind === 'hostPort' && spec.defaultPort !== undefined) {
    return `${valueHelp.hostPort} (port ${spec.defaultPort} when left out)`;
  }
  return `${valueHelp[spec.kind]}${boundsOf(spec)}`;
}

function boundsOf(spec: OptionSpec): string {
  const { min, max } = spec;
  const show = (bound: number): string => formatValue(spec, bound);
  if (min !== undefined && max !== undefined) return ` from ${show(min)} to ${show(max)}`;
  if (min !== undefined) return `, at least ${show(min)}`;
  return max === undefined ? '' : `, at most ${show(max)}`;
}

function inBounds(spec: OptionSpec, value: number): boolean {
  return value >= (spec.min ?? 0) && value <= (spec.max ?? Number.MAX_SAFE_INTEGER);
}

function scalarOf(spec: OptionSpec, text: string): OptionScalar | undefined {
  switch (spec.kind) {
    case 'integer':
      return /^-?\d{1,15}$/.test(text) ? Number(text) : undefined;
    case 'size':
      return parseSize(text);
    case 'rate':
      return parseRate(text);
    case 'duration':
      return parseDuration(text);
    case 'boolean':
      return parseBoolean(text);
    case 'hostPort':
      return parseHostPort(text, spec.defaultPort);
    case 'ip':
      return parseIp(text);
    case 'cidr':
      return parseNetwork(text);
    case 'path':
      return parsePath(text);
    case 'url':
      return /^https?:\/\/[^/]/i.test(text) && URL.canParse(text) ? text : undefined;
    case 'choice':
      return spec.choices?.includes(text) === true ? text : undefined;
    case 'record':
      return parseRecord(text);
    case 'string':
    case 'secret':
      return text;
  }
}

function parseRecord(text: string): OptionRecord | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is OptionRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isHostPort(value: HostPort | OptionRecord): value is HostPort {
  return typeof value['host'] === 'string' && typeof value['port'] === 'number';
}

function parseNetwork(text: string): string | undefined {
  const cidr = parseCidr(text);
  return cidr === undefined ? undefined : `${cidr.address}/${cidr.prefix}`;
}

function parsePath(text: string): string | undefined {
  if (text === '' || text.includes('\0')) return undefined;
  return text.startsWith('~/') ? `${homedir()}${text.slice(1)}` : text;
}

function parseSecret(text: string): ParsedValue {
  if (!text.startsWith('@'))
    return text === '' ? { problem: 'the secret is empty' } : { value: text };
  const path = parsePath(text.slice(1));
  if (path === undefined) return { problem: 'expected a file name after @' };
  try {
    const { mode, size } = statSync(path);
    if (size > MAX_SECRET_BYTES) return { problem: `${path} is too long for a secret` };
    const value = readFileSync(path, 'utf8').trim();
    if (value === '') return { problem: `${path} is empty` };
    if ((mode & 0o077) === 0) return { value };
    return { value, warning: `${path} can be read by other users; chmod 600 it` };
  } catch (error) {
    return { problem: `cannot read ${path} (${systemCode(error) ?? 'unreadable'})` };
  }
}

function got(spec: OptionSpec, text: string): string {
  if (isSecret(spec)) return '';
  return `, got ${JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)}`;
}

function isNumeric(kind: OptionKind): boolean {
  return kind === 'integer' || kind === 'size' || kind === 'rate' || kind === 'duration';
}
