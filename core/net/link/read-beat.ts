import type { Clock, Timer } from '../../base/clock.ts';

/** What is read at a beat. */
export interface BeatenReader {
  /** Bytes read so far. */
  readonly received: number;
  /** Leaves what comes in the kernel. */
  rest(): void;
  /** Reads it. */
  wake(): void;
}

/** Each is a multiple of those behind it, so that links of several beats are read together. */
const BEATS_MS = [40, 20, 10, 5] as const;
/**
 * What may gather in the kernel. Linux lets a sender send 64 KiB before it has seen how fast they are read: with half
 * of that a beat cannot be what keeps a link slow.
 */
const GATHER_BYTES = 32_768;
/** Below this fewer packets come than beats do: a beat of a link that is all but silent costs two calls for nothing. */
const LEAST_RATE = 50_000;

/** How often bytes should be read that come at this rate, ms; 0: as they come. */
export function beatFor(bytesPerSecond: number): number {
  if (bytesPerSecond < LEAST_RATE) return 0;
  return BEATS_MS.find((ms) => (bytesPerSecond * ms) / 1000 <= GATHER_BYTES) ?? 0;
}

/** Timers are late by a little each time: a beat may come so much early, ms. */
const EARLY_MS = 2;

interface Beaten {
  ms: number;
  lastMs: number;
  /** When it was last woken. */
  received: number;
}

/**
 * Reads slow links of one thread at a beat. Below some 50 Mbit/s packets come one by one, and each wakes the thread and
 * is a read of its own; read together, those of a beat take little more than one of them. A link of which more comes
 * than may gather is no longer slow: it is taken off.
 */
export class ReadBeat {
  readonly #clock: Clock;
  readonly #beaten = new Map<BeatenReader, Beaten>();
  #timer: Timer | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Reads it each `ms` from now on, one of those that `beatFor` gives; 0: as its bytes come. */
  set(reader: BeatenReader, ms: number): void {
    const beaten = this.#beaten.get(reader);
    if (ms === 0) {
      if (this.#beaten.delete(reader)) reader.wake();
      return;
    }
    if (beaten === undefined) {
      const { received } = reader;
      this.#beaten.set(reader, { ms, lastMs: this.#clock.monotonic(), received });
      reader.rest();
    } else beaten.ms = ms;
    // A slower one waits for the next beat: or links that come and go would put it off.
    if (ms < this.#timerMs) this.#retime();
  }

  #retime(): void {
    const ms = Math.min(...this.#beaten.values().map((beaten) => beaten.ms));
    if (ms === this.#timerMs) return;
    this.#timer?.cancel();
    this.#timer = Number.isFinite(ms) ? this.#clock.every(ms, () => this.#beat()) : undefined;
    this.#timerMs = ms;
  }

  #beat(): void {
    const nowMs = this.#clock.monotonic();
    const due = [...this.#beaten].filter(([, { lastMs, ms }]) => nowMs - lastMs >= ms - EARLY_MS);
    for (const [reader, beaten] of due) {
      beaten.lastMs = nowMs;
      beaten.received = reader.received;
      reader.wake();
    }
    this.#retime();
    // By then the loop has polled once: all that had come is read, whether or not it made a TLS record whole.
    setImmediate(() => {
      for (const [reader, beaten] of due) {
        if (this.#beaten.get(reader) !== beaten) continue;
        if (reader.received - beaten.received <= GATHER_BYTES) reader.rest();
        else this.set(reader, 0);
      }
    });
  }
}
