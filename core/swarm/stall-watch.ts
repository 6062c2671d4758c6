import type { Clock } from '../base/clock.ts';
import type { ReceivedBytes } from './transfer-messages.ts';

/** Without a whole piece for this long, bytes are counted. */
const QUIET_MS = 2_000;
const COUNT_EVERY_MS = 500;
/** Who brings less than this within that time brings nothing, unless others bring little, too. */
const STALL_BYTES = 64 * 1024;
const STALL_MS = 3_000;
/** Nobody stalls before all that is asked of anybody would have come so many times over, at the rate of now. */
const TURNS = 3;
/** Longer is no line: whoever brings nothing for so long stalls in any case. */
const MAX_STALL_MS = 30_000;
/** Who brings less than this part of what others bring on average brings nothing, however slow the line of this host is. */
const STALL_SHARE = 1 / 8;
const LEAST_BYTES = 8 * 1024;
/** A parent that stalled is passed over for so long, twice as long each time until it brings something. */
const FIRST_AVOID_MS = 30_000;
const MAX_AVOID_MS = 600_000;

/** What of a parent, and of all, came until now, and what is still to come. */
export interface StallFacts extends ReceivedBytes {
  /** Of the pieces that are asked of all parents and not here yet, whole ones. */
  readonly askedBytes: number;
}

/**
 * Notices a parent that is alive, because it answers pings, and brings next to nothing although it is asked all the
 * time. One that is merely slow is left alone, and one at which others are before us.
 */
export class StallWatch {
  readonly #clock: Clock;
  #askedSinceMs: number | undefined;
  #countDueMs = 0;
  #seen: { readonly bytes: number; readonly allBytes: number; readonly ms: number } | undefined;
  /** What came of all by when something last did. */
  #allBytes = 0;
  #grewMs = 0;
  #stalls = 0;
  #avoidUntilMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True while others are to be preferred. */
  get isStalled(): boolean {
    return this.#clock.monotonic() < this.#avoidUntilMs;
  }

  /** It is asked for something from now on. */
  asked(): void {
    this.#askedSinceMs ??= this.#clock.monotonic();
  }

  /** It brought a whole piece. */
  brought(): void {
    this.#stalls = 0;
    this.#avoidUntilMs = Number.NEGATIVE_INFINITY;
    this.#restart();
  }

  /** Nothing is asked of it any more. */
  rest(): void {
    this.#restart();
    this.#askedSinceMs = undefined;
  }

  /** True now and then, when it is time to count what it has brought and to `note()` it. */
  isCountDue(): boolean {
    const now = this.#clock.monotonic();
    if (this.#askedSinceMs === undefined || now - this.#askedSinceMs < QUIET_MS) return false;
    if (now < this.#countDueMs) return false;
    this.#countDueMs = now + COUNT_EVERY_MS;
    return true;
  }

  /**
   * Takes the bytes brought so far, pieces that are not whole among them; true when it has stalled. Nobody stalls whose
   * bytes wait for a limit of ours, nor where our own line is so slow that each of many parents brings little, or that
   * pieces wait at parents for long.
   */
  note({ bytes, allBytes, parents, isHeldBack, askedBytes }: StallFacts): boolean {
    const now = this.#clock.monotonic();
    if (this.#askedSinceMs === undefined) return false;
    if (allBytes !== this.#allBytes) this.#grewMs = now;
    this.#allBytes = allBytes;
    const seen = this.#seen;
    if (isHeldBack || seen === undefined || bytes - seen.bytes >= STALL_BYTES) {
      this.#seen = { bytes, allBytes, ms: now };
      return false;
    }
    const isDry = now - this.#grewMs >= STALL_MS;
    const rate = isDry ? 0 : (allBytes - seen.allBytes) / Math.max(1, now - seen.ms);
    if (now - seen.ms < patienceMs(askedBytes, rate) || this.isStalled) return false;
    const others = allBytes - seen.allBytes - (bytes - seen.bytes);
    if (parents > 1 && bytes - seen.bytes >= leastOf(others / (parents - 1))) {
      this.#seen = { bytes, allBytes, ms: now };
      return false;
    }
    this.#avoidUntilMs = now + Math.min(MAX_AVOID_MS, FIRST_AVOID_MS * 2 ** this.#stalls);
    this.#stalls += 1;
    return true;
  }

  #restart(): void {
    if (this.#askedSinceMs !== undefined) this.#askedSinceMs = this.#clock.monotonic();
    this.#seen = undefined;
  }
}

/** Bytes below which a parent brings nothing, where others bring so many each. */
function leastOf(othersMean: number): number {
  return Math.min(STALL_BYTES, Math.max(LEAST_BYTES, othersMean * STALL_SHARE));
}

/** How long a parent may bring next to nothing. While nothing comes of anybody there is no line to wait in. */
function patienceMs(askedBytes: number, bytesPerMs: number): number {
  if (bytesPerMs <= 0) return STALL_MS;
  return Math.min(MAX_STALL_MS, Math.max(STALL_MS, (TURNS * askedBytes) / bytesPerMs));
}
