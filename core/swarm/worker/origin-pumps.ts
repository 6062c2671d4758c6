import { createHash } from 'node:crypto';
import { CodedError } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import { SystemClock, abortable } from '../../base/clock.ts';
import { SystemRandom } from '../../base/random.ts';
import { RateLimiter } from '../../net/pacing.ts';
import { AddressGuard } from '../../origin/address-guard.ts';
import type { Priority } from '../../base/priority.ts';
import { OriginConnections } from '../../origin/origin-connections.ts';
import { OriginHostLimits } from '../../origin/origin-host-limit.ts';
import { paced } from '../../origin/paced.ts';
import { ReleaseWay } from '../../origin/release-way.ts';
import { openResumable } from '../../origin/read-origin.ts';
import type { ResumableBody } from '../../origin/read-origin.ts';
import type {
  TransferEvents,
  TransferInit,
  TransferOperations,
  TransferOriginHead,
} from '../transfer-messages.ts';
import { MainDoor } from './origin-door.ts';
import { RunningDigest } from './running-digest.ts';
import { NO_ROOM } from '../body-room.ts';
import { PieceWriter } from './task-files.ts';
import type { TaskFiles } from './task-files.ts';

type PumpArgs = TransferOperations['origin-pump']['args'];

/** Tells the main thread. */
type Emit = <N extends 'piece' | 'origin-wanted' | 'origin-left'>(
  name: N,
  value: TransferEvents[N],
) => void;

/** As whom the bytes of a body pass limits: `flow` is its number. */
interface BodyAccount {
  priority: Priority;
  readonly flow: number;
}

/** Bodies that wait or flow at a time; past it opening another fails with ERR_BUSY. */
const MAX_OPEN = 512;

/** Bodies of origins: opened, then streamed into data files piece by piece, or read into memory. */
export class OriginPumps {
  readonly #files: TaskFiles;
  readonly #connections: OriginConnections;
  /** Absent: every address, as the user could reach himself. */
  readonly #guard: AddressGuard | undefined;
  readonly #clock = new SystemClock();
  readonly #random = new SystemRandom();
  readonly #limiter: RateLimiter;
  readonly #log: Log;
  readonly #emit: Emit;
  readonly #door: MainDoor;
  readonly #way: ReleaseWay;
  readonly #open = new Map<number, ResumableBody>();
  /** Of those being opened too. */
  readonly #accounts = new Map<number, BodyAccount>();
  bytes = 0;

  constructor(
    options: TransferInit['origin'],
    parts: {
      readonly files: TaskFiles;
      readonly log: Log;
      readonly emit: Emit;
    },
  ) {
    const { allow, connectionsPerHost, hosts, rate = 0, releaseWay, blobSocket } = options;
    this.#guard = allow === undefined ? undefined : new AddressGuard({ allow });
    const guard = this.#guard ?? AddressGuard.open;
    this.#files = parts.files;
    this.#log = parts.log;
    this.#emit = parts.emit;
    this.#door = new MainDoor(parts.emit, this.#clock);
    this.#way = new ReleaseWay(releaseWay, this.#clock);
    this.#limiter = new RateLimiter(rate, this.#clock);
    const limits = new OriginHostLimits(hosts, connectionsPerHost);
    this.#connections = new OriginConnections({
      guard,
      clock: this.#clock,
      door: this.#door,
      connectionsPerHost: (host) => limits.requestsOf(host),
      blobSocket,
    });
  }

  addOwnPorts(ports: readonly number[]): void {
    this.#guard?.addOwnPorts(ports);
  }

  async open(
    args: TransferOperations['origin-open']['args'],
    signal: AbortSignal,
  ): Promise<TransferOriginHead> {
    if (this.#open.size >= MAX_OPEN) {
      throw new CodedError('ERR_BUSY', `${MAX_OPEN} bodies of origins are open`);
    }
    const account: BodyAccount = { priority: args.priority, flow: args.origin };
    this.#accounts.set(args.origin, account);
    const body = await this.#openBody(args.request, account, signal);
    const { head } = body;
    // There is nothing to read of a 304, and its connection is free again already.
    if (head.status === 304) this.#accounts.delete(args.origin);
    else this.#open.set(args.origin, body);
    const { status, rangeStart, acceptsRanges, validators, contentEncoding, contentType } = head;
    const { length } = head;
    return { status, length, rangeStart, acceptsRanges, validators, contentEncoding, contentType };
  }

  /** The answer to a request of this worker to the gate of the program. */
  admitted(args: TransferOperations['origin-admitted']['args']): void {
    this.#door.admitted(args);
  }

  /** A body is more important than before. */
  setPriority({ origin, priority }: TransferOperations['origin-priority']['args']): void {
    const account = this.#accounts.get(origin);
    if (account !== undefined) account.priority = priority;
  }

  /** Streams the body to disk; a piece is told of when it is whole, hashed and written. */
  async pump(args: PumpArgs, signal: AbortSignal): Promise<{ bytes: number; digest?: string }> {
    return this.#consume(args.origin, signal, async (body) => this.#pump(args, body, signal));
  }

  /** The first `max` bytes of the body, or all of it if it is shorter. */
  async read(origin: number, max: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#consume(origin, signal, async ({ body }) => {
      const chunks: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of body) {
        chunks.push(chunk.subarray(0, max - bytes));
        bytes += chunk.length;
        this.bytes += chunk.length;
        if (bytes >= max) break;
      }
      return new Uint8Array(Buffer.concat(chunks));
    });
  }

  /** Reads the body to its end and keeps nothing but its digest, `ALGO:HEX`. */
  async digest(
    { origin, algorithm }: TransferOperations['origin-digest']['args'],
    signal: AbortSignal,
  ): Promise<string> {
    return this.#consume(origin, signal, async ({ body }) => {
      const sum = new RunningDigest(algorithm);
      for await (const chunk of body) {
        sum.update(chunk);
        this.bytes += chunk.length;
      }
      return sum.text();
    });
  }

  close(origin: number): void {
    this.#open.get(origin)?.close();
    this.#open.delete(origin);
    this.#accounts.delete(origin);
  }

  async closeAll(): Promise<void> {
    for (const body of this.#open.values()) body.close();
    this.#open.clear();
    await this.#connections.close();
  }

  /** Hands a body over to be read, once; it is closed afterwards, and at once when the signal aborts. */
  async #consume<T>(
    origin: number,
    signal: AbortSignal,
    work: (body: ResumableBody) => Promise<T>,
  ): Promise<T> {
    const body = this.#get(origin);
    const abort = (): void => body.close();
    signal.addEventListener('abort', abort, { once: true });
    try {
      signal.throwIfAborted();
      return await work(body);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      this.close(origin);
    }
  }

  async #pump(
    args: PumpArgs,
    opened: ResumableBody,
    signal: AbortSignal,
  ): Promise<{ bytes: number; digest?: string }> {
    const { body, head } = opened;
    const task = this.#files.get(args.key);
    const account = this.#accounts.get(args.origin);
    if (head.contentType !== undefined) this.#files.setMediaType(args.key, head.contentType);
    const limiter = new RateLimiter(args.rate ?? 0, this.#clock);
    const whole = args.whole ? createHash('sha256') : undefined;
    const end = args.end ?? Number.POSITIVE_INFINITY;
    let piece = args.start;
    let writer = new PieceWriter(this.#files, task, piece);
    let bytes = 0;
    const finishPiece = (): void => {
      const { origin } = args;
      this.#emit('piece', { origin, piece, digest: writer.digest(), bytes: writer.bytes });
      piece += 1;
      writer = new PieceWriter(this.#files, task, piece);
    };
    const yielding = { signal, onYield: () => opened.slowDown() };
    for await (const chunk of pacedBody(body, limiter, signal)) {
      let rest = chunk;
      whole?.update(chunk);
      bytes += chunk.length;
      this.bytes += chunk.length;
      while (rest.length > 0 && piece < end) {
        if (args.mayWrite !== undefined && writer.bytes === 0) {
          await roomFor(piece, args.mayWrite, signal);
        }
        const part = rest.subarray(0, task.pieceLength - writer.bytes);
        writer.write(part);
        rest = rest.subarray(part.length);
        if (writer.bytes === task.pieceLength) finishPiece();
      }
      if (piece >= end) break;
      if (account !== undefined) await this.#way.came(chunk.length, account.priority, yielding);
    }
    if (writer.bytes > 0) finishPiece();
    return { bytes, ...(whole === undefined ? {} : { digest: `sha256:${whole.digest('hex')}` }) };
  }

  async #openBody(
    request: TransferOperations['origin-open']['args']['request'],
    account: BodyAccount,
    signal: AbortSignal,
  ): Promise<ResumableBody> {
    try {
      return await openResumable(request, {
        connections: this.#connections,
        clock: this.#clock,
        random: this.#random,
        log: this.#log,
        limiter: this.#limiter,
        account,
        signal,
      });
    } catch (error) {
      this.#accounts.delete(account.flow);
      throw error;
    }
  }

  #get(origin: number): ResumableBody {
    const body = this.#open.get(origin);
    if (body === undefined) throw new CodedError('ERR_NOT_FOUND', 'the body is not open');
    return body;
  }
}

async function* pacedBody(
  body: AsyncIterable<Uint8Array>,
  limiter: RateLimiter,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of body) yield* paced(chunk, limiter, { signal });
}

/** Waits until the piece may be written; ERR_NO_SPACE when it never may. */
async function roomFor(piece: number, mayWrite: Int32Array, signal: AbortSignal): Promise<void> {
  for (;;) {
    const before = Atomics.load(mayWrite, 0);
    if (before > piece) return;
    if (before === NO_ROOM) throw new CodedError('ERR_NO_SPACE', 'there is no room for the body');
    const { async, value } = Atomics.waitAsync(mayWrite, 0, before);
    if (async) await abortable(value, signal);
  }
}
