import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { checkout } from '../cluster/installation.ts';
import type { Workplace } from '../cluster/workplace.ts';
import type { CrowdAnswers, CrowdOrder, CrowdReply } from './crowd-messages.ts';

interface Waiting {
  readonly resolve: (answer: object) => void;
  readonly reject: (error: CodedError) => void;
}

const SHOWN_LINES = 20;

/** A process of light hosts, seen by the benchmark that gives it orders. */
export class CrowdProcess implements AsyncDisposable {
  readonly name: string;
  readonly #logFile: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #failure: CodedError | undefined;

  private constructor(
    { name, logFile }: { readonly name: string; readonly logFile: string },
    child: ChildProcess,
    workplace: Workplace,
  ) {
    this.name = name;
    this.#logFile = logFile;
    this.#child = child;
    const { pid } = child;
    if (pid !== undefined) workplace.guard.add(pid);
    this.#ended = once(child, 'exit').finally(() => {
      if (pid !== undefined) workplace.guard.remove(pid);
      const how = child.exitCode ?? child.signalCode;
      this.#fail(new CodedError('ERR_INTERNAL', `${name} has ended (${how})\n${this.#lastLog()}`));
    });
    // An order to a process that is just ending; what became of it is told above.
    child.on('error', () => undefined);
    this.#ended.catch(() => undefined);
    child.on('message', (reply: CrowdReply) => this.#take(reply));
  }

  /** Starts it; it has no hosts yet. */
  static async start(
    name: string,
    options: { readonly workplace: Workplace; readonly supernode: string },
  ): Promise<CrowdProcess> {
    const { workplace, supernode } = options;
    const folder = await workplace.subfolder(name);
    const logFile = join(folder, 'log');
    const log = openSync(logFile, 'a', 0o600);
    const main = join(checkout, 'bench', 'scenario', 'crowd-main.ts');
    const child = fork(main, [folder, supernode], {
      detached: true,
      env: workplace.env,
      stdio: ['ignore', log, log, 'ipc'],
    });
    closeSync(log);
    const { promise, resolve, reject } = Promise.withResolvers<object>();
    const process = new CrowdProcess({ name, logFile }, child, workplace);
    process.#waiting.set(0, { resolve, reject });
    await promise;
    return process;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Gives an order; rejects with what the process could not do. */
  async order<T extends CrowdOrder>(order: T): Promise<CrowdAnswers[T['do']]> {
    if (this.#failure !== undefined) throw this.#failure;
    const id = this.#nextId;
    this.#nextId += 1;
    const { promise, resolve, reject } = Promise.withResolvers<object>();
    this.#waiting.set(id, { resolve, reject });
    try {
      this.#child.send({ id, order });
      return (await promise) as CrowdAnswers[T['do']];
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** Sends a signal: SIGKILL ends it, SIGSTOP makes all of its hosts silent. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  #fail(error: CodedError): void {
    this.#failure = error;
    for (const { reject } of this.#waiting.values()) reject(error);
  }

  #lastLog(): string {
    return readFileSync(this.#logFile, 'utf8').trimEnd().split('\n').slice(-SHOWN_LINES).join('\n');
  }

  #take(reply: CrowdReply): void {
    const waiting = this.#waiting.get(reply.id);
    if ('error' in reply) waiting?.reject(new CodedError('ERR_INTERNAL', reply.error));
    else waiting?.resolve(reply.answer);
  }
}
