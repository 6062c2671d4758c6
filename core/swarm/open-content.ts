import { abortReason, abortable } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { TaskShape } from '../wire/messages.ts';
import { begin } from './download.ts';
import type { DownloadRequest } from './download-events.ts';
import type { Engine } from './engine.ts';
import { InlineContent } from './open-content-inline.ts';
import { readEarly } from './open-content-early.ts';
import type { TaskLease } from './swarm-tasks.ts';

/** One version's content, read in order by as many readers as there are, while it comes in or when it is here. */
export interface OpenContent extends AsyncDisposable {
  readonly task: string;
  readonly version: string;
  /** What the origin said: validators, length if known, whether it is private. */
  readonly shape: TaskShape;
  /** Bytes; undefined until the end of content whose origin does not say. */
  readonly length: number | undefined;
  /** Resolves with the length once it is known; throws what ended the task before. */
  lengthKnown(options: { readonly signal: AbortSignal }): Promise<number>;
  /** How far from byte `start` on a reader would get now without a wait: `start` itself when it would wait. */
  readyUntil(start: number): number;
  /**
   * Verified bytes of `[start, end)` (absent: to the end of the content) in order, as they come, in chunks of at most
   * 256 KiB; what a reader does not take stays on disk. Of content named by a digest the last piece is given only
   * when the whole has that digest. Throws ERR_STALLED after `stallMs` in which nothing could be given,
   * ERR_ORIGIN_RANGE for a start past the end, or what ended the task.
   *
   * With `isEarly` the first piece, where all of it and more is read, is given while it comes from the cell's seed,
   * before it is verified; nothing after it is given until it is, and if it is not, ERR_DIGEST_MISMATCH is thrown. Who
   * reads so must be able to take an answer back, and to check what he got when the reading ends within that piece.
   */
  read(
    range: { readonly start: number; readonly end?: number },
    options: ReadOptions,
  ): AsyncIterable<Uint8Array>;
}

/** How content is read. */
export interface ReadOptions {
  readonly signal: AbortSignal;
  readonly stallMs?: number;
  readonly isEarly?: boolean;
}

/** How long a task goes on when its last reader has left: engines hang up early and come back for the rest. */
export const LINGER_MS = 10_000;
/** Bytes for which the data file is opened once: what was parted from an output meanwhile is not read for long. */
const RUN_BYTES = 8 * 1024 * 1024;

/**
 * Finds out what the request means and takes part in it; resolves as soon as its shape is known. Disposing gives up
 * the interest: the task goes on while others want it, and for a while after.
 */
export async function openContent(
  engine: Engine,
  request: DownloadRequest,
  options: { readonly clock: Clock; readonly signal: AbortSignal; readonly readFrom?: number },
): Promise<OpenContent> {
  const { clock, signal, readFrom = 0 } = options;
  const join = { signal, lingerMs: LINGER_MS, readFrom };
  // Whoever reads as it comes in waits for it, unless he says otherwise.
  const wish = { priority: 'interactive', ...request } as const;
  const { registration, lease } = await begin(engine, wish, join);
  const { task, shape } = registration;
  if (lease !== undefined) return new SwarmContent({ engine, request, task, shape, lease, clock });
  const bytes = Buffer.from(registration.content, 'base64');
  await engine.checkBytes(bytes, request.digest, registration.digest);
  return new InlineContent({ task, shape, bytes });
}

interface SwarmContentParts {
  readonly engine: Engine;
  readonly request: DownloadRequest;
  readonly task: string;
  readonly shape: TaskShape;
  readonly lease: TaskLease;
  readonly clock: Clock;
}

class SwarmContent implements OpenContent {
  readonly task: string;
  readonly shape: TaskShape;
  readonly #parts: SwarmContentParts;
  readonly #stored: StoredTask;
  readonly #closing = new AbortController();
  /** What looks again whether there is more to give. */
  readonly #waiting = new Set<() => void>();
  readonly #unlisten: (() => void) | undefined;
  /** Why nothing more comes; undefined while the task runs, `done` when all of it came. */
  #end: CodedError | 'done' | undefined;
  #isWholeRight: boolean;
  #checking: Promise<void> | undefined;

  constructor(parts: SwarmContentParts) {
    this.#parts = parts;
    const { task, shape, lease, request } = parts;
    this.task = task;
    this.shape = shape;
    this.#stored = lease.stored;
    this.#isWholeRight = request.digest === undefined;
    this.#unlisten = lease.peer?.readers.listen(() => this.#wake());
    if (lease.peer === undefined) this.#end = 'done';
    const ended = (end: CodedError | 'done'): void => {
      this.#end = end;
      this.#wake();
    };
    lease.finished.then(
      () => ended('done'),
      (error: unknown) => ended(CodedError.from(error)),
    );
  }

  get version(): string {
    return this.#stored.version;
  }

  get length(): number | undefined {
    return this.#stored.length;
  }

  async lengthKnown({ signal }: { readonly signal: AbortSignal }): Promise<number> {
    const any = AbortSignal.any([signal, this.#closing.signal]);
    await this.#until(() => this.length !== undefined, { signal: any });
    if (this.length === undefined) throw this.#nothingMore();
    return this.length;
  }

  readyUntil(start: number): number {
    return this.#readyUntil(start, this.length ?? Number.POSITIVE_INFINITY);
  }

  async *read(
    range: { readonly start: number; readonly end?: number },
    options: ReadOptions,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    const signal = AbortSignal.any([options.signal, this.#closing.signal]);
    using reader = this.#parts.lease.peer?.readers.add(range);
    let at = range.start;
    if (options.isEarly === true) at = yield* this.#firstPiece(range, { ...options, signal });
    for (;;) {
      throwIfAborted(signal);
      const { length } = this;
      if (length !== undefined && at > length) throw outside(at, length);
      const end = Math.min(range.end ?? Infinity, length ?? Infinity);
      if (at >= end) return;
      const ready = this.#readyUntil(at, end);
      if (ready === at) await this.#more(at, { ...options, signal });
      for await (const chunk of this.#chunks({ start: at, end: ready }, signal)) {
        at += chunk.length;
        reader?.moveTo(at);
        yield chunk;
      }
    }
  }

  /** The first piece as it comes in; returns how far it was given, once that is verified. */
  async *#firstPiece(
    range: { readonly start: number; readonly end?: number },
    options: ReadOptions,
  ): AsyncGenerator<Uint8Array, number, undefined> {
    const { peer } = this.#parts.lease;
    const { length, pieceLength, pieces } = this.#stored;
    const piece = range.start / pieceLength;
    const isMore = range.start + pieceLength < Math.min(range.end ?? Infinity, length ?? 0);
    if (peer === undefined || !Number.isInteger(piece) || !isMore || pieces.has(piece)) {
      return range.start;
    }
    using came = peer.readers.readEarly(piece);
    return yield* readEarly(this.#stored, {
      piece,
      came,
      wait: async (isSo) => this.#wait(isSo, range.start, options),
      signal: options.signal,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new CodedError('ERR_INTERRUPTED', 'the content was closed'));
    this.#unlisten?.();
    await this.#parts.lease[Symbol.asyncDispose]();
  }

  /** Bytes of pieces that were there just now; ends early, without an error, where one was lost meanwhile. */
  async *#chunks(
    range: { readonly start: number; readonly end: number },
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    if (range.start >= range.end) return;
    const stored = this.#stored;
    let at = range.start;
    try {
      for await (const chunk of stored.read(range, { signal })) {
        // Somebody wrote to the finished file: what was read may be his.
        if (stored.checkUnchanged() === 'changed') throw this.#altered();
        at += chunk.length;
        yield chunk;
      }
    } catch (error) {
      const isLost = this.#end === undefined && this.#readyUntil(at, range.end) === at;
      if (!isLost || CodedError.from(error).code !== 'ERR_STORE_IO') throw error;
    }
  }

  #altered(): CodedError {
    const { taskId: task, version } = this.#stored;
    this.#parts.engine.tasks.recheck(`${task}/${version}`);
    const detail = { task, version };
    return new CodedError('ERR_STORE_IO', 'the stored content was altered', { detail });
  }

  /** The end of what is here from `at` on, looking no further than `RUN_BYTES`. */
  #readyUntil(at: number, end: number): number {
    const { pieces, pieceLength, length } = this.#stored;
    const until = Math.min(end, at + RUN_BYTES, this.#heldFrom());
    let piece = Math.floor(at / pieceLength);
    while (piece * pieceLength < until && pieces.has(piece)) {
      // How long the last piece is the length alone tells.
      if (length === undefined && this.#stored.digestOf(piece + 1) === undefined) break;
      piece += 1;
    }
    return Math.max(at, Math.min(until, piece * pieceLength));
  }

  /** From here on nothing is given yet, because the whole may turn out to have another digest. */
  #heldFrom(): number {
    const { length, pieceLength, wholeDigest } = this.#stored;
    if (length === undefined || this.#isWholeRight) return Number.POSITIVE_INFINITY;
    if (wholeDigest === this.#parts.request.digest?.toLowerCase()) return Number.POSITIVE_INFINITY;
    return Math.max(0, Math.ceil(length / pieceLength) - 1) * pieceLength;
  }

  /** Resolves when there may be more to give from `at` on. */
  async #more(at: number, options: ReadOptions): Promise<void> {
    const isReady = (): boolean => this.readyUntil(at) > at;
    await this.#wait(isReady, at, options);
    if (isReady() || at === this.length) return;
    if (this.#end !== 'done' || at < this.#heldFrom()) throw this.#nothingMore();
    await abortable(this.#checkWhole(), options.signal);
  }

  /** Resolves when it is so, or nothing more comes; throws ERR_STALLED after `stallMs`. */
  async #wait(isSo: () => boolean, at: number, { signal, stallMs }: ReadOptions): Promise<void> {
    const { promise: stall, reject } = Promise.withResolvers<never>();
    stall.catch(() => undefined);
    const timer =
      stallMs === undefined
        ? undefined
        : this.#parts.clock.after(stallMs, () => reject(stalled(at, stallMs)));
    try {
      await Promise.race([this.#until(isSo, { signal }), stall]);
    } finally {
      timer?.cancel();
    }
  }

  /** Resolves when it is so, or nothing more comes. */
  async #until(isSo: () => boolean, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (this.#end !== undefined || isSo()) resolve();
    };
    this.#waiting.add(look);
    look();
    try {
      await abortable(promise, signal);
    } finally {
      this.#waiting.delete(look);
    }
  }

  #wake(): void {
    for (const look of this.#waiting) look();
  }

  #nothingMore(): CodedError {
    if (this.#end instanceof CodedError) return this.#end;
    const detail = { task: this.task, version: this.version };
    return new CodedError('ERR_STORE_IO', 'a piece of the stored content was lost', { detail });
  }

  /** Once for all readers: the whole is hashed where nobody who is believed told its digest. */
  async #checkWhole(): Promise<void> {
    const { engine, request } = this.#parts;
    const { signal } = this.#closing;
    this.#checking ??= engine
      .checkStored(this.#stored, request.digest, { signal })
      .then(() => void (this.#isWholeRight = true));
    await this.#checking;
  }
}

function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw CodedError.from(abortReason(signal));
}

function outside(start: number, length: number): CodedError {
  const message = `byte ${start} lies outside the content of ${length} bytes`;
  return new CodedError('ERR_ORIGIN_RANGE', message, { detail: { start, length } });
}

function stalled(at: number, stallMs: number): CodedError {
  const message = `nothing could be given from byte ${at} on for ${stallMs} ms`;
  return new CodedError('ERR_STALLED', message, { detail: { at, stallMs } });
}
