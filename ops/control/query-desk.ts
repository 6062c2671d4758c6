import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Limiter } from '../../core/base/limiter.ts';
import type { Slot } from '../../core/base/limiter.ts';
import type { LiveValues, Values } from '../../core/wire/messages.ts';
import { queryLimits } from './query-host.ts';
import type { QueryHost, QueryListener } from './query-host.ts';

/** What one host makes of a question. */
export type HostAnswer =
  | { readonly type: 'answered'; readonly values: LiveValues }
  | { readonly type: 'refused'; readonly code: string; readonly message: string }
  | { readonly type: 'silent'; readonly reason: string };

/** Told once. */
type Take = (answer: HostAnswer) => void;

/** A question that a host has not answered. */
interface Asked {
  readonly id: number;
  readonly atMs: number;
  readonly takers: Set<Take>;
}

const MAX_MESSAGE = 200;
const OLDER: HostAnswer = {
  type: 'refused',
  code: 'ERR_PROTOCOL',
  message: 'its dfdaemon is of a version that answers no queries',
};

/** Asks connected hosts how they are, each one thing at a time: who asks meanwhile gets the same answer. */
export class QueryDesk implements QueryListener {
  readonly #clock: Clock;
  readonly #hosts = new Map<string, QueryHost>();
  /** By peer id. */
  readonly #asked = new Map<string, Asked>();
  readonly #places = new Limiter({ max: queryLimits.running, maxWaiting: 0 });
  /** What became of questions since the start. */
  readonly outcomes = new Map<HostAnswer['type'], number>([
    ['answered', 0],
    ['refused', 0],
    ['silent', 0],
  ]);
  #nextId = 1;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get clock(): Clock {
    return this.#clock;
  }

  /** Queries under way. */
  get running(): number {
    return this.#places.active;
  }

  /** A place for one more query; ERR_BUSY. */
  async enter(): Promise<Slot> {
    return this.#places.acquire();
  }

  /**
   * Tells `take` what the host says, which may be at once; after the return value was disposed it is told nothing.
   * Whoever asks decides how long he waits.
   */
  ask(peer: string, take: Take): Disposable {
    const host = this.#hosts.get(peer);
    if (host === undefined) take({ type: 'silent', reason: 'not connected' });
    else if (host.answersQueries) return this.#ask(host, take);
    else take(OLDER);
    return { [Symbol.dispose]: () => undefined };
  }

  connected(host: QueryHost): void {
    // What the former connection was asked it does not answer on this one.
    this.#gone(host.peer);
    this.#hosts.set(host.peer, host);
  }

  disconnected(host: QueryHost): void {
    if (this.#hosts.get(host.peer) !== host) return;
    this.#hosts.delete(host.peer);
    this.#gone(host.peer);
  }

  /** What nobody asked, or not any more, is dropped. */
  told(host: QueryHost, { id, values, error }: Values): void {
    const asked = this.#asked.get(host.peer);
    if (asked?.id !== id || this.#hosts.get(host.peer) !== host) return;
    this.#asked.delete(host.peer);
    give(asked, values === undefined ? refusal(error) : { type: 'answered', values });
  }

  #ask(host: QueryHost, take: Take): Disposable {
    const { peer } = host;
    const now = this.#clock.monotonic();
    const former = this.#asked.get(peer);
    // One that never answers is asked again when nobody can still be waiting for the first answer.
    const isOpen = former !== undefined && now - former.atMs <= queryLimits.maxTimeoutMs;
    const { takers, id } = isOpen ? former : { takers: new Set<Take>(), id: this.#nextId };
    takers.add(take);
    if (!isOpen) {
      this.#nextId += 1;
      this.#asked.set(peer, { id, atMs: now, takers });
      host.query({ type: 'query', id });
    }
    return { [Symbol.dispose]: () => void takers.delete(take) };
  }

  #gone(peer: string): void {
    const asked = this.#asked.get(peer);
    this.#asked.delete(peer);
    if (asked !== undefined) give(asked, { type: 'silent', reason: 'its connection ended' });
  }
}

function give({ takers }: Asked, answer: HostAnswer): void {
  for (const take of takers) take(answer);
  takers.clear();
}

function refusal(error: Values['error']): HostAnswer {
  const said = error ?? { code: 'ERR_PROTOCOL', message: 'it says neither how it is nor why not' };
  const { code, message } = CodedError.fromObject(said);
  return { type: 'refused', code, message: message.slice(0, MAX_MESSAGE) };
}
