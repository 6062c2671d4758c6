import { homedir } from 'node:os';
import { SystemClock } from '../core/base/clock.ts';
import { bindCommand, errorLines, newProgram, runProgram } from '../core/base/command-line.ts';
import { exitCodes } from '../core/base/error-codes.ts';
import { CodedError } from '../core/base/error.ts';
import { dfgetOptions } from './args.ts';
import type { DfgetOptions } from './args.ts';
import { exitCodeOf } from './exit-code.ts';
import { HumanReporter } from './human-reporter.ts';
import { JsonReporter } from './json-reporter.ts';
import { planDownload } from './plan.ts';
import type { DownloadPlan } from './plan.ts';
import type { Reporter } from './reporter.ts';
import { runDownload } from './run.ts';

const HELP = `
Sizes and rates: k, m, g, t are powers of 1024 (20M, 20MB and 20MiB are the same); rates also take decimal
bits (200mbit). Durations need a unit (500ms, 30s, 1h30m).
Older spellings: -o FILE, -m MD5, -f a&b, -n HOST[:PORT], -i ID, -e TIME, --totallimit RATE, --notbs.
Exit codes: 0 done, 1 usage or configuration, 2 refused by the origin, 3 origin failing, 4 digest mismatch,
5 no space, 6 timeout, 7 mesh unavailable, 8 output, 9 interrupted, 10 internal.
`;

/** How long a run has to end by itself after a signal, and after a defect. */
const INTERRUPT_MS = 10_000;
const LAST_WORDS_MS = 2_000;

const { env, stdout, stderr } = process;

const print = (text: string): void => void stdout.write(text);
const complain = (text: string): void => void stderr.write(text);

async function main(argv: readonly string[]): Promise<number> {
  const interrupt = interruptSignal();
  let exitCode = 0;
  const program = newProgram({
    name: 'dfget',
    description: 'Downloads a URL through the mesh, with resume and verification.',
    print,
  });
  program.argument('[URL]', 'what to download').addHelpText('after', HELP);
  bindCommand(program, {
    table: dfgetOptions,
    env,
    action: async ({ options, args, warnings }) => {
      const plan = planDownload(options, { args, user: userPlaces() });
      const reporter = reporterFor(options, plan);
      for (const warning of warnings) reporter.note(warning);
      exitCode = await runDownload(plan, {
        clock,
        signal: interrupt,
        reporter,
        stdout,
        openEngine: async (engine) => (await import('./in-process.ts')).loadEngine(engine),
        uid: userPlaces().uid,
        startedMs: 0,
      });
    },
  });
  try {
    await runProgram(program, argv);
    return exitCode;
  } catch (error) {
    return refuse(CodedError.from(error), argv);
  }
}

/** Reports what is wrong before there is anything to run. */
function refuse(error: CodedError, argv: readonly string[]): number {
  if (argv.includes('--json')) new JsonReporter(print, clock).failed(error);
  else complain(errorLines('dfget', error));
  return exitCodeOf(error);
}

function reporterFor(options: DfgetOptions, plan: DownloadPlan): Reporter {
  if (options.json) return new JsonReporter(print, clock);
  // With -O - standard output belongs to the content, and a terminal that shows it has no room for a bar.
  const isPiped = plan.output.kind === 'stdout';
  const canDraw = stderr.isTTY && env['TERM'] !== 'dumb' && !(isPiped && stdout.isTTY);
  const columns = options.progress && canDraw ? (): number => stderr.columns : undefined;
  return new HumanReporter({ out: isPiped ? complain : print, err: complain, columns }, clock);
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
