import { homedir } from 'node:os';
import { SystemClock } from '../core/base/clock.ts';
import type { CommandContext } from '../core/base/command-line.ts';
import { exitCodes } from '../core/base/error-codes.ts';
import { CodedError } from '../core/base/error.ts';
import { headerLines } from '../core/base/header-lines.ts';
import { readPlainCommand } from '../core/base/plain-command.ts';
import { dfgetOptions } from './args.ts';
import type { DfgetOptions } from './args.ts';
import { exitCodeOf } from './exit-code.ts';
import { HumanReporter } from './human-reporter.ts';
import type { Screen } from './human-reporter.ts';
import type { OpenEngine } from './in-process.ts';
import { JsonReporter } from './json-reporter.ts';
import { locator } from './locate.ts';
import { originWishes } from './origin-wishes.ts';
import { planDownload } from './plan.ts';
import type { DownloadPlan } from './plan.ts';
import type { Reporter } from './reporter.ts';
import { runDownload } from './run.ts';

/** How long a run has to end by itself after a signal, and after a defect. */
const INTERRUPT_MS = 10_000;
const LAST_WORDS_MS = 2_000;

const { env, stdout, stderr } = process;

const print = (text: string): void => void stdout.write(text);
const complain = (text: string): void => void stderr.write(text);

async function main(argv: readonly string[]): Promise<number> {
  const interrupt = interruptSignal();
  let exitCode = 0;
  const action = async (context: CommandContext<typeof dfgetOptions>): Promise<void> => {
    exitCode = await download(context, interrupt);
  };
  try {
    const plain = readPlainCommand(argv, { table: dfgetOptions, env });
    if (plain === undefined) {
      const { runCommandLine } = await import('./command-line.ts');
      await runCommandLine(argv, { env, print, action });
    } else {
      await action(plain);
    }
    return exitCode;
  } catch (error) {
    return refuse(CodedError.from(error), argv);
  }
}

async function download(
  context: CommandContext<typeof dfgetOptions>,
  signal: AbortSignal,
): Promise<number> {
  const { args, warnings } = context;
  const header = await headerLines(context.options.header, { input: () => process.stdin });
  const options = { ...context.options, header };
  const user = userPlaces();
  const plan = planDownload(options, { args, user });
  const wishes = originWishes(options, { env, home: user.home });
  // Of the process, not of this call: what Node took to begin was waited for, too.
  const startedMs = clock.monotonic() - performance.now();
  const tools = { clock, signal, stdout, openEngine, uid: user.uid, startedMs };
  if (plan.folder !== undefined) {
    const { openFolderReporter, runFolder } = await import('./folder/index.ts');
    const reporter = openFolderReporter(options, { screen: screenFor(options, plan), clock });
    for (const warning of warnings) reporter.note(warning);
    return runFolder(plan, plan.folder, { ...tools, reporter, wishes });
  }
  const reporter = reporterFor(options, plan);
  for (const warning of warnings) reporter.note(warning);
  const note = (text: string): void => reporter.note(text);
  return runDownload(plan, { ...tools, reporter, locate: locator(wishes, { clock, note }) });
}

const openEngine: OpenEngine = async (engine) =>
  (await import('./in-process.ts')).loadEngine(engine);

/** Reports what is wrong before there is anything to run. */
async function refuse(error: CodedError, argv: readonly string[]): Promise<number> {
  if (argv.includes('--json')) {
    new JsonReporter(print, clock).failed(error);
  } else {
    const { errorLines } = await import('../core/base/command-line.ts');
    complain(errorLines('dfget', error));
  }
  return exitCodeOf(error);
}

function reporterFor(options: DfgetOptions, plan: DownloadPlan): Reporter {
  if (options.json) return new JsonReporter(print, clock);
  return new HumanReporter(screenFor(options, plan), clock);
}

function screenFor(options: DfgetOptions, plan: DownloadPlan): Screen {
  // With -O - standard output belongs to the content, and a terminal that shows it has no room for a bar.
  const isPiped = plan.output.kind === 'stdout';
  const canDraw = stderr.isTTY && env['TERM'] !== 'dumb' && !(isPiped && stdout.isTTY);
  const columns = options.progress && canDraw ? (): number => stderr.columns : undefined;
  return { out: isPiped ? complain : print, err: complain, columns };
}

/**
 * Aborts at the first SIGINT or SIGTERM; the second one ends the process at once. So does an exception
 * that nobody caught, since Node's own exit code for it would read as bad usage. Either way the run has a moment
 * to report and to close what it holds.
 */
function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  const stop = (error: CodedError, withinMs: number): void => {
    const exit = (): void => process.exit(exitCodeOf(error));
    if (controller.signal.aborted) exit();
    controller.abort(error);
    clock.after(withinMs, exit, { ref: false });
  };
  // Not SIGHUP: a handler would undo nohup.
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      stop(new CodedError('ERR_INTERRUPTED', `stopped by ${name}`), INTERRUPT_MS);
    });
  }
  process.on('uncaughtException', (error) => stop(CodedError.from(error), LAST_WORDS_MS));
  return controller.signal;
}

function userPlaces(): { uid: number; home: string; runtimeDir: string | undefined } {
  return { uid: process.getuid?.() ?? 0, home: home(), runtimeDir: env['XDG_RUNTIME_DIR'] };
}

function home(): string {
  try {
    return homedir();
  } catch {
    // A container with a made-up uid has none; what needs one will say which flag to use instead.
    return '/';
  }
}

/** Resolves when what was written to `stream` has left this process, or never will. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}

const clock = new SystemClock();
// Should the work ever stop without a result, that is a defect and must not look like success.
process.exitCode = exitCodes.internal;
// A reader that went away is noticed where content is written; for messages it is no reason to fail.
stdout.on('error', () => undefined);
stderr.on('error', () => undefined);
const code = await main(process.argv.slice(2));
await Promise.all([flushed(stdout), flushed(stderr)]);
// What the engine left behind (a timer, a socket) must not hold a finished command.
process.exit(code);
