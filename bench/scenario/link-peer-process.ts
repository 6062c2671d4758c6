import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { SystemClock, abortable } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { PortCaller } from '../../core/base/port-rpc.ts';
import type { PortPost } from '../../core/base/postbox.ts';
import type { Workplace } from '../cluster/workplace.ts';
import type { LinkMember } from './link-member.ts';
import type { LinkPeerOperations } from './link-peer.ts';

const MAIN = join(import.meta.dirname, 'link-peer.ts');
const STOP_MS = 5_000;
const clock = new SystemClock();

/** A process that runs `link-peer.ts`. */
export class LinkPeerProcess implements AsyncDisposable {
  readonly peer: string;
  readonly pid: number;
  readonly calls: PortCaller<LinkPeerOperations, object>;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #port = 0;

  private constructor(child: ChildProcess, member: LinkMember, workplace: Workplace) {
    const { pid } = child;
    if (pid === undefined) throw new CodedError('ERR_INTERNAL', 'a process could not be started');
    workplace.guard.add(pid);
    this.#child = child;
    this.#ended = once(child, 'exit').finally(() => workplace.guard.remove(pid));
    this.pid = pid;
    this.peer = member.peer;
    const postMessage = (messages: PortPost): void => void child.send([...messages]);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- link-peer.ts answers by the same table
    const on = (_event: 'message', listener: (messages: PortPost) => void): unknown =>
      child.on('message', (messages) => listener(messages as PortPost));
    this.calls = new PortCaller({ postMessage, on }, () => undefined);
    child.once('exit', (code, signal) => {
      this.calls.fail(new CodedError('ERR_INTERNAL', `a side ended with ${code ?? signal}`));
    });
  }

  /** Starts it as a member of its cell; with `profile`, a folder, it leaves CPU profiles of its threads there. */
  static async start(
    member: LinkMember,
    options: { readonly workplace: Workplace; readonly profile?: string | undefined },
  ): Promise<LinkPeerProcess> {
    const { workplace, profile } = options;
    // The identity goes over the channel: neither argv nor a file is a place for keys.
    const child = fork(MAIN, {
      env: workplace.env,
      execArgv: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      detached: true,
    });
    const side = new LinkPeerProcess(child, member, workplace);
    try {
      side.#port = (await side.calls.call('start', member)).port;
      return side;
    } catch (error) {
      await side[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where it listens. */
  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    using deadline = clock.deadline(STOP_MS);
    try {
      await abortable(this.#ended, deadline.signal);
    } catch {
      this.#child.kill('SIGKILL');
      await this.#ended;
    }
  }
}
