import { expectationOf, formatValue } from './option-values.ts';
import { environmentName, isOnByDefault, isSecret } from './options.ts';
import type { OptionKind, OptionScalar, OptionSpec, OptionTable } from './options.ts';
import type { ResolvedOption, ResolvedOptions } from './resolve-options.ts';

/** Placeholders of values in help. */
const valueNames: Readonly<Record<OptionKind, string>> = {
  string: 'TEXT',
  integer: 'N',
  size: 'SIZE',
  rate: 'RATE',
  duration: 'TIME',
  boolean: '',
  path: 'PATH',
  ip: 'IP',
  url: 'URL',
  hostPort: 'HOST:PORT',
  cidr: 'CIDR',
  choice: 'WORD',
  secret: 'SECRET|@FILE',
  record: 'JSON',
};

/** The placeholder of an option's value; empty for a boolean. */
export function valueNameOf(spec: OptionSpec): string {
  if (spec.valueName !== undefined) return spec.valueName;
  return spec.kind === 'choice' ? (spec.choices ?? []).join('|') : valueNames[spec.kind];
}

/** `10GiB`, `on`, or the words for a computed default; undefined when there is none. */
export function defaultTextOf(spec: OptionSpec): string | undefined {
  if (spec.defaultHelp !== undefined) return spec.defaultHelp;
  if (spec.kind === 'boolean') return spec.default === true ? 'on' : 'off';
  if (spec.default === undefined) return undefined;
  return typeof spec.default === 'object' ? spec.default.join(', ') : String(spec.default);
}

/** What is in force as a YAML file that `--config` would accept, each value with its source; secrets as `***`. */
export function renderConfig(program: string, resolved: ResolvedOptions): string {
  const lines = [`# ${program}: the configuration in force, and where each value came from`];
  for (const option of resolved.options) {
    if (option.name !== 'config' && option.name !== 'print-config') lines.push(...entry(option));
  }
  return `${lines.join('\n')}\n`;
}

/** A Markdown table of a program's options; docs/config.md is made of these. */
export function renderOptionsDoc(program: string, table: OptionTable): string {
  const rows = Object.entries(table).map(([name, spec]) => {
    const cells = [flagCell(name, spec), valueCell(spec), defaultCell(spec), spec.help];
    return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
  });
  return [
    `## ${program}`,
    '',
    'Each flag is also a key of the YAML file of `--config` and an environment variable: `--data-dir` is',
    `\`data-dir:\` and \`${environmentName('data-dir')}\`; \`--no-NAME\` is \`NAME: false\`. A flag wins over the`,
    'environment, that over the file, that over the default. Lists in one variable are parted by commas.',
    '',
    '| Flag | Value | Default | Meaning |',
    '| --- | --- | --- | --- |',
    ...rows,
    '',
  ].join('\n');
}

function entry({ name, spec, value, origin }: ResolvedOption): string[] {
  if (value === undefined) {
    const text = spec.defaultHelp === undefined ? 'not set' : `not set: ${spec.defaultHelp}`;
    return [`# ${name}: ${text}`];
  }
  const source = origin.kind === 'default' ? 'default' : `${origin.kind} ${origin.where}`;
  if (!isList(value)) return [`${name}: ${scalar(spec, value)} # ${source}`];
  if (value.length === 0) return [`${name}: [] # ${source}`];
  return [`${name}: # ${source}`, ...value.map((item) => `  - ${scalar(spec, item)}`)];
}

function isList(value: OptionScalar | readonly OptionScalar[]): value is readonly OptionScalar[] {
  return Array.isArray(value);
}

// A JSON string is a YAML string, whatever is in it.
function scalar(spec: OptionSpec, value: OptionScalar): string {
  if (isSecret(spec)) return '"***"';
  if (typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && spec.kind === 'integer') return String(value);
  return JSON.stringify(formatValue(spec, value));
}

function flagCell(name: string, spec: OptionSpec): string {
  const long = isOnByDefault(spec) ? `--no-${name}` : `--${name}`;
  const spellings = [spec.short, ...(spec.aliases ?? [])].filter((item) => item !== undefined);
  const others = spellings.map((item) => `\`${item.length === 1 ? '-' : '--'}${item}\``);
  return [`\`${long}\``, ...others].join(', ');
}

function valueCell(spec: OptionSpec): string {
  if (spec.kind === 'boolean') return 'none';
  return `${expectationOf(spec)}${spec.list === true ? '; repeatable' : ''}`;
}

function defaultCell(spec: OptionSpec): string {
  if (spec.required === true) return 'required';
  return spec.kind === 'boolean' ? '' : (defaultTextOf(spec) ?? '');
}
