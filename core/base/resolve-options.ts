import { CodedError } from './error.ts';
import type { ErrorCode } from './error-codes.ts';
import { nearest } from './did-you-mean.ts';
import { parseBoolean, parseTypedValue, parseValue } from './option-values.ts';
import type { ParsedValue } from './option-values.ts';
import { camelCase, commonOptions, environmentName } from './options.ts';
import type { OptionScalar, OptionSpec, OptionTable, OptionValues } from './options.ts';

/** A flag of the command line: the option it stands for, how it was spelled, and its text. */
export interface GivenFlag {
  readonly name: string;
  readonly spelled: string;
  readonly value: string | boolean;
}

/** A parsed configuration file. */
export interface ConfigFile {
  readonly path: string;
  readonly entries: Readonly<Record<string, unknown>>;
}

/** The environment of the process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Everything a value may come from. */
export interface OptionInputs {
  readonly flags: readonly GivenFlag[];
  readonly env: Environment;
  readonly file?: ConfigFile | undefined;
}

/** Which of the inputs a value came from, and its name there. */
export interface OptionOrigin {
  readonly kind: 'flag' | 'environment' | 'file' | 'default' | 'unset';
  readonly where: string;
}

/** One option with the value in force. */
export interface ResolvedOption {
  readonly name: string;
  readonly spec: OptionSpec;
  readonly value: OptionScalar | readonly OptionScalar[] | undefined;
  readonly origin: OptionOrigin;
}

/** All options of a table, in its order, and what a person should be told. */
export interface ResolvedOptions {
  readonly options: readonly ResolvedOption[];
  readonly warnings: readonly string[];
}

/** Texts or typed values of one option, before parsing. */
interface RawOption {
  readonly items: readonly unknown[];
  readonly origin: OptionOrigin;
}

/** Applies flag over environment over file over default; throws ERR_USAGE or ERR_CONFIG naming the culprit. */
export function resolveOptions(table: OptionTable, inputs: OptionInputs): ResolvedOptions {
  if (inputs.file !== undefined) refuseUnknownKeys(table, inputs.file);
  const warnings: string[] = [];
  const options = Object.entries(table).map(([name, spec]) => {
    const raw =
      fromFlags(name, inputs.flags) ??
      fromEnvironment({ name, spec }, inputs.env) ??
      fromFile({ name, spec }, inputs.file) ??
      fromDefault(spec);
    return parseOption({ name, spec }, raw, warnings);
  });
  return { options, warnings };
}

/** The values by camelCase name; throws ERR_USAGE when a required one is missing. */
export function optionValues<const Table extends OptionTable>(
  table: Table,
  resolved: ResolvedOptions,
): OptionValues<Table> {
  const values: Record<string, unknown> = {};
  for (const { name, spec, value } of resolved.options) {
    if (value === undefined && spec.required === true) {
      throw new CodedError(
        'ERR_USAGE',
        `--${name} is required (or ${environmentName(name)}, or ${name}: in the file of --config)`,
        { detail: { option: name } },
      );
    }
    values[camelCase(name)] = value;
  }
  if (!hasAllValues(values, table)) throw new TypeError('options of another table');
  return values;
}

function hasAllValues<Table extends OptionTable>(
  values: object,
  table: Table,
): values is OptionValues<Table> {
  return Object.keys(table).every((name) => Object.hasOwn(values, camelCase(name)));
}

function fromFlags(name: string, flags: readonly GivenFlag[]): RawOption | undefined {
  const given = flags.filter((flag) => flag.name === name);
  const last = given.at(-1);
  if (last === undefined) return undefined;
  return {
    items: given.map((flag) => flag.value),
    origin: { kind: 'flag', where: last.spelled },
  };
}

function fromEnvironment(
  option: { name: string; spec: OptionSpec },
  env: Environment,
): RawOption | undefined {
  const { name, spec } = option;
  const where = environmentName(name);
  const origin: OptionOrigin = { kind: 'environment', where };
  const text = env[where];
  // Empty means not set: the only way to unset a variable in many unit files and manifests.
  if (text !== undefined && text !== '') {
    if (spec.list !== true) return { items: [text], origin };
    const items = text.split(spec.separator ?? ',').map((item) => item.trim());
    return { items: items.filter((item) => item !== ''), origin };
  }
  if (spec.kind !== 'boolean') return undefined;
  const negated = environmentName(`no-${name}`);
  const negative = env[negated];
  if (negative === undefined || negative === '') return undefined;
  return { items: [negate(negative)], origin: { kind: 'environment', where: negated } };
}

function fromFile(
  option: { name: string; spec: OptionSpec },
  file: ConfigFile | undefined,
): RawOption | undefined {
  if (file === undefined) return undefined;
  const { name, spec } = option;
  const originOf = (key: string): OptionOrigin => ({ kind: 'file', where: `${file.path}: ${key}` });
  if (Object.hasOwn(file.entries, name)) {
    const raw = file.entries[name];
    return {
      items: spec.list === true && Array.isArray(raw) ? raw : [raw],
      origin: originOf(name),
    };
  }
  const negated = `no-${name}`;
  if (spec.kind !== 'boolean' || !Object.hasOwn(file.entries, negated)) return undefined;
  return { items: [negate(file.entries[negated])], origin: originOf(negated) };
}

function fromDefault(spec: OptionSpec): RawOption {
  if (spec.default !== undefined) {
    const items = typeof spec.default === 'object' ? spec.default : [spec.default];
    return { items, origin: { kind: 'default', where: 'default' } };
  }
  const items = spec.kind === 'boolean' && spec.list !== true ? [false] : [];
  return { items, origin: { kind: items.length > 0 ? 'default' : 'unset', where: 'default' } };
}

function parseOption(
  option: { name: string; spec: OptionSpec },
  raw: RawOption,
  warnings: string[],
): ResolvedOption {
  const { spec } = option;
  const { origin } = raw;
  const isList = spec.list === true;
  // The last of a repeated flag counts, as everywhere; a list takes all.
  const items = isList ? raw.items : raw.items.slice(-1);
  const values = items.map((item) => {
    const parsed = parseItem(spec, item, origin);
    if ('problem' in parsed) throw refusal(option.name, origin, parsed.problem);
    if (parsed.warning !== undefined) warnings.push(`${origin.where}: ${parsed.warning}`);
    return parsed.value;
  });
  return { ...option, value: isList ? values : values[0], origin };
}

function parseItem(spec: OptionSpec, item: unknown, origin: OptionOrigin): ParsedValue {
  if (typeof item === 'boolean' && spec.kind === 'boolean') return { value: item };
  if (origin.kind === 'file' || origin.kind === 'default') return parseTypedValue(spec, item);
  return parseValue(spec, String(item));
}

function refusal(name: string, origin: OptionOrigin, problem: string): CodedError {
  const code: ErrorCode = origin.kind === 'flag' ? 'ERR_USAGE' : 'ERR_CONFIG';
  return new CodedError(code, `${origin.where}: ${problem}`, {
    detail: { option: name, source: origin.kind },
  });
}

function refuseUnknownKeys(table: OptionTable, file: ConfigFile): void {
  const known = new Set<string>();
  const aliases = new Map<string, string>();
  for (const [name, spec] of Object.entries(table)) {
    known.add(name);
    if (spec.kind === 'boolean') known.add(`no-${name}`);
    for (const alias of spec.aliases ?? []) aliases.set(alias, name);
  }
  // A file cannot name another file, nor ask to be printed.
  for (const name of Object.keys(commonOptions)) known.delete(name);
  for (const key of Object.keys(file.entries)) {
    if (known.has(key)) continue;
    const meant = aliases.get(key) ?? nearest(key, known);
    const advice = meant === undefined ? '' : ` (did you mean ${meant}?)`;
    throw new CodedError('ERR_CONFIG', `${file.path}: unknown key ${clip(key)}${advice}`, {
      detail: { option: clip(key), source: 'file' },
    });
  }
}

function negate(value: unknown): unknown {
  const parsed = typeof value === 'boolean' ? value : parseBoolean(String(value));
  return parsed === undefined ? value : !parsed;
}

function clip(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
