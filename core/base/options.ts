/**
 * The option table: one declaration per program from which flags, environment variables, the keys of the YAML
 * file, `--print-config`, help and docs are made (DESIGN §12). `--data-dir`, `ODONATA_DATA_DIR` and `data-dir:`
 * are one option; a flag wins over the environment, that over the file, that over the default.
 * This file holds the declaration and its types; option-values.ts reads one value, resolve-options.ts applies
 * the precedence, flag-spellings.ts says how flags are written, command-line.ts binds them to commander, and
 * plain-command.ts reads ordinary command lines without it.
 */
import type { HostPort } from './addresses.ts';

/** What a value may be; see `valueHelp` in option-values.ts for the texts each takes. */
export interface OptionKinds {
  readonly string: string;
  readonly integer: number;
  /** Bytes. */
  readonly size: number;
  /** Bytes per second; 0 is no limit. */
  readonly rate: number;
  /** Milliseconds. */
  readonly duration: number;
  readonly boolean: boolean;
  /** A file or folder; a leading `~/` is the home folder. */
  readonly path: string;
  /** An address without brackets. */
  readonly ip: string;
  /** An absolute http or https URL, as typed. */
  readonly url: string;
  readonly hostPort: HostPort;
  /** `ADDRESS/BITS`. */
  readonly cidr: string;
  readonly choice: string;
  /** Given as it is or as `@FILE`; never printed. */
  readonly secret: string;
  /** A mapping, whose fields the program checks: YAML in the file, JSON elsewhere. */
  readonly record: OptionRecord;
}

/** A mapping of a configuration file, not checked yet. */
export interface OptionRecord {
  readonly [key: string]: unknown;
}

/** The name of a kind. */
export type OptionKind = keyof OptionKinds;

/** One parsed value. */
export type OptionScalar = OptionKinds[OptionKind];

/** One option, as declared. */
export interface OptionSpec {
  readonly kind: OptionKind;
  /** One sentence without a full stop. For a boolean that is true by default it describes `--no-NAME`. */
  readonly help: string;
  /** One letter. */
  readonly short?: string;
  /** Other spellings of the flag (one letter or a word), accepted and not shown. */
  readonly aliases?: readonly string[];
  /** True: may be repeated; a sequence in the file; parted by `separator` in the environment. */
  readonly list?: true;
  /** What parts the items of a list in one environment variable; default a comma. */
  readonly separator?: string;
  /** In the text form of the kind, or a number or boolean. */
  readonly default?: string | number | boolean | readonly string[];
  /** Words for the docs where the program computes the default. */
  readonly defaultHelp?: string;
  readonly required?: true;
  /** True: the value is printed nowhere. */
  readonly secret?: true;
  /** For `choice`. */
  readonly choices?: readonly string[];
  /** Smallest and largest number, in the unit of the kind. */
  readonly min?: number;
  readonly max?: number;
  /** For `hostPort`: the port where none is written. */
  readonly defaultPort?: number;
  /** The placeholder in help; default made from the kind. */
  readonly valueName?: string;
  /** True: left out of help, kept in docs. */
  readonly hidden?: true;
}

/** Options by kebab-case name. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

type ScalarOf<Spec extends OptionSpec> = Spec extends {
  readonly kind: 'choice';
  readonly choices: readonly (infer Choice)[];
}
  ? Choice
  : OptionKinds[Spec['kind']];

type ValueOf<Spec extends OptionSpec> = Spec extends { readonly list: true }
  ? readonly ScalarOf<Spec>[]
  : Spec extends
        | { readonly kind: 'boolean' }
        | { readonly required: true }
        | { readonly default: string | number | boolean }
    ? ScalarOf<Spec>
    : ScalarOf<Spec> | undefined;

/** The values of a table by camelCase name; undefined where an option has neither value nor default. */
export type OptionValues<Table extends OptionTable> = {
  readonly [Name in keyof Table & string as CamelCase<Name>]: ValueOf<Table[Name]>;
};

/** Declares a table; the values' type is inferred from it. */
export function defineOptions<const Table extends OptionTable>(table: Table): Table {
  return table;
}

/** Every program's own options; `defineOptions({ ...commonOptions, … })`. */
export const commonOptions = defineOptions({
  config: {
    kind: 'path',
    help: 'Read options from this YAML file; its keys are the names of the flags',
    valueName: 'FILE',
  },
  'print-config': {
    kind: 'boolean',
    help: 'Print the configuration in force and where each value came from, then stop',
  },
});

/** `dataDir` of `data-dir`. */
export function camelCase(name: string): string {
  return name.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** `ODONATA_DATA_DIR` of `data-dir`. */
export function environmentName(name: string): string {
  return `ODONATA_${name.replaceAll('-', '_').toUpperCase()}`;
}

/** True for a boolean that is switched off by `--no-NAME`. */
export function isOnByDefault(spec: OptionSpec): boolean {
  return spec.kind === 'boolean' && spec.default === true;
}

/** True when the value must not be shown. */
export function isSecret(spec: OptionSpec): boolean {
  return spec.kind === 'secret' || spec.secret === true;
}

/** The option that sets the level, the same for every program that runs on. */
export const logLevelOption = {
  kind: 'choice',
  choices: ['error', 'warn', 'info', 'debug', 'trace', 'silent'],
  default: 'info',
  help: 'Least severe log lines written to standard error',
} as const satisfies OptionSpec;
