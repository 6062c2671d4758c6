import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { backoffMs } from '../base/backoff.ts';
import type { Priority } from '../base/priority.ts';
import type { Random } from '../base/random.ts';
import { Bitfield } from '../piece/bitfield.ts';
import type { Parent } from '../wire/messages.ts';
import type { FetchResult } from '../net/link/piece-fetch.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { FarRate } from './far-turns.ts';
import { StallWatch } from './stall-watch.ts';
import type { ReceivedBytes } from './transfer-messages.ts';
import type { ChannelListener, ParentNews, RemoteChannel, TransferPool } from './transfer-pool.ts';

/**
 * A host that sent a wrong piece is asked no more for the task. A seed may be the only one that has the others, and
 * repairs itself when it is told: it is left alone for so long, twice as long each time.
 */
const QUARANTINE = { firstMs: 10_000, maxMs: 600_000 };
const RETRY = { firstMs: 250, maxMs: 5_000 };

/** What the owner of a parent link is told. */
export interface ParentLinkEvents {
  /** It was dialled, or is linked no more. */
  onChange(): void;
  onOpened(parent: ParentLink, pieces: readonly number[]): void;
  onClosed(parent: ParentLink): void;
  onNews(parent: ParentLink, news: ParentNews): void;
  /** It does not have the piece (any more), as it says or as it seems. */
  onLacks(parent: ParentLink, piece: number): void;
  /** It may have the piece after all. */
  onForgiven(parent: ParentLink, piece: number): void;
  onManifest(batches: readonly string[], peer: string): void;
  /** Bytes came that were not wanted any more. */
  onWasted(bytes: number): void;
}

/** What a parent link works with. */
export interface ParentLinkContext {
  readonly pool: TransferPool;
  readonly task: StoredTask;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
  /** Memory of the limiter of the task. */
  readonly rate: SharedArrayBuffer;
  /** The limit of what comes from another idc. */
  farRate(otherIdc: string): FarRate | undefined;
  ticket(): string;
  /** The idc of this host; undefined: not known. */
  idc(): string | undefined;
  /** True when parents are to be asked for their manifest, because no supernode passes it on. */
  wantsManifest(): boolean;
}

/** One parent of a task: its channel, what it has, and how it behaved. */
export class ParentLink {
  readonly peer: string;
  readonly role: 'peer' | 'seed';
  /** The other idc that it stands in; undefined: that of this host, or not known. */
  readonly otherIdc: string | undefined;
  addresses: readonly string[];
  inFlight = 0;
  #channel: RemoteChannel | undefined;
  #pieces: Bitfield;
  #isOpening = false;
  #isClosed = false;
  #quarantines = 0;
  #bannedUntilMs = Number.NEGATIVE_INFINITY;
  #attempts = 0;
  #retryAtMs = 0;
  #busyUntilMs = 0;
  #lastError: CodedError | undefined;
  /** Requests that were sent and not answered. */
  #asked = 0;
  readonly #stall: StallWatch;
  /** Pieces it has and did not give; asked for again when nothing else brings the task forward. */
  readonly #doubted = new Set<number>();
  readonly #context: ParentLinkContext;
  readonly #events: ParentLinkEvents;

  constructor(parent: Parent, context: ParentLinkContext, events: ParentLinkEvents) {
    this.peer = parent.peer;
    this.role = parent.role;
    const own = context.idc();
    this.otherIdc = own === undefined || parent.idc === own ? undefined : parent.idc;
    this.addresses = parent.addresses;
    this.#stall = new StallWatch(context.clock);
    this.#context = context;
    this.#events = events;
    this.#pieces = new Bitfield(context.task.pieces.length);
  }

  /** It stands in another idc. */
  get isFar(): boolean {
    return this.otherIdc !== undefined;
  }

  get isOpen(): boolean {
    return this.#channel !== undefined;
  }

  /** It sent a wrong piece: for good, or for a while, nothing is asked of it and its word does not count. */
  get isBanned(): boolean {
    return this.#context.clock.monotonic() < this.#bannedUntilMs;
  }

  /** It is asked and brings next to nothing: others are to be preferred for a while. */
  get isStalled(): boolean {
    return this.#stall.isStalled;
  }

  /** It could not be linked when it was last tried. */
  get isFailing(): boolean {
    return this.#channel === undefined && this.#attempts > 0;
  }

  get lastError(): CodedError | undefined {
    return this.#lastError;
  }

  get address(): string | undefined {
    return this.addresses[0] ?? this.#channel?.address;
  }

  /** It cannot be asked now. */
  get isResting(): boolean {
    if (this.#channel === undefined || this.isBanned) return true;
    return this.#context.clock.monotonic() < this.#busyUntilMs;
  }

  has(piece: number): boolean {
    return this.#pieces.has(piece);
  }

  /** Opens the channel when it is closed and its time has come; failures are kept for later, not thrown. */
  ensureOpen(): void {
    const { clock, signal } = this.#context;
    if (this.#channel !== undefined || this.#isOpening || this.isBanned || signal.aborted) return;
    if (clock.monotonic() < this.#retryAtMs) return;
    void this.#open();
  }

  async fetch(
    piece: {
      readonly index: number;
      readonly length: number;
      readonly digest: string;
      readonly isUrgent: boolean;
      readonly priority: Priority;
      /** Told how many bytes are in the file, before they are verified. */
      readonly onCame?: ((bytes: number) => void) | undefined;
    },
    options: { readonly signal: AbortSignal },
  ): Promise<FetchResult> {
    if (this.#channel === undefined) throw new CodedError('ERR_LINK', 'the link is closed');
    this.#asked += 1;
    this.#stall.asked();
    try {
      const fetched = await this.#channel.fetch(piece, options);
      this.#stall.brought();
      return fetched;
    } finally {
      this.#asked -= 1;
      if (this.#asked === 0) this.#stall.rest();
    }
  }

  /** Counts now and then what it brings; calls `onStalled` when that is next to nothing. `askedBytes`: of all parents. */
  watch(askedBytes: number, onStalled: () => void): void {
    const channel = this.#channel;
    if (channel === undefined || !this.#stall.isCountDue()) return;
    const note = (received: ReceivedBytes): void => {
      if (channel === this.#channel && this.#stall.note({ ...received, askedBytes })) onStalled();
    };
    channel.receivedBytes().then(note, () => undefined);
  }

  /** Its piece was wrong, as may be others that were asked for at the same time. */
  sentWrong(): void {
    if (this.isBanned) return;
    const { firstMs, maxMs } = QUARANTINE;
    const quarantineMs = Math.min(maxMs, firstMs * 2 ** this.#quarantines);
    const isSeed = this.role === 'seed';
    const now = this.#context.clock.monotonic();
    this.#bannedUntilMs = isSeed ? now + quarantineMs : Number.POSITIVE_INFINITY;
    this.#quarantines += 1;
  }

  /** It did not give the piece: it may not have it after all. */
  lacks(piece: number): void {
    if (!this.#pieces.clear(piece)) return;
    this.#doubted.add(piece);
    this.#events.onLacks(this, piece);
  }

  /** What it did not give may be asked of it again. */
  forgive(): void {
    for (const piece of this.#doubted) {
      this.#pieces.set(piece);
      this.#events.onForgiven(this, piece);
    }
    this.#doubted.clear();
  }

  /** Takes a request back that waits in its line; false when its bytes are on the way. */
  async takeBack(piece: number): Promise<boolean> {
    return (await this.#channel?.takeBack(piece).catch(() => false)) ?? false;
  }

  busyFor(ms: number): void {
    this.#busyUntilMs = this.#context.clock.monotonic() + ms;
  }

  askManifest(): void {
    this.#channel?.askManifest().catch(() => undefined);
  }

  renew(ticket: string): void {
    this.#channel?.renew(ticket).catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const channel = this.#channel;
    this.#channel = undefined;
    this.#events.onClosed(this);
    await channel?.close().catch(() => undefined);
  }

  async #open(): Promise<void> {
    const { pool, task, rate, signal } = this.#context;
    this.#isOpening = true;
    this.#pieces = new Bitfield(task.pieces.length);
    this.#doubted.clear();
    try {
      const channel = await pool.openChannel(
        {
          peer: this.peer,
          addresses: this.addresses,
          task,
          ticket: this.#context.ticket(),
          rate,
          farRate: this.otherIdc === undefined ? undefined : this.#context.farRate(this.otherIdc),
        },
        { listener: this.#listener(), signal },
      );
      if (signal.aborted || this.#isClosed) {
        // It opened just when nobody wanted it any more.
        await channel.close();
        return;
      }
      this.#channel = channel;
      this.#attempts = 0;
      if (this.#context.wantsManifest()) this.askManifest();
      this.#note(channel.pieces);
      this.#events.onOpened(this, channel.pieces);
      void channel.closed.then((error) => this.#closed(error));
    } catch (error) {
      this.#failed(CodedError.from(error));
    } finally {
      this.#isOpening = false;
      this.#events.onChange();
    }
  }

  #listener(): ChannelListener {
    return {
      onHave: (news) => {
        this.#note(news.pieces);
        this.#note(news.offers);
        this.#events.onNews(this, news);
      },
      onUnhave: (pieces) => {
        for (const piece of pieces) {
          this.#pieces.clear(piece);
          this.#doubted.delete(piece);
          this.#events.onLacks(this, piece);
        }
      },
      onManifest: (batches) => this.#events.onManifest(batches, this.peer),
      onWasted: (bytes) => this.#events.onWasted(bytes),
    };
  }

  #note(pieces: readonly number[]): void {
    for (const piece of pieces) {
      if (piece < this.#pieces.length) this.#pieces.set(piece);
      this.#doubted.delete(piece);
    }
  }

  #closed(error: CodedError): void {
    if (this.#channel === undefined) return;
    this.#channel = undefined;
    this.#failed(error);
    this.#events.onClosed(this);
    this.#events.onChange();
  }

  #failed(error: CodedError): void {
    const { clock, random } = this.#context;
    this.#lastError = error;
    this.#retryAtMs = clock.monotonic() + backoffMs(this.#attempts, RETRY, random);
    this.#attempts += 1;
  }
}
