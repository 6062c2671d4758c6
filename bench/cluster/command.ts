import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { ProcessGuard } from './process-guard.ts';

const clock = new SystemClock();
const KEPT_BYTES = 4 * 1024 * 1024;

/** How a command is run. */
export interface CommandOptions {
  readonly guard: ProcessGuard;
  readonly cwd?: string;
  /** Default: that of this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Kills the command with SIGKILL. */
  readonly signal?: AbortSignal | undefined;
  /** Each line of standard output, as it comes. */
  readonly onLine?: (line: string) => void;
}

/** How a command ended. */
export interface CommandResult {
  readonly exitCode: number | undefined;
  readonly signal: NodeJS.Signals | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** From just before it was started until it was gone. */
  readonly seconds: number;
}

/** A process that is waited for: dfget, curl, a token being made. */
export class Command {
  readonly pid: number;
  /** Settles when the process is gone and its output is read. */
  readonly result: Promise<CommandResult>;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, pid: number, result: Promise<CommandResult>) {
    this.#child = child;
    this.pid = pid;
    this.result = result;
  }

  /** Starts `argv`; throws ERR_USAGE when there is no such program. */
  static async start(argv: readonly string[], options: CommandOptions): Promise<Command> {
    const [file = '', ...args] = argv;
    const startMs = clock.monotonic();
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    const { pid } = child;
    if (pid === undefined) {
      const [error] = await once(child, 'error');
      throw new CodedError('ERR_USAGE', `cannot run ${file}`, { cause: error });
    }
    options.guard.add(pid);
    const stop = (): void => void child.kill('SIGKILL');
    options.signal?.addEventListener('abort', stop, { once: true });
    const ended = resultOf(child, { startMs, onLine: options.onLine }).finally(() => {
      options.guard.remove(pid);
      options.signal?.removeEventListener('abort', stop);
    });
    return new Command(child, pid, ended);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** Runs `argv` to its end. */
export async function runCommand(
  argv: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const command = await Command.start(argv, options);
  const result = await command.result;
  options.signal?.throwIfAborted();
  return result;
}

/** What `argv` prints, trimmed; throws ERR_INTERNAL with what it complained of when it fails. */
export async function outputOf(argv: readonly string[], options: CommandOptions): Promise<string> {
  const { exitCode, signal, stdout, stderr } = await runCommand(argv, options);
  if (exitCode === 0) return stdout.trim();
  const message = `${argv.join(' ')}: ${exitCode ?? signal}\n${stdout}${stderr}`;
  throw new CodedError('ERR_INTERNAL', message);
}

async function resultOf(
  child: ChildProcess,
  options: { startMs: number; onLine: ((line: string) => void) | undefined },
): Promise<CommandResult> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] = (output[name] + text).slice(-KEPT_BYTES);
    });
  }
  if (options.onLine !== undefined && child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', options.onLine);
  }
  let seconds = 0;
  child.once('exit', () => (seconds = (clock.monotonic() - options.startMs) / 1000));
  const [exitCode, signal] = await once(child, 'close');
  return { ...output, exitCode: exitCode ?? undefined, signal: signal ?? undefined, seconds };
}
