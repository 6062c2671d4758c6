/** Binds option tables to commander: the only place that knows how a command line is cut into flags. */
import { Command, CommanderError, Option } from 'commander';
import { nearest } from './did-you-mean.ts';
import { CodedError } from './error.ts';
import { spellingsOf } from './flag-spellings.ts';
import type { FlagSpelling } from './flag-spellings.ts';
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
    for (const spelling of spellingsOf(name, spec)) {
      addFlag(command, flagOf(spelling, spec), flags);
    }
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

/** One spelling of one option, as commander takes it. */
interface Flag {
  readonly spelling: FlagSpelling;
  readonly option: Option;
}

function flagOf(spelling: FlagSpelling, spec: OptionSpec): Flag {
  const words = [spelling.short, spelling.long].filter((word) => word !== undefined).join(', ');
  const takesValue = spec.kind !== 'boolean';
  const option = takesValue
    ? new Option(`${words} <${valueNameOf(spec)}>`, helpOf(spec))
    : new Option(words, spec.help);
  return { spelling, option: option.hideHelp(!spelling.isShown) };
}

function addFlag(command: Command, { spelling, option }: Flag, flags: GivenFlag[]): void {
  command.addOption(option);
  command.on(`option:${option.name()}`, (text: string | null | undefined) => {
    const value = spelling.means ?? text ?? '';
    flags.push({ name: spelling.option, spelled: spelling.long ?? spelling.short ?? '', value });
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

function helpOf(spec: OptionSpec): string {
  const help = spec.list === true ? `${spec.help} (repeatable)` : spec.help;
  if (spec.required === true) return `${help} (required)`;
  const text = defaultTextOf(spec);
  return text === undefined ? help : `${help} (default: ${text})`;
}
