/** Waiting time after which a source is judged. */
const WINDOW_MS = 4_000;
/** A mesh that brings less, in bytes per second of waiting, is compared with the origin. */
const SLOW_BYTES_PER_SECOND = 1024 * 1024;
/** The origin is preferred when it is so many times as fast. */
const WORTH_IT = 1.5;
/** An origin that was no faster is not tried again for so long. */
const REST_MS = 60_000;
const MAX_ORIGINS = 256;

/** How fast a source brings bytes while somebody waits for them; what the client takes its time for does not count. */
export class Pace {
  #bytes = 0;
  #waitedMs = 0;

  /** A chunk came after so long a wait. Returns bytes per second whenever a window of waiting is full. */
  note(bytes: number, waitedMs: number): number | undefined {
    this.#bytes += bytes;
    this.#waitedMs += waitedMs;
    if (this.#waitedMs < WINDOW_MS) return undefined;
    const rate = (this.#bytes / this.#waitedMs) * 1000;
    this.#bytes = 0;
    this.#waitedMs = 0;
    return rate;
  }
}

/** True when the mesh is so slow that the origin may be faster. */
export function isSlow(bytesPerSecond: number): boolean {
  return bytesPerSecond < SLOW_BYTES_PER_SECOND;
}

/** True when reading from the origin pays. */
export function isFaster(direct: number, mesh: number): boolean {
  return direct > mesh * WORTH_IT;
}

/**
 * When an origin may be tried because the mesh is slow: a host that finds it no faster leaves it alone for a minute,
 * so that many slow readers do not take an origin down that is slow itself.
 */
export class OriginTrials {
  readonly #restsUntilMs = new Map<string, number>();

  /** True when it may be tried now; then nobody else may for a minute. */
  begin(url: string, nowMs: number): boolean {
    const { origin } = new URL(url);
    if (nowMs < (this.#restsUntilMs.get(origin) ?? Number.NEGATIVE_INFINITY)) return false;
    this.#restsUntilMs.delete(origin);
    const [oldest] = this.#restsUntilMs.keys();
    if (this.#restsUntilMs.size >= MAX_ORIGINS && oldest !== undefined) {
      this.#restsUntilMs.delete(oldest);
    }
    this.#restsUntilMs.set(origin, nowMs + REST_MS);
    return true;
  }

  /** It was faster: others may try at once. */
  won(url: string): void {
    this.#restsUntilMs.delete(new URL(url).origin);
  }
}
