import { abortable } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { MeshNode, MeshSession, SessionStats } from '../net/mesh/mesh-node.ts';
import { keepConnected } from '../net/mesh/reconnect.ts';
import { FromSupernode, Welcome, protocols } from '../wire/messages.ts';
import type {
  Check,
  FromHost,
  Hello,
  Membership,
  Register,
  Registered,
  Revocations,
  Share,
  Source,
  Synced,
  Update,
  Warm,
  WarmStop,
  Call,
  CallStop,
  CallsHeard,
  Query,
} from '../wire/messages.ts';
import { parser } from '../wire/parse-message.ts';
import { isJoinRefusal } from './join-refusal.ts';

const parseMessage = parser(FromSupernode);
const parseWelcome = parser(Welcome);

/** A supernode that says nothing about a registration for this long is treated as gone. */
const REPLY_TIMEOUT_MS = 60_000;
const DIAL_TIMEOUT_MS = 5_000;
/** One that came back has many to answer: what it has begun with a host should not be given up and begun again. */
const DIAL_AGAIN_TIMEOUT_MS = 10_000;
/** A registration that is told to come again does so often, and waits so long at most each time. */
const MAX_BUSY = 4;
const MAX_BUSY_MS = 10_000;
/** A restarted supernode is to know within 5 s who has what. */
const RECONNECT = { firstMs: 200, maxMs: 2_000 };

/**
 * A host that comes back costs a supernode 4 to 7 ms: the hosts of a cell do so over a time that each of them adds to.
 * Those that download, or that somebody waits for, come first.
 */
const COMEBACK_MS = { urgent: 2, idle: 8 };
const MAX_COMEBACK_MS = 60_000;
/** Longest usual wait of those that come first; in a small cell nothing else delays them. */
const URGENT_MAX_MS = 500;

/** A supernode that answered is waited for so long when it goes away: mostly it is being restarted. */
const RETURN_MS = 6_000;
/** Hosts that then do without it do not all go to the origin at the same moment. */
const SPREAD_MS = 2_000;

/** What a host does with what its supernode tells it. */
export interface SupernodeListener {
  onConnected(): void;
  onDisconnected(error: CodedError | undefined): void;
  onMembership(membership: Membership): void;
  /** Sent only to a host whose hello names `revocations` among its features. */
  onRevocations?(message: Revocations): void;
  onNow(now: number): void;
  onUpdate(update: Update): void;
  onCheck(check: Check): void;
  /** Sent only to a host whose hello names `warm` among its features. */
  onOrder?(order: Warm | WarmStop): void;
  /** Sent only to a host whose hello names `calls` among its features. */
  onCall?(message: Call | CallStop | CallsHeard): void;
  /** Sent only to a host whose hello names `limits` among its features. */
  onShare?(share: Share): void;
  /** Sent only to a host whose hello names `query` among its features. */
  onQuery?(query: Query): void;
  /** A registration was answered that nobody waits for any more. */
  onUnwanted(registered: Registered): void;
}

export interface SupernodeClientOptions {
  readonly mesh: MeshNode;
  readonly addresses: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly listener: SupernodeListener;
  readonly hello: () => Hello;
  /** Joins first where there is no valid record; throws what forbids it. */
  readonly ensureMember: (address: string, signal: AbortSignal) => Promise<void>;
  /** Throws when the peer id is not a certified supernode of the cell. */
  readonly verifySupernode: (peerId: string) => void;
  /** True while this host downloads. */
  readonly isDownloading: () => boolean;
  /** The supernode does not take this host's record. */
  readonly onRefused: (error: CodedError) => void;
}

type Reply = Registered | Source | Synced;

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: CodedError) => void;
}

/** A host's one connection to its supernode: kept up, spoken over, and told of. */
export class SupernodeClient implements AsyncDisposable {
  readonly #options: SupernodeClientOptions;
  readonly #controller = new AbortController();
  readonly #waiting = new Map<number, Waiting>();
  readonly #connectedWaiters = new Set<() => void>();
  #session: MeshSession | undefined;
  #loop: Promise<void> | undefined;
  #nextId = 1;
  #lastError: CodedError | undefined;
  /** Attempts in vain since the last connection. */
  #attempts = 0;
  /** When the last connection ended. */
  #lostMs: number | undefined;
  /** Connected hosts, as the supernode last said. */
  #cellHosts = 0;
  #hurry: (() => void) | undefined;

  constructor(options: SupernodeClientOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#session !== undefined;
  }

  /** What was said on the present connection; undefined while there is none. */
  get traffic(): SessionStats | undefined {
    return this.#session?.stats;
  }

  /** Why the last attempt to connect failed. */
  get lastError(): CodedError | undefined {
    return this.#lastError;
  }

  start(): void {
    const { addresses, clock, random, log } = this.#options;
    this.#loop = keepConnected({
      addresses: () => [...addresses],
      connect: async (address, signal) => this.#connect(address, signal),
      clock,
      random,
      log,
      signal: this.#controller.signal,
      pause: async (ms, signal) => this.#pause(ms, signal),
      ...RECONNECT,
    }).catch((error: unknown) => {
      if (!this.#controller.signal.aborted) log.error({ err: error }, 'connecting stopped');
    });
  }

  /**
   * True as soon as a supernode answers. False after `ms`, or once every address was tried in vain; where one answered
   * before, some seconds after it went away, and a moment later that differs from host to host.
   */
  async whenConnected(ms: number, options: { signal: AbortSignal }): Promise<boolean> {
    if (this.isConnected) return true;
    using deadline = this.#options.clock.deadline(this.#patienceMs(ms));
    while (!this.isConnected && !deadline.signal.aborted && this.#mayAnswer) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#connectedWaiters.add(resolve);
      this.#hurry?.();
      deadline.signal.addEventListener('abort', () => resolve(), { once: true });
      try {
        await abortable(promise, options.signal);
      } finally {
        this.#connectedWaiters.delete(resolve);
      }
    }
    return this.isConnected;
  }

  /** Registers a task; throws the supernode's own error, or ERR_MESH_UNAVAILABLE when it does not answer. */
  async register(
    task: Omit<Register, 'type' | 'id'>,
    options: { signal: AbortSignal },
  ): Promise<Registered> {
    const { clock, random } = this.#options;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.#registerOnce(task, options);
      } catch (error) {
        const waitMs = retryMs(error);
        if (waitMs === undefined || tries >= MAX_BUSY) throw error;
        // Many were refused at the same time: they come again spread out.
        await clock.sleep(waitMs * (1 + random.next()), options);
      }
    }
  }

  async #registerOnce(
    task: Omit<Register, 'type' | 'id'>,
    options: { signal: AbortSignal },
  ): Promise<Registered> {
    const reply = await this.#ask((id) => ({ type: 'register', id, ...task }), options);
    if (reply.type !== 'registered') throw new CodedError('ERR_PROTOCOL', 'not a registration');
    return reply;
  }

  /** Asks whether this host may go to the origin itself. */
  async askSource(
    task: string,
    reason: string,
    options: { signal: AbortSignal },
  ): Promise<{ granted: boolean; reason: string }> {
    const reply = await this.#ask((id) => ({ type: 'ask-source', id, task, reason }), options);
    if (reply.type !== 'source')
      throw new CodedError('ERR_PROTOCOL', 'not an answer about the source');
    return reply;
  }

  /** Resolves when the supernode has taken in everything sent before. */
  async sync(options: { signal: AbortSignal }): Promise<void> {
    await this.#ask((id) => ({ type: 'sync', id }), options);
  }

  /** Sends without an answer; lost when no supernode is connected (reconnecting announces everything). */
  send(message: FromHost): void {
    try {
      this.#session?.send(message);
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the supernode takes no more messages');
    }
  }

  /** Sends when the supernode has taken what was sent before: for many messages at once. */
  async sendInTurn(message: FromHost): Promise<void> {
    await this.#session?.drained({ signal: this.#controller.signal });
    this.send(message);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#controller.abort(new CodedError('ERR_INTERRUPTED', 'this program is stopping'));
    await this.#session?.close();
    await this.#loop;
  }

  /**
   * The usual wait, or as long as this host lets others go first: by chance after a connection, and the whole time of
   * the cell after an attempt in vain. So hosts keep their places, and come evenly to a supernode that was away for
   * however long; drawn anew each time, twice as many would come in the first moments.
   */
  async #pause(longMs: number, signal: AbortSignal): Promise<void> {
    const { clock, random } = this.#options;
    const isUrgent = this.#isUrgent;
    const eachMs = isUrgent ? COMEBACK_MS.urgent : COMEBACK_MS.idle;
    const wholeMs = Math.min(this.#cellHosts * eachMs, MAX_COMEBACK_MS);
    const spreadMs = this.#attempts === 0 ? random.next() * wholeMs : wholeMs;
    const usualMs = isUrgent ? Math.min(longMs, URGENT_MAX_MS) : longMs;
    await clock.sleep(usualMs, { signal });
    if (spreadMs <= usualMs || this.#isUrgent !== isUrgent) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(spreadMs - usualMs, resolve);
    if (!isUrgent) this.#hurry = resolve;
    try {
      await abortable(promise, signal);
    } finally {
      timer.cancel();
      this.#hurry = undefined;
    }
  }

  get #isUrgent(): boolean {
    return this.#connectedWaiters.size > 0 || this.#options.isDownloading();
  }

  #patienceMs(firstMs: number): number {
    const { clock, random } = this.#options;
    if (this.#lostMs === undefined) return firstMs;
    const returnMs = Math.max(0, this.#lostMs + RETURN_MS - clock.monotonic());
    return returnMs + random.next() * SPREAD_MS;
  }

  /** False when there is no sense in waiting. */
  get #mayAnswer(): boolean {
    if (isJoinRefusal(this.#lastError)) return false;
    return this.#lostMs !== undefined || this.#attempts < this.#options.addresses.length;
  }

  async #ask(message: (id: number) => FromHost, options: { signal: AbortSignal }): Promise<Reply> {
    const session = this.#session;
    if (session === undefined) {
      throw new CodedError(
        'ERR_MESH_UNAVAILABLE',
        this.#lastError?.message ?? 'no supernode answers',
      );
    }
    const id = this.#nextId;
    this.#nextId += 1;
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    this.#waiting.set(id, { resolve, reject });
    using deadline = this.#options.clock.deadline(REPLY_TIMEOUT_MS, options);
    try {
      session.send(message(id));
      return await abortable(promise, deadline.signal);
    } catch (error) {
      if (deadline.isOver) {
        throw new CodedError('ERR_MESH_UNAVAILABLE', 'the supernode does not answer', {
          cause: error,
        });
      }
      throw error;
    } finally {
      this.#waiting.delete(id);
    }
  }

  /** One connection, from dialling to its end. */
  async #connect(address: string, signal: AbortSignal): Promise<void> {
    const { mesh, clock, listener, log } = this.#options;
    let ended: CodedError | undefined;
    try {
      const session = await this.#open(address, signal, clock);
      this.#session = session;
      this.#lastError = undefined;
      log.info({ address, peer: session.remotePeerId }, 'supernode connected');
      listener.onConnected();
      for (const wake of this.#connectedWaiters) wake();
      ended = await this.#listen(session);
      await mesh.disconnect(session.remotePeerId);
    } catch (error) {
      ended = CodedError.from(error);
      throw error;
    } finally {
      this.#lastError = ended ?? new CodedError('ERR_MESH_UNAVAILABLE', 'the supernode went away');
      const wasConnected = this.#session !== undefined;
      this.#attempts = wasConnected ? 0 : this.#attempts + 1;
      if (wasConnected) this.#lostMs = clock.monotonic();
      this.#session = undefined;
      this.#failWaiting(this.#lastError);
      if (wasConnected) listener.onDisconnected(ended);
      for (const wake of this.#connectedWaiters) wake();
    }
  }

  async #open(address: string, signal: AbortSignal, clock: Clock): Promise<MeshSession> {
    const { mesh, ensureMember, hello, listener, verifySupernode } = this.#options;
    const isReturning = this.#lostMs !== undefined;
    using deadline = clock.deadline(isReturning ? DIAL_AGAIN_TIMEOUT_MS : DIAL_TIMEOUT_MS);
    const either = AbortSignal.any([signal, deadline.signal]);
    await ensureMember(address, signal);
    const session = await mesh
      .dial(address, protocols.control, { hello: hello(), signal: either })
      .catch((error: unknown) => {
        const coded = CodedError.from(error);
        if (coded.code === 'ERR_NOT_MEMBER') this.#options.onRefused(coded);
        throw coded;
      });
    try {
      const { membership } = parseWelcome(session.welcome);
      listener.onMembership(membership);
      verifySupernode(session.remotePeerId);
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  async #listen(session: MeshSession): Promise<CodedError | undefined> {
    try {
      for await (const frame of session.receive()) this.#take(parseMessage(frame));
      return await session.closed;
    } catch (error) {
      await session.close();
      return CodedError.from(error);
    }
  }

  #take(message: FromSupernode): void {
    const { listener } = this.#options;
    switch (message.type) {
      case 'registered':
        if (this.#waiting.has(message.id)) this.#waiting.get(message.id)?.resolve(message);
        else listener.onUnwanted(message);
        break;
      case 'source':
      case 'synced':
        this.#waiting.get(message.id)?.resolve(message);
        break;
      case 'rejected':
        this.#waiting.get(message.id)?.reject(CodedError.fromObject(message.error));
        break;
      case 'update':
        listener.onUpdate(message);
        break;
      case 'check':
        listener.onCheck(message);
        break;
      case 'warm':
      case 'warm-stop':
        listener.onOrder?.(message);
        break;
      case 'call':
      case 'call-stop':
      case 'calls-heard':
        listener.onCall?.(message);
        break;
      case 'share':
        listener.onShare?.(message);
        break;
      case 'query':
        listener.onQuery?.(message);
        break;
      case 'membership':
        listener.onMembership(message);
        break;
      case 'revocations':
        listener.onRevocations?.(message);
        break;
      case 'now':
        this.#cellHosts = message.hosts ?? this.#cellHosts;
        listener.onNow(message.now);
        break;
    }
  }

  #failWaiting(error: CodedError): void {
    const gone = new CodedError('ERR_MESH_UNAVAILABLE', error.message, { cause: error });
    for (const waiting of this.#waiting.values()) waiting.reject(gone);
    this.#waiting.clear();
  }
}

/** How long a supernode that is too busy asks to wait; undefined for any other failure. */
function retryMs(error: unknown): number | undefined {
  const { code, detail } = CodedError.from(error);
  const waitMs = detail['retryAfterMs'];
  if (code !== 'ERR_BUSY' || typeof waitMs !== 'number' || !(waitMs >= 0)) return undefined;
  return Math.min(waitMs, MAX_BUSY_MS);
}
