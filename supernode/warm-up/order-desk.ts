import { backoffMs } from '../../core/base/backoff.ts';
import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { priorities } from '../../core/base/priority.ts';
import type { Random } from '../../core/base/random.ts';
import type { WarmState } from '../../core/wire/messages.ts';
import type { JobHost } from './job-host.ts';
import type { WarmHost, WarmListener } from './warm-host.ts';
import type { WarmUpJob } from './warm-up-job.ts';

/** Orders of one host at a time, of all jobs together. */
const MAX_OUTSTANDING = 8;
/** A release need not wait for the end of others: it has so many more. */
const RELEASE_OUTSTANDING = 4;
const TICK_MS = 500;
/** A host tells of each order every second. */
const SILENCE_MS = 60_000;
/** A host that went away is waited for so long. */
const ABSENCE_MS = 120_000;
/** Orders of one host and job that are lost with their connections before it is given up. */
const MAX_LOSSES = 100;
const RETRY = { firstMs: 1_000, maxMs: 30_000 };

interface Outstanding {
  readonly job: WarmUpJob;
  readonly host: JobHost;
  readonly index: number;
  /** What the registry was shown for it. */
  readonly authorization: string | undefined;
  heardMs: number;
}

export interface OrderDeskParts {
  readonly clock: Clock;
  readonly random: Random;
  /** A registry does not take the authorization of the job any more. */
  onUnauthorized(job: WarmUpJob): void;
}

/** Gives orders to hosts, a few at a time, hears what becomes of them, and orders again what failed or was lost. */
export class OrderDesk implements WarmListener, Disposable {
  readonly #parts: OrderDeskParts;
  readonly #hosts = new Map<string, WarmHost>();
  /** In the order of their beginning. */
  readonly #jobs = new Set<WarmUpJob>();
  readonly #outstanding = new Map<string, Map<string, Outstanding>>();
  readonly #timer: Timer;

  constructor(parts: OrderDeskParts) {
    this.#parts = parts;
    this.#timer = parts.clock.every(TICK_MS, () => this.#tick());
  }

  /** Those connected now. */
  hosts(): readonly WarmHost[] {
    return [...this.#hosts.values()];
  }

  connected(host: WarmHost): void {
    this.#lose(host.peer);
    this.#hosts.set(host.peer, host);
    for (const job of this.#jobs) {
      const part = job.hosts.get(host.peer);
      if (part !== undefined) part.goneSinceMs = undefined;
    }
    this.#orderAll(host.peer);
  }

  disconnected(host: WarmHost): void {
    if (this.#hosts.get(host.peer) !== host) return;
    this.#hosts.delete(host.peer);
    this.#lose(host.peer);
    for (const job of this.#jobs) {
      const part = job.hosts.get(host.peer);
      if (part !== undefined) part.goneSinceMs = this.#now();
    }
  }

  warmed(host: WarmHost, states: readonly WarmState[]): void {
    if (this.#hosts.get(host.peer) !== host) return;
    const outstanding = this.#outstanding.get(host.peer);
    for (const state of states) {
      const order = outstanding?.get(state.id);
      if (order === undefined) continue;
      order.heardMs = this.#now();
      if (state.state === 'running') order.host.progress(order.index, state);
      else {
        outstanding?.delete(state.id);
        this.#ended(order, state);
      }
    }
    this.#orderAll(host.peer);
  }

  /** Takes a job on that has begun; it settles by itself. */
  add(job: WarmUpJob): void {
    this.#jobs.add(job);
    for (const [peer, part] of job.hosts) {
      if (!this.#hosts.has(peer)) part.goneSinceMs = this.#now();
      this.#orderAll(peer);
    }
  }

  /** Orders nothing more for the job, and takes back what is ordered. */
  remove(job: WarmUpJob): void {
    this.#jobs.delete(job);
    for (const [peer, orders] of this.#outstanding) {
      const ids = [...orders].filter(([, order]) => order.job === job).map(([id]) => id);
      if (ids.length === 0) continue;
      for (const id of ids) orders.delete(id);
      this.#hosts.get(peer)?.order({ type: 'warm-stop', ids });
      this.#orderAll(peer);
    }
  }

  [Symbol.dispose](): void {
    this.#timer.cancel();
  }

  #orderAll(peer: string): void {
    const host = this.#hosts.get(peer);
    if (host === undefined) return;
    const outstanding = this.#outstanding.get(peer) ?? new Map<string, Outstanding>();
    this.#outstanding.set(peer, outstanding);
    for (const job of byImportance(this.#jobs)) {
      const part = job.hosts.get(peer);
      if (part === undefined) continue;
      if (!host.takesOrders) {
        const old = new CodedError('ERR_PROTOCOL', 'this host runs a version without warm-up');
        job.note(part, () => part.giveUp(old));
      }
      const most = MAX_OUTSTANDING + (job.priority === 'release' ? RELEASE_OUTSTANDING : 0);
      while (outstanding.size < most) {
        const index = part.next(this.#now());
        if (index === undefined) break;
        const order = job.order(index);
        if (order === undefined) break;
        const { authorization } = job;
        const heardMs = this.#now();
        outstanding.set(order.id, { job, host: part, index, authorization, heardMs });
        host.order({ type: 'warm', ...order });
      }
    }
  }

  #ended({ job, host, index, authorization }: Outstanding, state: WarmState): void {
    if (state.state === 'done') {
      job.note(host, () => host.done(index, state));
      return;
    }
    const error = CodedError.fromObject(
      state.error ?? { code: 'ERR_INTERNAL', message: 'the host gave no reason' },
    );
    const isUnauthorized = error.detail['status'] === 401 && authorization !== undefined;
    // Others may have been refused before, and there is another header since.
    if (isUnauthorized && job.authorization === authorization) this.#parts.onUnauthorized(job);
    this.#fail({ job, host, index }, error, error.facts.retryable || isUnauthorized);
  }

  #fail(
    { job, host, index }: Pick<Outstanding, 'job' | 'host' | 'index'>,
    error: CodedError,
    mayHelp: boolean,
  ): void {
    const dueMs = (attempts: number): number =>
      this.#now() + backoffMs(attempts - 1, RETRY, this.#parts.random);
    job.note(host, () => host.fail(index, error, { mayHelp, dueMs }));
  }

  /** What the host was ordered it may not have heard. */
  #lose(peer: string): void {
    const outstanding = this.#outstanding.get(peer);
    this.#outstanding.delete(peer);
    for (const { job, host, index } of outstanding?.values() ?? []) {
      host.takeBack(index, this.#now());
      if (host.losses < MAX_LOSSES) continue;
      const unsteady = new CodedError(
        'ERR_LINK',
        'the connection to the host ends again and again',
      );
      job.note(host, () => host.giveUp(unsteady));
    }
  }

  #tick(): void {
    const now = this.#now();
    for (const [peer, orders] of this.#outstanding) {
      for (const [id, order] of orders) {
        if (now - order.heardMs < SILENCE_MS) continue;
        orders.delete(id);
        this.#hosts.get(peer)?.order({ type: 'warm-stop', ids: [id] });
        const silent = new CodedError('ERR_TIMEOUT', 'the host says nothing about its order');
        this.#fail(order, silent, true);
      }
    }
    for (const job of this.#jobs) {
      for (const part of job.hosts.values()) {
        if (part.isOver) continue;
        if (part.goneSinceMs !== undefined && now - part.goneSinceMs >= ABSENCE_MS) {
          const gone = new CodedError('ERR_LINK', 'the host is not connected');
          job.note(part, () => part.giveUp(gone));
        }
      }
    }
    if (this.#jobs.size > 0) for (const peer of this.#hosts.keys()) this.#orderAll(peer);
  }

  #now(): number {
    return this.#parts.clock.monotonic();
  }
}

/** The most important first, and of equals the first that came. */
export function byImportance(jobs: Iterable<WarmUpJob>): WarmUpJob[] {
  return [...jobs].toSorted((one, other) => rankOf(one) - rankOf(other));
}

function rankOf({ priority }: WarmUpJob): number {
  return priorities.indexOf(priority);
}
