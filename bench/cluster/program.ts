import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { SystemClock, abortable } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { eventually } from './eventually.ts';
import type { ProcessGuard } from './process-guard.ts';

const clock = new SystemClock();
/** Programs promise to be done within 10 s of SIGTERM. */
const STOP_MS = 12_000;
const START_MS = 60_000;
const SHOWN_LINES = 25;

/** How a program is run. */
export interface ProgramOptions {
  readonly name: string;
  readonly argv: readonly string[];
  /** Both outputs are appended to it. */
  readonly logFile: string;
  readonly guard: ProcessGuard;
  readonly env?: NodeJS.ProcessEnv;
  /** Undefined until the program can serve. */
  readonly look: () => Promise<unknown>;
}

/** A process that serves until it is stopped. */
export class Program implements AsyncDisposable {
  readonly name: string;
  readonly logFile: string;
  readonly #options: ProgramOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  private constructor(options: ProgramOptions) {
    this.#options = options;
    this.name = options.name;
    this.logFile = options.logFile;
  }

  /** Starts it and waits until it serves; on failure it is stopped, and the error ends with its last log lines. */
  static async start(options: ProgramOptions, signal?: AbortSignal): Promise<Program> {
    const program = new Program(options);
    await program.start(signal);
    return program;
  }

  /** Process number; throws when it does not run. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new CodedError('ERR_INTERNAL', `${this.name} is not running`);
    return pid;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Starts it (again) with the same arguments. */
  async start(signal?: AbortSignal): Promise<void> {
    this.#spawn();
    try {
      const look = async (): Promise<unknown> => {
        if (!this.isRunning) throw new CodedError('ERR_INTERNAL', `${this.name} ended at once`);
        return this.#options.look();
      };
      await eventually(`${this.name} serving`, look, { withinMs: START_MS, signal });
    } catch (error) {
      await this.kill('SIGKILL');
      const { code, message } = CodedError.from(error);
      throw new CodedError(code, `${message}\n${this.lastLog()}`, { cause: error });
    }
  }

  /** Sends a signal and waits until the process is gone; SIGKILL follows when it takes longer than it may. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    child.kill(signal);
    using deadline = clock.deadline(STOP_MS);
    try {
      await abortable(
        this.#ended.then(() => undefined),
        deadline.signal,
      );
    } catch {
      child.kill('SIGKILL');
      await this.#ended;
    }
  }

  /** The end of its log. */
  lastLog(): string {
    if (!existsSync(this.logFile)) return `${this.name} wrote no log`;
    const lines = readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-SHOWN_LINES);
    return [`--- ${this.name}`, ...lines, '---'].join('\n');
  }

  /** As `kill('SIGTERM')`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGTERM');
  }

  #spawn(): void {
    const { argv, env, guard } = this.#options;
    const [file = '', ...args] = argv;
    const log = openSync(this.logFile, 'a', 0o600);
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', log, log],
      ...(env === undefined ? {} : { env }),
    });
    closeSync(log);
    const { pid } = child;
    this.#ended = once(child, 'exit').finally(() => {
      if (pid !== undefined) guard.remove(pid);
      this.#child = undefined;
    });
    // Not being able to start is an end too; `start` reports it.
    this.#ended.catch(() => undefined);
    if (pid === undefined) return;
    guard.add(pid);
    this.#child = child;
  }
}
