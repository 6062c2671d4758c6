import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import { Standing } from '../base/standing.ts';
import { KeyedRates } from '../net/keyed-rates.ts';
import { OriginGate } from '../origin/origin-gate.ts';
import { OriginHostLimits } from '../origin/origin-host-limit.ts';
import { releaseMemory } from '../origin/release-way.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { BodyRoom } from './body-room.ts';
import { keyOf } from './task-key.ts';
import { OriginPasses } from './origin-passes.ts';
import type { TransferCrew } from './transfer-crew.ts';
import type {
  TransferEvents,
  TransferInit,
  TransferOriginHead,
  TransferOriginRequest,
} from './transfer-messages.ts';
import type { TransferCaller } from './transfer-thread.ts';

/** An origin's answer, its body waiting in a worker. */
export interface RemoteOrigin extends AsyncDisposable {
  readonly head: TransferOriginHead;
  /** How important it is, which may be raised. */
  readonly standing: Standing;
  /** Streams the body into the task's file; `onPiece` is told of each piece on disk. */
  pump(
    task: StoredTask,
    options: {
      readonly start: number;
      readonly end?: number;
      readonly whole: boolean;
      /** Memory of the limiter of the task. */
      readonly rate?: SharedArrayBuffer | undefined;
      /** Of content of unknown length. */
      readonly room?: BodyRoom | undefined;
      readonly signal: AbortSignal;
      readonly onPiece: (piece: number, digest: string, bytes: number) => void;
    },
  ): Promise<{ bytes: number; digest?: string }>;
  /** The first `max` bytes of the body. */
  read(max: number, options: { signal: AbortSignal }): Promise<Uint8Array>;
  /** The digest of the whole body, `ALGO:HEX`. */
  digest(algorithm: string, options: { signal: AbortSignal }): Promise<string>;
}

/** What bodies of origins are opened with. */
export interface OriginBodiesParts {
  readonly origin: TransferInit['origin'];
  /** Limiters of all that comes from one host; absent: those of `origin.hosts`, for these bodies alone. */
  readonly originRates?: Pick<KeyedRates, 'limiter'> | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** Bodies of origins in the workers, seen from the main thread, and the gate that all requests for them pass. */
export class OriginBodies {
  readonly #crew: Pick<TransferCrew, 'workerFor' | 'isAlive'>;
  /** Of those being pumped: who is told of pieces. */
  readonly #pumps = new Map<number, (piece: number, digest: string, bytes: number) => void>();
  /** From the first word to the end of the body. */
  readonly #standings = new Map<number, Standing>();
  readonly #passes: OriginPasses;
  readonly #limits: OriginHostLimits;
  /** Memory for workers, by which their bodies make way for releases. */
  readonly releaseWay = releaseMemory();
  #lastId = 0;

  constructor(
    crew: Pick<TransferCrew, 'workerFor' | 'isAlive'>,
    { origin, originRates, clock, random }: OriginBodiesParts,
  ) {
    this.#crew = crew;
    const limits = new OriginHostLimits(origin.hosts, origin.connectionsPerHost);
    const rates = originRates ?? new KeyedRates((host) => limits.rateOf(host), clock);
    this.#limits = limits;
    this.#passes = new OriginPasses(new OriginGate({ limits, rates, clock, random }));
  }

  /**
   * Asks an origin, when its turn has come; the body waits until it is pumped, read or closed. `standing`: how important
   * it is, which may be raised on the way.
   */
  async open(
    request: TransferOriginRequest,
    options: { readonly signal: AbortSignal; readonly standing?: Standing | undefined },
  ): Promise<RemoteOrigin> {
    const { signal, standing = new Standing() } = options;
    const origin = this.#nextId();
    const worker = await this.#crew.workerFor(this.#originName(request.url), { signal });
    this.#standings.set(origin, standing);
    const watch = standing.watch(() => {
      worker.tell('origin-priority', { origin, priority: standing.priority });
    });
    const end = (): void => {
      this.#standings.delete(origin);
      watch[Symbol.dispose]();
    };
    const { priority } = standing;
    try {
      const head = await worker.call('origin-open', { origin, request, priority }, { signal });
      // Of an unchanged version the worker keeps nothing: spares every question that finds it so a round trip.
      if (head.status === 304) end();
      return this.#remoteOrigin({ origin, worker, head, standing, end });
    } catch (error) {
      end();
      throw error;
    }
  }

  onPiece({ origin, piece, digest, bytes }: TransferEvents['piece']): void {
    this.#pumps.get(origin)?.(piece, digest, bytes);
  }

  onWanted(worker: TransferCaller, wanted: TransferEvents['origin-wanted']): void {
    const { origin } = wanted;
    const standing = origin === undefined ? undefined : this.#standings.get(origin);
    this.#passes.wanted(worker, wanted, standing);
  }

  onLeft(worker: TransferCaller, left: TransferEvents['origin-left']): void {
    this.#passes.left(worker, left);
  }

  onDeath(worker: TransferCaller): void {
    this.#passes.died(worker);
  }

  #remoteOrigin(open: {
    readonly origin: number;
    readonly worker: TransferCaller;
    readonly head: TransferOriginHead;
    readonly standing: Standing;
    readonly end: () => void;
  }): RemoteOrigin {
    const { origin, worker, head, standing, end } = open;
    const ending = async <T>(work: Promise<T>): Promise<T> => work.finally(end);
    return {
      head,
      standing,
      pump: async (task, pump) => ending(this.#pump({ origin, worker }, task, pump)),
      read: async (max, { signal }) =>
        ending(worker.call('origin-read', { origin, max }, { signal })),
      digest: async (algorithm, { signal }) =>
        ending(worker.call('origin-digest', { origin, algorithm }, { signal })),
      [Symbol.asyncDispose]: async () => {
        end();
        if (head.status === 304) return;
        if (this.#crew.isAlive(worker)) await worker.call('origin-close', { origin });
      },
    };
  }

  async #pump(
    { origin, worker }: { readonly origin: number; readonly worker: TransferCaller },
    task: StoredTask,
    pump: Parameters<RemoteOrigin['pump']>[1],
  ): Promise<{ bytes: number; digest?: string }> {
    const { start, end, whole, rate, room, signal } = pump;
    this.#pumps.set(origin, (piece, digest, bytes) => {
      void room?.admit(piece + 1);
      pump.onPiece(piece, digest, bytes);
    });
    try {
      await room?.admit(start);
      const range = { start, ...(end === undefined ? {} : { end }) };
      const mayWrite = room === undefined ? {} : { mayWrite: room.mayWrite };
      return await worker.call(
        'origin-pump',
        { origin, key: keyOf(task), ...range, whole, ...mayWrite, ...(rate && { rate }) },
        { signal },
      );
    } catch (error) {
      throw room?.failure ?? error;
    } finally {
      this.#pumps.delete(origin);
    }
  }

  /** Hosts whose connections are counted are one worker's: what it keeps open between requests counts too. */
  #originName(url: string): string {
    const host = URL.canParse(url) ? new URL(url).hostname : url;
    return this.#limits.isCounted(host) ? host : url;
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
}
