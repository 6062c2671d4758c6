import { availableParallelism } from 'node:os';
import type { Clock } from '../base/clock.ts';
import { sumCompression } from '../compression/compression-stats.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { Priority } from '../base/priority.ts';
import type { Random } from '../base/random.ts';
import type { Standing } from '../base/standing.ts';
import type { KeyedRates } from '../net/keyed-rates.ts';
import type { FetchResult } from '../net/link/piece-fetch.ts';
import type { StoredTask } from '../store/piece-store.ts';
import { claimPort } from './claim-port.ts';
import type { FarRate } from './far-turns.ts';
import { OriginBodies } from './origin-bodies.ts';
import type { RemoteOrigin } from './origin-bodies.ts';
import { keyOf } from './task-key.ts';
import type {
  ReceivedBytes,
  TransferInit,
  TransferOriginRequest,
  TransferStats,
  TransferTask,
  TransferTrust,
} from './transfer-messages.ts';
import { TransferCrew } from './transfer-crew.ts';
import type { TransferCaller, TransferEvent } from './transfer-thread.ts';

/** A parent's channel for one task, seen from the main thread. */
export interface RemoteChannel {
  readonly peer: string;
  readonly address: string;
  /** Pieces it had when the channel opened. */
  readonly pieces: readonly number[];
  /** Resolves when the channel is gone, with the reason. */
  readonly closed: Promise<CodedError>;
  fetch(
    piece: {
      readonly index: number;
      readonly length: number;
      readonly digest: string;
      readonly isUrgent: boolean;
      readonly priority: Priority;
      /** Told how many bytes are in the file, before they are verified: the first, and each time it doubles. */
      readonly onCame?: ((bytes: number) => void) | undefined;
    },
    options: { signal: AbortSignal },
  ): Promise<FetchResult>;
  /** Takes the request for a piece back, which then fails; false when its bytes are on the way. */
  takeBack(index: number): Promise<boolean>;
  askManifest(): Promise<void>;
  /** Bytes of pieces that came so far, whole or not. */
  receivedBytes(): Promise<ReceivedBytes>;
  renew(ticket: string): Promise<void>;
  close(): Promise<void>;
}

/** What a parent has now. */
export interface ParentNews {
  readonly pieces: readonly number[];
  /** Of a seed: what this host is to take first. */
  readonly offers: readonly number[];
  /** Requests that wait in its line. */
  readonly load: number;
}

/** What a channel tells while it is open. */
export interface ChannelListener {
  onHave(news: ParentNews): void;
  onUnhave(pieces: readonly number[]): void;
  onManifest(batches: readonly string[]): void;
  /** Bytes came of pieces whose request was cancelled. */
  onWasted(bytes: number): void;
}

interface OpenChannel extends ChannelListener {
  readonly worker: TransferCaller;
  close(error: CodedError): void;
}

/** A task that workers know, as a new worker has to be told. */
interface KnownTask {
  readonly task: StoredTask;
  readonly offered: Uint8Array | undefined;
}

export interface TransferPoolOptions extends TransferInit {
  readonly workers?: number;
  readonly listen?: { readonly host: string; readonly port: number };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Limiters of all that comes from one host of origins; absent: those of `origin.hosts`, for this pool alone. */
  readonly originRates?: Pick<KeyedRates, 'limiter'> | undefined;
  /** A served file is no longer what was verified. */
  onAltered(key: string): void;
}

/** The transfer workers of this process: links to other hosts, origin bodies, and all payload. */
export class TransferPool implements AsyncDisposable {
  readonly #crew: TransferCrew;
  readonly #tasks = new Map<string, KnownTask>();
  readonly #ownPorts = new Set<number>();
  readonly #channels = new Map<number, OpenChannel>();
  /** Who is told of a piece while it comes, by channel and piece. */
  readonly #coming = new Map<string, (bytes: number) => void>();
  readonly #origins: OriginBodies;
  readonly #options: TransferPoolOptions;
  #nextId = 1;
  #isClosing = false;
  #port: number | undefined;
  #trust: { readonly trust: TransferTrust; readonly atMs: number } | undefined;

  private constructor(options: TransferPoolOptions) {
    this.#options = options;
    const { clock, random, log } = options;
    this.#crew = new TransferCrew({
      clock,
      random,
      log,
      prepare: async (worker) => this.#prepare(worker),
      brief: async (worker) => this.#brief(worker),
      onEvent: (event, worker) => this.#onEvent(event, worker),
      onDeath: (worker, error) => this.#onDeath(worker, error),
    });
    this.#origins = new OriginBodies(this.#crew, options);
  }

  /** Starts the workers and, when told to listen, binds the link port in all of them. */
  static async start(options: TransferPoolOptions): Promise<TransferPool> {
    const pool = new TransferPool(options);
    try {
      const count = options.workers ?? defaultWorkers();
      for (let index = 0; index < count; index += 1) await pool.#crew.add();
      if (options.listen !== undefined) await pool.#listen(options.listen);
      await pool.addOwnPorts(pool.#port === undefined ? [] : [pool.#port]);
      return pool;
    } catch (error) {
      await pool[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Workers there are, and those that live: another is replaced in a moment, or was too often. */
  get workers(): { readonly alive: number; readonly total: number } {
    return this.#crew.counts;
  }

  /** The port the piece link listens on. */
  get linkPort(): number | undefined {
    return this.#port;
  }

  /** Other ports that this program listens on: it must not be made to fetch from itself. */
  async addOwnPorts(ports: readonly number[]): Promise<void> {
    for (const port of ports) this.#ownPorts.add(port);
    await this.#crew.all('own-ports', { ports });
  }

  async setTrust(trust: TransferTrust): Promise<void> {
    this.#trust = { trust, atMs: this.#options.clock.monotonic() };
    await this.#crew.all('trust', trust);
  }

  /** Makes a task known to the workers, or tells them what changed about it. */
  async putTask(task: StoredTask, options: { offered?: Uint8Array } = {}): Promise<void> {
    const known = { task, offered: options.offered };
    this.#tasks.set(keyOf(task), known);
    await this.#crew.all('task-put', putOf(known));
  }

  async dropTask(task: StoredTask): Promise<void> {
    this.#tasks.delete(keyOf(task));
    await this.#crew.all('task-drop', { key: keyOf(task) });
  }

  /** Tells hosts that take from us which pieces they may now ask for. */
  announce(task: StoredTask, pieces: readonly number[], to?: string): void {
    const args = { key: keyOf(task), pieces, ...(to === undefined ? {} : { to }) };
    this.#crew.tell('announce', args);
  }

  retract(task: StoredTask, pieces: readonly number[]): void {
    this.#crew.tell('retract', { key: keyOf(task), pieces });
  }

  /** The batches a worker hands to hosts that ask for the manifest. */
  keepManifest(task: StoredTask, batches: readonly string[], replace = false): void {
    // Copied when it leaves, and the caller may add to its list before.
    this.#crew.tell('manifest', { key: keyOf(task), batches: [...batches], replace });
  }

  /** Pushes batches to all hosts linked for the task. */
  offerManifest(task: StoredTask, batches: readonly string[]): void {
    this.#crew.tell('offer-manifest', { key: keyOf(task), batches });
  }

  /** Links to a host and opens a channel for the task; throws ERR_LINK, ERR_NOT_MEMBER, ERR_TICKET. */
  async openChannel(
    to: {
      readonly peer: string;
      readonly addresses: readonly string[];
      readonly task: StoredTask;
      readonly ticket: string;
      /** Memory of the limiter of the task. */
      readonly rate: SharedArrayBuffer;
      /** The limit of what comes from its idc, where that is another. */
      readonly farRate?: FarRate | undefined;
    },
    options: { readonly listener: ChannelListener; readonly signal: AbortSignal },
  ): Promise<RemoteChannel> {
    const channel = this.#newId();
    const worker = await this.#crew.workerFor(to.peer, options);
    const { promise: closed, resolve } = Promise.withResolvers<CodedError>();
    this.#channels.set(channel, { ...options.listener, worker, close: resolve });
    try {
      const { peer, addresses, task, ticket, rate, farRate } = to;
      const { taskId, version } = task;
      const opened = await worker.call(
        'channel-open',
        {
          channel,
          peer,
          addresses,
          key: keyOf(task),
          task: taskId,
          version,
          ticket,
          rate,
          farRate,
        },
        options,
      );
      return this.#remoteChannel({ channel, worker, closed, to }, opened);
    } catch (error) {
      this.#channels.delete(channel);
      throw error;
    }
  }

  /**
   * Asks an origin, when its turn has come; the body waits until it is pumped, read or closed. `standing`: how important
   * it is, which may be raised on the way.
   */
  async openOrigin(
    request: TransferOriginRequest,
    options: { readonly signal: AbortSignal; readonly standing?: Standing | undefined },
  ): Promise<RemoteOrigin> {
    return this.#origins.open(request, options);
  }

  /** Digest of a file, as `ALGO:HEX`, computed off the main thread. */
  async digest(path: string, algorithm: string, options: { signal: AbortSignal }): Promise<string> {
    const worker = await this.#crew.workerFor(path, options);
    return worker.call('digest', { path, algorithm }, options);
  }

  /** Digest of a piece as it lies in the task's file, hex. */
  async pieceDigest(
    task: StoredTask,
    about: { readonly piece: number; readonly length: number },
    options: { signal: AbortSignal },
  ): Promise<string> {
    const worker = await this.#crew.workerFor(keyOf(task), options);
    return worker.call('piece-digest', { key: keyOf(task), ...about }, options);
  }

  /** Sums over all workers. */
  async stats(): Promise<TransferStats> {
    const all = await this.#crew.all('stats', undefined);
    const sum = (pick: (stats: TransferStats) => number): number =>
      all.reduce((total, stats) => total + pick(stats), 0);
    return {
      bytesIn: sum((stats) => stats.bytesIn),
      bytesOut: sum((stats) => stats.bytesOut),
      receivedBytes: sum((stats) => stats.receivedBytes),
      duplicateBytes: sum((stats) => stats.duplicateBytes),
      links: sum((stats) => stats.links),
      channels: sum((stats) => stats.channels),
      activeUploads: sum((stats) => stats.activeUploads),
      compression: sumCompression(all.map(({ compression }) => compression)),
      queuedBytes: sum((stats) => stats.queuedBytes),
      originBytes: sum((stats) => stats.originBytes),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    await this.#crew[Symbol.asyncDispose]();
  }

  #remoteChannel(
    open: {
      readonly channel: number;
      readonly worker: TransferCaller;
      readonly closed: Promise<CodedError>;
      readonly to: { readonly peer: string; readonly task: StoredTask };
    },
    opened: { readonly pieces: readonly number[]; readonly address: string },
  ): RemoteChannel {
    const { channel, worker, closed, to } = open;
    return {
      peer: to.peer,
      address: opened.address,
      pieces: opened.pieces,
      closed,
      fetch: async ({ index, onCame, ...piece }, { signal }) => {
        const args = { channel, key: keyOf(to.task), piece: index, ...piece };
        if (onCame === undefined) return worker.call('fetch', args, { signal });
        const name = `${channel}/${index}`;
        this.#coming.set(name, onCame);
        const fetched = worker.call('fetch', { ...args, isTold: true }, { signal });
        return fetched.finally(() => this.#coming.delete(name));
      },
      takeBack: async (piece) => worker.call('fetch-back', { channel, piece }),
      askManifest: async () => worker.call('channel-manifest', { channel }),
      receivedBytes: async () => worker.call('channel-bytes', { channel }),
      renew: async (ticket) => worker.call('channel-ticket', { channel, ticket }),
      close: async () => {
        this.#channels.delete(channel);
        if (this.#crew.isAlive(worker)) await worker.call('channel-close', { channel });
      },
    };
  }

  async #prepare(worker: TransferCaller): Promise<void> {
    const { link } = this.#options;
    const origin = { ...this.#options.origin, releaseWay: this.#origins.releaseWay };
    await worker.call('init', { origin, ...(link === undefined ? {} : { link }) });
  }

  /** Tells a new worker what all others know: whom to trust, the tasks, and where to listen. */
  async #brief(worker: TransferCaller): Promise<void> {
    const { listen, clock } = this.#options;
    const told: Promise<unknown>[] = [worker.call('own-ports', { ports: [...this.#ownPorts] })];
    if (this.#trust !== undefined) {
      const { trust, atMs } = this.#trust;
      told.push(worker.call('trust', { ...trust, now: trust.now + clock.monotonic() - atMs }));
    }
    for (const known of this.#tasks.values()) {
      told.push(worker.call('task-put', putOf(known)));
      const batches = known.task.manifest();
      told.push(worker.call('manifest', { key: keyOf(known.task), batches, replace: true }));
    }
    await Promise.all(told);
    if (listen === undefined || this.#port === undefined) return;
    const reusePort = this.workers.total > 1;
    await worker.call('listen', { host: listen.host, port: this.#port, reusePort });
  }

  async #listen(listen: { readonly host: string; readonly port: number }): Promise<void> {
    if (this.workers.total === 1) {
      const [listening] = await this.#crew.all('listen', { ...listen, reusePort: false });
      this.#port = listening?.port;
      return;
    }
    // A second program on the port would share it silently, so it is bound once by us alone.
    const port = await claimPort(listen);
    await this.#crew.all('listen', { host: listen.host, port, reusePort: true });
    this.#port = port;
  }

  #onEvent(event: TransferEvent, worker: TransferCaller): void {
    switch (event.name) {
      case 'have':
        for (const { channel, ...news } of event.value) this.#channels.get(channel)?.onHave(news);
        break;
      case 'unhave':
        this.#channels.get(event.value.channel)?.onUnhave(event.value.pieces);
        break;
      case 'manifest':
        this.#channels.get(event.value.channel)?.onManifest(event.value.batches);
        break;
      case 'wasted':
        this.#channels.get(event.value.channel)?.onWasted(event.value.bytes);
        break;
      case 'channel-closed':
        this.#channels.get(event.value.channel)?.close(CodedError.fromObject(event.value));
        this.#channels.delete(event.value.channel);
        break;
      case 'altered':
        this.#options.onAltered(event.value.key);
        break;
      case 'piece':
        this.#origins.onPiece(event.value);
        break;
      case 'origin-wanted':
        this.#origins.onWanted(worker, event.value);
        break;
      case 'origin-left':
        this.#origins.onLeft(worker, event.value);
        break;
      case 'piece-came':
        this.#coming.get(`${event.value.channel}/${event.value.piece}`)?.(event.value.bytes);
        break;
      case 'log':
        this.#options.log[event.value.level](event.value.facts, event.value.message);
        break;
    }
  }

  #onDeath(worker: TransferCaller, error: CodedError): void {
    this.#origins.onDeath(worker);
    for (const [id, channel] of this.#channels) {
      if (channel.worker !== worker) continue;
      this.#channels.delete(id);
      channel.close(error);
    }
  }

  #newId(): number {
    this.#nextId += 1;
    return this.#nextId;
  }
}

function putOf({ task, offered }: KnownTask): TransferTask {
  return {
    key: keyOf(task),
    task: task.taskId,
    version: task.version,
    path: task.path,
    pieceLength: task.pieceLength,
    length: task.length,
    pieces: task.pieces.bytes,
    capacity: task.pieces.length,
    ...(offered === undefined ? {} : { offered }),
    ...(task.sealed === undefined ? {} : { sealed: task.sealed }),
  };
}

/** One worker on small machines; the main thread and the host's own work need the rest. */
function defaultWorkers(): number {
  return Math.max(1, Math.min(4, Math.floor(availableParallelism() / 4)));
}
