import type { CodedError } from '../../base/error.ts';
import type { Account } from '../fair-line.ts';
import type { RateLimiter } from '../pacing.ts';
import { FLAG_LAST, FLAG_MORE } from './frame.ts';
import type { FramePart, Inflow, Inflowing } from './inflow.ts';
import type { PieceFetch } from './piece-fetch.ts';

/** What the arrival of a piece needs of its channel. */
export interface ArrivalContext {
  readonly inflow: Inflow;
  readonly account: Account;
  /** That of the task. */
  readonly limiter: RateLimiter | undefined;
  /** That of what comes from far away. */
  readonly farLimiter: RateLimiter | undefined;
  /** Bytes may pass. Throws nothing. */
  readonly onPass: (part: FramePart) => void;
}

/** A piece that was asked for: what came of it, and what of that limits let pass. */
export class Arrival implements Inflowing {
  readonly fetch: PieceFetch;
  readonly #context: ArrivalContext;
  #cameBytes = 0;
  #passedBytes = 0;
  #isOver = false;

  constructor(fetch: PieceFetch, context: ArrivalContext) {
    this.fetch = fetch;
    this.#context = context;
  }

  get account(): Account {
    return this.#context.account;
  }

  get limiter(): RateLimiter | undefined {
    return this.#context.limiter;
  }

  get farLimiter(): RateLimiter | undefined {
    return this.#context.farLimiter;
  }

  /** Bytes of it that came. */
  get cameBytes(): number {
    return this.#cameBytes;
  }

  /** True once nothing more is to come. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** True while bytes that came wait for a limit. */
  get isHeld(): boolean {
    return this.#cameBytes > this.#passedBytes;
  }

  /** Bytes of it have come. */
  take(part: FramePart): void {
    const { header, at, bytes } = part;
    this.#cameBytes += bytes.length;
    const isLast = (header.flags & (FLAG_LAST | FLAG_MORE)) === FLAG_LAST;
    this.#isOver = isLast && at + bytes.length === header.length;
    this.#context.inflow.take(this, part);
  }

  pass(part: FramePart): void {
    this.#passedBytes += part.bytes.length;
    this.#context.onPass(part);
  }

  /** No more of it will come, or is wanted. */
  fail(error: CodedError): void {
    this.#context.inflow.drop(this);
    this.fetch.fail(error);
  }
}
