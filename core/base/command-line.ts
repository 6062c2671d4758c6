/** Binds option tables to commander: the only place that knows how a command line is cut into flags. */
import { Command, CommanderError, Option } from 'commander';
import { nearest } from './did-you-mean.ts';
import { CodedError } from './error.ts';
import { isOnByDefault } from './options.ts';
import type { OptionSpec, OptionTable, OptionValues } from './options.ts';
import { defaultTextOf, renderConfig, valueNameOf } from './render-options.ts';
import { optionValues, resolveOptions } from './resolve-options.ts';
import type { Environment, GivenFlag, OptionInputs } from './resolve-options.ts';
import { programVersion } from './version.ts';

/** What an action is given: typed values, the words that are no flags, and what to warn of. */
export interface CommandContext<Table extends OptionTable> {
  readonly options: OptionValues<Table>;
  readonly args: readonly string[];
  readonly warnings: readonly string[];
}

/** A command: its table and what it does. */
export interface CommandPlan<Table extends OptionTable> {
  readonly table: Table;
  readonly env: Environment;
  readonly action: (context: CommandContext<Table>) => Promise<void>;
}

/** How a program prints help, version and `--print-config`. */
export type Print = (text: string) => void;

/** What a program is called, does, and prints with. */
export interface ProgramDescription {
  readonly name: string;
  readonly description: string;
  readonly print: Print;
}

/** An empty command with help, version, and errors thrown instead of printed; subcommands come from `.command()`. */
export function newProgram(program: ProgramDescription): Command {
  const command = new Command(program.name)
    .description(program.description)
    .exitOverride()
    .enablePositionalOptions()
    .allowExcessArguments(false)
    .helpCommand(false)
    .showSuggestionAfterError(false)
    .configureOutput({ writeOut: program.print, writeErr: () => undefined })
    .option('-V, --version', 'Print the version')
    .helpOption('-h, --help', 'Print this help');
  command.on('option:version', () => {
    program.print(`${program.name} ${programVersion()}\n`);
    throw new CommanderError(0, 'commander.version', '');
  });
  return command;
}

/** Gives `command` the flags of the plan's table, and the plan's action once they are read and resolved. */
export function bindCommand<const Table extends OptionTable>(
  command: Command,
  plan: CommandPlan<Table>,
): void {
  const flags: GivenFlag[] = [];
  for (const [name, spec] of Object.entries(plan.table)) {
    for (const flag of flagsOf(name, spec)) addFlag(command, flag, flags);
  }
  command.action(async () => {
    const inputs = await gatherInputs(plan, flags);
    const resolved = resolveOptions(plan.table, inputs);
    if (resolved.options.some(({ name, value }) => name === 'print-config' && value === true)) {
      command.configureOutput().writeOut?.(renderConfig(nameOf(command), resolved));
      return;
    }
    const options = optionValues(plan.table, resolved);
    await plan.action({ options, args: command.args, warnings: resolved.warnings });
  });
}

/** Runs the command line (without node and script); resolves after help and version too; throws CodedErrors. */
export async function runProgram(program: Command, argv: readonly string[]): Promise<void> {
  try {
    await program.parseAsync(plainFlags(argv), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return;
    throw new CodedError('ERR_USAGE', usageMessage(error, program), { cause: error });
  }
}

/** Two lines for standard error: the code and what is wrong, and what to do. */
export function errorLines(program: string, error: CodedError): string {
  return `${program}: ${error.code}: ${error.message}\n  ${error.facts.next}\n`;
}

/** One spelling of one option. */
interface Flag {
  readonly name: string;
  readonly option: Option;
  /** For flags without a value. */
  readonly means?: boolean;
}

function flagsOf(name: string, spec: OptionSpec): Flag[] {
  if (spec.kind === 'boolean') return booleanFlags(name, spec);
  const placeholder = `<${valueNameOf(spec)}>`;
  const help = spec.list === true ? `${spec.help} (repeatable)` : spec.help;
  const main = new Option(`${dashes(spec.short)}--${name} ${placeholder}`, withDefault(help, spec));
  const others = (spec.aliases ?? []).map((alias) =>
    new Option(`${spelled(alias)} ${placeholder}`).hideHelp(),
  );
  return [main.hideHelp(spec.hidden === true), ...others].map((option) => ({ name, option }));
}

function booleanFlags(name: string, spec: OptionSpec): Flag[] {
  const isOn = isOnByDefault(spec);
  const short = dashes(spec.short);
  const yes = new Option(isOn ? `--${name}` : `${short}--${name}`, spec.help);
  const no = new Option(isOn ? `${short}--no-${name}` : `--no-${name}`, spec.help);
  const others = (spec.aliases ?? []).flatMap((alias) => [
    { name, option: new Option(spelled(alias)).hideHelp(), means: !isOn },
    ...(alias.length === 1
      ? []
      : [{ name, option: new Option(`--no-${alias}`).hideHelp(), means: isOn }]),
  ]);
  return [
    { name, option: yes.hideHelp(isOn || spec.hidden === true), means: true },
    { name, option: no.hideHelp(!isOn || spec.hidden === true), means: false },
    ...others,
  ];
}

function addFlag(command: Command, flag: Flag, flags: GivenFlag[]): void {
  command.addOption(flag.option);
  const spelling = flag.option.long ?? flag.option.short ?? '';
  command.on(`option:${flag.option.name()}`, (text: string | null | undefined) => {
    flags.push({ name: flag.name, spelled: spelling, value: flag.means ?? text ?? '' });
  });
}

async function gatherInputs(
  plan: { readonly table: OptionTable; readonly env: Environment },
  flags: readonly GivenFlag[],
): Promise<OptionInputs> {
  const { table, env } = plan;
  if (table['config'] === undefined) return { flags, env };
  const { options } = resolveOptions({ config: table['config'] }, { flags, env });
  const path = options[0]?.value;
  if (typeof path !== 'string') return { flags, env };
  const { readConfigFile } = await import('./config-file.ts');
  return { flags, env, file: await readConfigFile(path) };
}

// `-u=URL` and `--notbs=true` are what Go's flag package taught the writers of existing scripts.
function plainFlags(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  const flags = end < 0 ? argv : argv.slice(0, end);
  const plain = flags.flatMap((word) => {
    const short = /^-([A-Za-z])=(.*)$/s.exec(word);
    if (short !== null) return [`-${short[1]}`, short[2] ?? ''];
    const long = /^--([a-z-]+)=(true|false)$/.exec(word);
    if (long === null) return [word];
    return [long[2] === 'true' ? `--${long[1]}` : `--no-${long[1]}`];
  });
  return end < 0 ? plain : [...plain, ...argv.slice(end)];
}

function usageMessage(error: CommanderError, program: Command): string {
  const message = error.message.replace(/^error: /, '');
  const unknown = /unknown option '(--[^'=]+)/.exec(message);
  if (unknown === null) return message;
  const known = program.options.map((option) => option.long ?? '');
  const meant = nearest(unknown[1] ?? '', known);
  return meant === undefined ? message : `${message} (did you mean ${meant}?)`;
}

function nameOf(command: Command): string {
  const parent = command.parent;
  return parent === null ? command.name() : `${nameOf(parent)} ${command.name()}`;
}

function dashes(short: string | undefined): string {
  return short === undefined ? '' : `-${short}, `;
}

function spelled(alias: string): string {
  return alias.length === 1 ? `-${alias}` : `--${alias}`;
}

function withDefault(help: string, spec: OptionSpec): string {
  const text = spec.required === true ? 'required' : defaultTextOf(spec);
  if (text === undefined) return help;
  return `${help} (${spec.required === true ? text : `default: ${text}`})`;
}
