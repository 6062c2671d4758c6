import { abortable } from '../base/clock.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { priorities, weightOf, yieldsTo } from '../base/priority.ts';
import type { Priority } from '../base/priority.ts';
import { FairLine } from '../net/fair-line.ts';
import type { Account } from '../net/fair-line.ts';
import type { RateLimiter } from '../net/pacing.ts';

/** One request of a class is not yet a competition: it may wait for something else than this host's link. */
const COMPETING = 2;
/** Requests are taken back for the sake of a more important class no more often than this. */
const TAKE_BACK_MS = 2_000;
/** Under a limit so much is asked for ahead: longer than any round trip. */
const AHEAD_MS = 500;
/** However low the limit: one piece that comes, one that is asked for meanwhile. */
const LEAST_AHEAD = 2;
/** While no more than this is asked for, each flow may have one request under way: so they share by time, not by piece. */
const ALL_FLOWS_BYTES = 4_194_304;
/** A limit that was not reached for so long lets more ask, at each look: those under way may be with slow parents. */
const UNUSED_MS = 100;
const LOOK_MS = 100;

interface Running extends Account {
  readonly bytes: number;
  readonly onYield: () => void;
}

/** One request for a piece. */
export interface TurnRequest {
  readonly bytes: number;
  readonly account: Account;
  readonly signal: AbortSignal;
  /** A more important class wants the link, or less may come: take the request back if nothing has come of it. */
  readonly onYield?: () => void;
}

/**
 * Requests for pieces, each made in its turn. Where no rate is set the link may be what they compete for, and who has
 * most requests under way gets most of it: while a class that is much more important wants something, those that yield
 * to it have one request under way together, in turns. So they go on, and the link is not theirs. Where a rate is set no
 * more is asked for than comes in a moment, and who asks next is who is next by weight; what comes pays on its way in.
 */
export class RequestTurns {
  readonly #clock: Clock;
  readonly #limiter: Pick<RateLimiter, 'bytesPerSecond' | 'owedMs' | 'onLowered'>;
  readonly #running = new Set<Running>();
  readonly #line = new FairLine<() => void>();
  #tookBackMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  /** `limiter`: what the bytes that are asked for will pay to. */
  constructor(clock: Clock, limiter: Pick<RateLimiter, 'bytesPerSecond' | 'owedMs' | 'onLowered'>) {
    this.#clock = clock;
    this.#limiter = limiter;
    limiter.onLowered(() => this.#takeBackBeyond());
  }

  /** Requests under way. */
  get running(): number {
    return this.#running.size;
  }

  /** Resolves when the request may be made; dispose it when that has ended. */
  async take({ bytes, account, signal, onYield }: TurnRequest): Promise<Disposable> {
    signal.throwIfAborted();
    const { priority, flow } = account;
    const one = { priority, flow, bytes, onYield: onYield ?? (() => undefined) };
    if (this.#mayRun(priority, flow)) {
      this.#line.pay(account, bytes);
      return this.#run(one);
    }
    const { promise, resolve } = Promise.withResolvers<Disposable>();
    const pass = (): void => resolve(this.#run(one));
    this.#line.push(pass, account, bytes);
    this.#lookAgain();
    try {
      return await abortable(promise, signal);
    } catch (error) {
      // It may have got its turn just before.
      if (!this.#line.remove(pass, account)) (await promise)[Symbol.dispose]();
      throw error;
    }
  }

  #run(one: Running): Disposable {
    this.#running.add(one);
    this.#takeBackFor(one.priority);
    return {
      [Symbol.dispose]: () => {
        if (this.#running.delete(one)) this.#letPass();
      },
    };
  }

  #letPass(): void {
    for (;;) {
      const next = this.#line.shift((priority, flow) => this.#mayRun(priority, flow));
      if (next === undefined) break;
      next.item();
    }
    this.#lookAgain();
  }

  /** What is owed is paid by and by, and a limit that is raised or not reached tells nobody. */
  #lookAgain(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#line.isEmpty) return;
    const look = (): void => {
      if (this.#limiter.owedMs < -UNUSED_MS) this.#letMorePass();
      this.#letPass();
    };
    this.#timer = this.#clock.after(LOOK_MS, look, { ref: false });
  }

  /** As much as the limit lets come until the next look. */
  #letMorePass(): void {
    const most = (this.#limiter.bytesPerSecond * LOOK_MS) / 1_000;
    for (let bytes = 0; bytes < most;) {
      const next = this.#line.shift((priority) => this.#isInTurn(priority));
      if (next === undefined) return;
      bytes += next.bytes;
      next.item();
    }
  }

  #mayRun(priority: Priority, flow: unknown): boolean {
    return this.#isRoom({ priority, flow }) && this.#isInTurn(priority);
  }

  /** True while less is asked for than the limit lets come in a moment; what matters less takes nobody's room. */
  #isRoom({ priority, flow }: Account): boolean {
    const { bytesPerSecond, owedMs } = this.#limiter;
    if (bytesPerSecond <= 0) return true;
    if (owedMs > AHEAD_MS) return false;
    const least = weightOf(priority);
    const running = [...this.#running].filter((one) => weightOf(one.priority) >= least);
    const bytes = running.reduce((sum, one) => sum + one.bytes, 0);
    if (running.length < LEAST_AHEAD || bytes < (bytesPerSecond * AHEAD_MS) / 1_000) return true;
    if (running.some((one) => one.flow === flow)) return false;
    // What a flow asked for ahead, when there was no other, is nobody's place.
    return firstOfEach(running).reduce((sum, first) => sum + first.bytes, 0) < ALL_FLOWS_BYTES;
  }

  #isInTurn(priority: Priority): boolean {
    const above = priorities.find((other) => yieldsTo(priority, other) && this.#competes(other));
    if (above === undefined) return true;
    return !this.#running.values().some((one) => yieldsTo(one.priority, above));
  }

  #competes(priority: Priority): boolean {
    return this.#count(priority) >= COMPETING;
  }

  #count(priority: Priority): number {
    return [...this.#running].filter((one) => one.priority === priority).length;
  }

  /** The limit was lowered: what was asked for last is taken back, as far as it is more than what may be asked for now. */
  #takeBackBeyond(): void {
    const most = (this.#limiter.bytesPerSecond * AHEAD_MS) / 1_000;
    let firstBytes = 0;
    const kept = new Set<Running>();
    for (const one of firstOfEach(this.#running)) {
      firstBytes += one.bytes;
      if (firstBytes <= ALL_FLOWS_BYTES) kept.add(one);
    }
    let bytes = 0;
    for (const [at, one] of [...this.#running].entries()) {
      bytes += one.bytes;
      if (at >= LEAST_AHEAD && bytes > most && !kept.has(one)) one.onYield();
    }
  }

  /** A class has just begun to compete: what waits at parents for those that yield to it is to come later. */
  #takeBackFor(priority: Priority): void {
    const now = this.#clock.monotonic();
    if (this.#count(priority) !== COMPETING || now - this.#tookBackMs < TAKE_BACK_MS) return;
    const yielding = [...this.#running].filter((one) => yieldsTo(one.priority, priority));
    if (yielding.length === 0) return;
    this.#tookBackMs = now;
    for (const one of yielding) one.onYield();
  }
}

function firstOfEach(running: Iterable<Running>): Running[] {
  const firsts = new Map<unknown, Running>();
  for (const one of running) if (!firsts.has(one.flow)) firsts.set(one.flow, one);
  return [...firsts.values()];
}
