import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { Serial } from '../../core/store/serial.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';

/** What a change waits for others that go into the same commit: after a start all hosts come at once. */
const WRITE_AFTER_MS = 1_000;
const RETRY_AFTER_MS = 60_000;
const SEEN_EVERY_MS = 3_600_000;
/** Rows of one commit. */
const TOGETHER = 1_000;

export interface HostWriterParts {
  readonly state: StateStore;
  readonly clock: Clock;
  readonly log: Log;
  /** The row of a host as it is now, or that there is none any more. */
  readonly changesOf: (peer: string) => StateChange[];
  /** Hosts that are here now. */
  readonly present: () => Iterable<string>;
  /** When a host was last here, as a row; nothing for one that is not known any more. */
  readonly seenOf: (peer: string) => StateChange[];
}

/** Writes what has changed of hosts soon, when they were here seldom, and many of them in one commit. */
export class HostWriter implements AsyncDisposable {
  readonly #parts: HostWriterParts;
  readonly #changed = new Set<string>();
  readonly #seen = new Set<string>();
  readonly #writing = new Serial();
  readonly #seenTimer: Timer;
  #timer: Timer | undefined;

  constructor(parts: HostWriterParts) {
    this.#parts = parts;
    this.#seenTimer = parts.clock.every(SEEN_EVERY_MS, () => void this.#writeAll());
  }

  /** Its row is to be written, or removed. */
  changed(peer: string): void {
    this.#changed.add(peer);
    this.#writeLater(WRITE_AFTER_MS);
  }

  /** True while its row is not written. */
  isWaiting(peer: string): boolean {
    return this.#changed.has(peer);
  }

  seen(peer: string): void {
    this.#seen.add(peer);
  }

  /** Resolves when what is being written now has been, or could not be. */
  async idle(): Promise<void> {
    await this.#writing.idle();
  }

  /** Writes all that is to be written; the store is whose it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#seenTimer.cancel();
    await this.#writeAll();
    this.#timer?.cancel();
  }

  #writeLater(ms: number): void {
    this.#timer ??= this.#parts.clock.after(
      ms,
      () => {
        this.#timer = undefined;
        void this.#writing.run(async () => this.#writeChanged());
      },
      { ref: false },
    );
  }

  async #writeAll(): Promise<void> {
    await this.#writing.run(async () => {
      await this.#writeChanged();
      for (const peer of this.#parts.present()) this.#seen.add(peer);
      await this.#commit(this.#seen, this.#parts.seenOf);
    });
  }

  async #writeChanged(): Promise<void> {
    await this.#commit(this.#changed, this.#parts.changesOf);
    if (this.#changed.size > 0) this.#writeLater(RETRY_AFTER_MS);
  }

  /** Takes peers out of `waiting` as they are written; those that cannot be stay, for another time. Never rejects. */
  async #commit(waiting: Set<string>, changesOf: (peer: string) => StateChange[]): Promise<void> {
    const { state, log } = this.#parts;
    while (waiting.size > 0) {
      const peers = [...waiting].slice(0, TOGETHER);
      for (const peer of peers) waiting.delete(peer);
      try {
        await state.commit(peers.flatMap((peer) => changesOf(peer)));
      } catch (error) {
        const { code } = CodedError.from(error);
        log.warn({ code, hosts: peers.length }, 'what is known of hosts could not be written');
        for (const peer of peers) waiting.add(peer);
        return;
      }
    }
  }
}
