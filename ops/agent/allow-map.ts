// What this host lets be run. A caller names a command; which program that is, what may be passed to it and as whom it
// runs stands in a file of the host alone. Nobody in the cell can add to it, whatever keys they hold.
import { lstat, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { readConfigFile } from '../../core/base/config-file.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { parseDuration } from '../../core/base/units.ts';
import { callLimits } from '../../core/identity/call-order.ts';
import type { CallOrder, Lane } from '../../core/identity/call-order.ts';
import {
  MAX_PATTERN_LENGTH,
  isAnyFound,
  lineOf,
  patternProblem,
} from '../../core/base/linear-pattern.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { ParameterSchema, compileParameter } from './command-parameter.ts';
import type { Parameter } from './command-parameter.ts';
import { LimitsSchema, compileLimits, namesOf } from './command-limits.ts';
import type { CommandLimits, LimitName } from './command-limits.ts';
import { defaultCommands } from './default-commands.ts';
import type { PackageToResume } from './host-tools.ts';
import { FilesSchema, HostTools, PackagesSchema, ScriptsSchema, isToolName } from './host-tools.ts';

const Argument = Type.String({ maxLength: 4_096, pattern: '^[^\\x00]*$' });
const Pattern = Type.String({ minLength: 1, maxLength: MAX_PATTERN_LENGTH });

const CommandSchema = Type.Object({
  program: Type.String({ pattern: '^/[^\\x00]{1,4094}$' }),
  args: Type.Optional(Type.Array(Argument, { maxItems: 256 })),
  parameters: Type.Optional(Type.Array(ParameterSchema, { maxItems: 64 })),
  rest: Type.Optional(Type.Boolean()),
  runAs: Type.Optional(Type.String({ pattern: '^[a-z_][a-z0-9_-]{0,31}$' })),
  maxTimeout: Type.Optional(Type.String()),
  lane: Type.Optional(Type.Union([Type.Literal('fast'), Type.Literal('slow')])),
  grace: Type.Optional(Type.String()),
  readOnly: Type.Optional(Type.Boolean()),
  limits: Type.Optional(LimitsSchema),
});
type CommandFields = Static<typeof CommandSchema>;

const parseFile = parser(
  Type.Object({
    commands: Type.Optional(Type.Record(Type.String(), CommandSchema, { maxProperties: 1_000 })),
    files: Type.Optional(FilesSchema),
    packages: Type.Optional(PackagesSchema),
    scripts: Type.Optional(ScriptsSchema),
    refuse: Type.Optional(Type.Array(Pattern, { maxItems: 64 })),
  }),
  { code: 'ERR_CONFIG', strict: true },
);

const COMMAND = /^[a-z0-9][a-z0-9._-]{0,63}$/;
/** How long a program that is ended may take to clean up before it is killed. */
const DEFAULT_GRACE_MS = 2_000;
const MAX_GRACE_MS = 5_000;
/** What a tool of ours has to take away and to close. */
const TOOL_GRACE_MS = 5_000;

interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly parameters: readonly Parameter[];
  readonly takesRest: boolean;
  readonly runAs: string;
  readonly maxTimeoutMs: number;
  readonly lane: Lane | undefined;
  readonly graceMs: number;
  readonly isReadOnly: boolean;
  readonly limits: CommandLimits;
}

/** What an order comes to on this host. */
export interface AllowedRun {
  /** Absolute program first. */
  readonly argv: readonly [string, ...string[]];
  /** Name of the user. */
  readonly runAs: string;
  /** Between being asked to end and being killed, ms. */
  readonly graceMs: number;
  /** True for a tool of ours: it begins as the user of this program and becomes `runAs` itself. */
  readonly isTool: boolean;
  /** True for what this host's file says changes nothing: it is run however old the host's revocations are. */
  readonly isReadOnly: boolean;
  /** True for one that may start what outlives the call. */
  readonly startsService: boolean;
  readonly limits: CommandLimits;
}

/** Whom what names no user runs as, and the dfdaemon by which files and packages come. */
export interface AllowMapOptions {
  readonly defaultUser: string;
  /** Socket of the local API. */
  readonly socket: string;
}

/** Commands of this host by name. */
export class AllowMap {
  readonly #commands: ReadonlyMap<string, Command>;
  readonly #tools: HostTools;
  /** Found in a command line, it is not run: `lineOf()`. */
  readonly #refused: readonly string[];

  /** Of an object as the file has it. ERR_CONFIG naming the path of the wrong field. */
  constructor(value: unknown, options: AllowMapOptions) {
    const { commands = {}, files = [], packages = {}, scripts, refuse = [] } = parseFile(value);
    const compiled = Object.entries(commands).map(([name, fields]): [string, Command] => {
      const at = `/commands/${name.slice(0, 64)}`;
      if (!COMMAND.test(name)) throw wrong(at, 'is no name for a command (a-z 0-9 . _ -)');
      if (isToolName(name))
        throw wrong(at, 'is a name of this program: see "files:", "packages:", "scripts:"');
      return [name, compileCommand(name, fields, options.defaultUser)];
    });
    this.#commands = new Map(compiled);
    this.#tools = new HostTools({ files, packages, scripts, refuse }, options);
    for (const [at, pattern] of refuse.entries()) {
      const problem = patternProblem(pattern);
      if (problem !== undefined) throw wrong(`/refuse/${at}`, problem);
    }
    this.#refused = refuse;
  }

  /** The map in a YAML file that nobody but root and this user can write; ERR_CONFIG naming the file and the field. */
  static async load(file: string, options: AllowMapOptions): Promise<AllowMap> {
    await refuseWritable(file);
    const { entries } = await readConfigFile(file);
    try {
      return new AllowMap(entries, options);
    } catch (error) {
      const { code, message, detail } = CodedError.from(error);
      throw new CodedError(code, `${file}: ${message}`, { cause: error, detail });
    }
  }

  /** Harmless commands that only read, for a host without a file. */
  static builtIn(options: AllowMapOptions): AllowMap {
    return new AllowMap({ commands: defaultCommands }, options);
  }

  /** Packages that this host may have, and how what ran of them is started again. */
  get packagesToResume(): readonly PackageToResume[] {
    return this.#tools.toResume();
  }

  /** Limits that any command has. */
  get limits(): ReadonlySet<LimitName> {
    const all = [...this.#commands.values(), this.#tools];
    return new Set(all.flatMap(({ limits }) => namesOf(limits)));
  }

  get names(): readonly string[] {
    return [...this.#commands.keys(), ...this.#tools.names];
  }

  /**
   * What to run for an order, each argument byte for byte as it was signed. ERR_FORBIDDEN when this host does not let
   * it be run, or not so; ERR_REQUEST naming the parameter that is wrong.
   */
  argvOf(order: CallOrder): AllowedRun {
    const tool = this.#tools.runOf(order);
    if (tool !== undefined) {
      checkUser(order, tool);
      return { ...tool, graceMs: TOOL_GRACE_MS, isTool: true, isReadOnly: false };
    }
    const command = this.#commands.get(order.command);
    if (command === undefined) {
      throw new CodedError('ERR_FORBIDDEN', `this host has no command "${order.command}"`);
    }
    checkUser(order, command);
    if (command.lane !== undefined && order.lane !== command.lane) {
      const message = `this host runs "${order.command}" in the ${command.lane} lane only`;
      throw new CodedError('ERR_FORBIDDEN', message);
    }
    if (order.timeoutMs > command.maxTimeoutMs) {
      throw refused('timeoutMs', `is above the ${command.maxTimeoutMs} ms of this command`);
    }
    checkArguments(command, order.args);
    const { program, args, runAs, graceMs, isReadOnly, limits } = command;
    const rest = [...args, ...order.args];
    if (isAnyFound(this.#refused, lineOf(program, rest))) {
      throw new CodedError('ERR_FORBIDDEN', 'this host refuses such a command line');
    }
    const argv = [program, ...rest] as const;
    const isOurs = { isTool: false, startsService: false };
    return { argv, runAs, graceMs, ...isOurs, isReadOnly, limits };
  }
}

function checkUser({ command, runAs }: CallOrder, allowed: { readonly runAs: string }): void {
  if (runAs === undefined || runAs === allowed.runAs) return;
  throw new CodedError('ERR_FORBIDDEN', `this host does not run "${command}" as ${runAs}`);
}

function checkArguments({ parameters, takesRest }: Command, args: readonly string[]): void {
  for (const [at, parameter] of parameters.entries()) {
    const argument = args[at];
    if (argument === undefined) {
      if (parameter.isOptional) break;
      throw refused(parameter.name, 'is missing');
    }
    const problem = argument.includes('\0') ? 'holds a NUL' : parameter.problemOf(argument);
    if (problem !== undefined) throw refused(parameter.name, problem);
  }
  if (takesRest || args.length <= parameters.length) {
    const at = args.findIndex((argument) => argument.includes('\0') || !argument.isWellFormed());
    if (at >= 0) throw refused(`args[${at}]`, 'holds a NUL or half a character');
    return;
  }
  throw refused('args', `has ${args.length} arguments, and the command takes ${parameters.length}`);
}

function compileCommand(name: string, fields: CommandFields, defaultUser: string): Command {
  const at = `/commands/${name}`;
  const { program, args = [], parameters = [], rest, runAs = defaultUser, lane } = fields;
  const compiled = parameters.map((parameter, index) => {
    try {
      return compileParameter(parameter);
    } catch (error) {
      const { message } = CodedError.from(error);
      throw new CodedError('ERR_CONFIG', `${at}/parameters/${index}${message}`, { cause: error });
    }
  });
  const optionalAt = compiled.findIndex(({ isOptional }) => isOptional);
  const requiredAt = compiled.findLastIndex(({ isOptional }) => !isOptional);
  if (optionalAt >= 0 && optionalAt < requiredAt) {
    throw wrong(`${at}/parameters/${requiredAt}`, 'follows one that may be left out');
  }
  return {
    program,
    args,
    parameters: compiled,
    takesRest: rest === true,
    runAs,
    maxTimeoutMs: duration(fields.maxTimeout, {
      path: `${at}/maxTimeout`,
      otherwise: callLimits.timeoutMs,
      max: callLimits.timeoutMs,
    }),
    lane,
    graceMs: duration(fields.grace, {
      path: `${at}/grace`,
      otherwise: DEFAULT_GRACE_MS,
      max: MAX_GRACE_MS,
    }),
    isReadOnly: fields.readOnly === true,
    limits: compileLimits(fields.limits, `${at}/limits`),
  };
}

function duration(
  text: string | undefined,
  options: { readonly path: string; readonly otherwise: number; readonly max: number },
): number {
  if (text === undefined) return options.otherwise;
  const ms = parseDuration(text);
  if (ms === undefined) throw wrong(options.path, 'is no duration (30s, 5m)');
  if (ms > options.max) throw wrong(options.path, `is above ${options.max} ms`);
  return ms;
}

/** Who can write this file, or put another in its place, says what runs here. */
async function refuseWritable(file: string): Promise<void> {
  try {
    const path = await realpath(file);
    refuseWritablePlace(file, await lstat(path), 'the file');
    const folder = await stat(dirname(path));
    // In a sticky folder nobody replaces the files of others.
    const isSticky = (folder.mode & 0o1000) !== 0;
    if (!isSticky) refuseWritablePlace(file, folder, 'its folder');
  } catch (error) {
    if (error instanceof CodedError) throw error;
    const code = systemCode(error) ?? 'unknown';
    throw new CodedError('ERR_CONFIG', `cannot read ${file} (${code})`, { cause: error });
  }
}

function refuseWritablePlace(
  file: string,
  { mode, uid }: { readonly mode: number; readonly uid: number },
  what: string,
): void {
  if (uid !== 0 && uid !== process.getuid?.()) {
    throw new CodedError('ERR_CONFIG', `${file}: ${what} belongs to another user (uid ${uid})`);
  }
  if ((mode & 0o022) !== 0) {
    const text = (mode & 0o777).toString(8).padStart(4, '0');
    throw new CodedError('ERR_CONFIG', `${file}: ${what} can be written by others (mode ${text})`);
  }
}

function refused(parameter: string, problem: string): CodedError {
  return new CodedError('ERR_REQUEST', `${parameter}: ${problem}`, { detail: { path: parameter } });
}

function wrong(path: string, problem: string): CodedError {
  return new CodedError('ERR_CONFIG', `${path}: ${problem}`, { detail: { path } });
}
