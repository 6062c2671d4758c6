import type { CodedError } from '../../core/base/error.ts';
import type { WarmState } from '../../core/wire/messages.ts';
import type { HostFailure, HostResult, WarmBytes } from './job-record.ts';
import type { WarmHost } from './warm-host.ts';

/** What became of one task on one host. */
export type HostTaskState = 'waiting' | 'ordered' | 'done' | 'failed';

const states: readonly HostTaskState[] = ['waiting', 'ordered', 'done', 'failed'];
const WAITING = 0;
const ORDERED = 1;
const DONE = 2;
const FAILED = 3;
/** How often a task is ordered of a host before it counts as failed. */
const MAX_ATTEMPTS = 3;
/** Failures kept of one host. */
const MAX_FAILURES = 16;

type Sums = { -readonly [Name in keyof WarmBytes]: WarmBytes[Name] };

/** One host's part in one job: a byte for each task, and sums. */
export class JobHost {
  readonly peer: string;
  /** When it went away; undefined while it is there. */
  goneSinceMs: number | undefined;
  readonly #about: Omit<WarmHost, 'order'>;
  readonly #states: Uint8Array;
  readonly #attempts: Uint8Array;
  readonly #sums: Sums = { received: 0, fromPeers: 0, fromSeed: 0, fromOrigin: 0, fromCache: 0 };
  /** Of tasks under way. */
  readonly #running = new Map<number, WarmState>();
  readonly #failures = new Map<number, HostFailure>();
  /** Tasks to be ordered again, and when. */
  #retries: { readonly index: number; readonly dueMs: number }[] = [];
  #cursor = 0;
  #losses = 0;
  #done = 0;
  #failed = 0;

  constructor(about: Omit<WarmHost, 'order'>, tasks: number) {
    this.peer = about.peer;
    this.#about = about;
    this.#states = new Uint8Array(tasks);
    this.#attempts = new Uint8Array(tasks);
  }

  /** What is kept of it, to find it again after a restart. */
  get chosen(): Pick<HostResult, 'peer' | 'hostname' | 'idc' | 'role'> {
    const { peer, hostname, idc, role } = this.#about;
    return {
      peer,
      ...(hostname === undefined ? {} : { hostname }),
      ...(idc === undefined ? {} : { idc }),
      role,
    };
  }

  get failed(): number {
    return this.#failed;
  }

  /** True when every task is done or failed for good. */
  get isOver(): boolean {
    return this.#done + this.#failed === this.#states.length;
  }

  stateOf(index: number): HostTaskState {
    return states[this.#states[index] ?? 0] ?? 'waiting';
  }

  /** The next task to order of it now, if any; it counts as ordered from then on. */
  next(nowMs: number): number | undefined {
    if (this.isOver) return undefined;
    let index: number | undefined;
    if (this.#cursor < this.#states.length) {
      index = this.#cursor;
      this.#cursor += 1;
    } else {
      const due = this.#retries.findIndex(({ dueMs }) => dueMs <= nowMs);
      if (due >= 0) index = this.#retries.splice(due, 1)[0]?.index;
    }
    if (index === undefined) return undefined;
    this.#states[index] = ORDERED;
    this.#attempts[index] = (this.#attempts[index] ?? 0) + 1;
    return index;
  }

  /** Orders that were lost with a connection. */
  get losses(): number {
    return this.#losses;
  }

  /** Orders that went out and may not have arrived go out again, and it counts as no attempt. */
  takeBack(index: number, nowMs: number): void {
    if (this.#states[index] !== ORDERED) return;
    this.#losses += 1;
    this.#states[index] = WAITING;
    this.#attempts[index] = (this.#attempts[index] ?? 1) - 1;
    this.#running.delete(index);
    this.#retries.push({ index, dueMs: nowMs });
  }

  progress(index: number, state: WarmState): void {
    if (this.#states[index] === ORDERED) this.#running.set(index, state);
  }

  done(index: number, state: WarmState): void {
    if (this.#states[index] !== ORDERED) return;
    this.#states[index] = DONE;
    this.#done += 1;
    this.#failures.delete(index);
    this.#running.delete(index);
    add(this.#sums, state);
  }

  /** Notes a failure; it is tried again `retryMs(attempts)` later where that may help and was not done too often. */
  fail(
    index: number,
    error: CodedError,
    retry: { readonly mayHelp: boolean; readonly dueMs: (attempts: number) => number },
  ): void {
    if (this.#states[index] !== ORDERED) return;
    const attempts = this.#attempts[index] ?? 1;
    const retried = retry.mayHelp && attempts < MAX_ATTEMPTS;
    this.#noteFailure(index, error, { attempts, retried });
    const state = this.#running.get(index);
    if (state !== undefined) add(this.#sums, state);
    this.#running.delete(index);
    if (retried) {
      this.#states[index] = WAITING;
      this.#retries.push({ index, dueMs: retry.dueMs(attempts) });
    } else {
      this.#states[index] = FAILED;
      this.#failed += 1;
    }
  }

  /** Everything that is not done fails for good. */
  giveUp(error: CodedError): void {
    for (const [index, state] of this.#states.entries()) {
      if (state === DONE || state === FAILED) continue;
      this.#noteFailure(index, error, { attempts: this.#attempts[index] ?? 0, retried: false });
      this.#states[index] = FAILED;
      this.#failed += 1;
    }
    for (const state of this.#running.values()) add(this.#sums, state);
    this.#running.clear();
    this.#retries = [];
  }

  bytes(): Sums {
    const sums = { ...this.#sums };
    for (const state of this.#running.values()) add(sums, state);
    return sums;
  }

  result(): HostResult {
    const over = this.#failed > 0 ? 'failed' : 'done';
    const begun = this.#attempts.some((attempts) => attempts > 0) ? 'running' : 'waiting';
    return {
      ...this.chosen,
      state: this.isOver ? over : begun,
      done: this.#done,
      failed: this.#failed,
      bytes: this.bytes(),
      failures: [...this.#failures.values()],
    };
  }

  #noteFailure(
    task: number,
    error: CodedError,
    about: Pick<HostFailure, 'attempts' | 'retried'>,
  ): void {
    if (this.#failures.size >= MAX_FAILURES && !this.#failures.has(task)) return;
    const { code, message } = error;
    this.#failures.set(task, { task, code, message: message.slice(0, 500), ...about });
  }
}

function add(sums: Sums, state: WarmState): void {
  sums.received += state.received;
  sums.fromPeers += state.fromPeers ?? 0;
  sums.fromSeed += state.fromSeed ?? 0;
  sums.fromOrigin += state.fromOrigin ?? 0;
  sums.fromCache += state.fromCache ?? 0;
}
