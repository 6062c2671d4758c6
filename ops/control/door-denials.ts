import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditEntry } from './audit-record.ts';

/** Bounds of what those who are denied can have written: a flood of them must not fill the disk. */
export const denialLimits = {
  windowMs: 60_000,
  /** Records of one source and window, one by one; the rest is one record with their number. */
  each: 10,
  /** Sources of a window that are told apart; all others are one. */
  sources: 100,
} as const;

const OTHERS = 'others';

interface Window {
  written: number;
  unwritten: number;
}

/** Writes denials to the audit, the first of each source and minute one by one, the others as a number. */
export class Denials implements AsyncDisposable {
  readonly #audit: Pick<AuditLog, 'append'>;
  readonly #log: Log;
  readonly #timer: Timer;
  #windows = new Map<string, Window>();
  #summing: Promise<void> = Promise.resolve();

  constructor(
    audit: Pick<AuditLog, 'append'>,
    { clock, log }: { readonly clock: Clock; readonly log: Log },
  ) {
    this.#audit = audit;
    this.#log = log;
    this.#timer = clock.every(denialLimits.windowMs, () => void this.sum());
  }

  /** Resolves when it is written, or counted, or neither because there is no writing; never rejects. */
  async note(entry: AuditEntry): Promise<void> {
    const window = this.#windowOf(entry.source);
    if (window.written >= denialLimits.each) {
      window.unwritten += 1;
      return;
    }
    window.written += 1;
    await this.#append(entry);
  }

  /** Writes how many were not written one by one, and begins a new minute. */
  async sum(): Promise<void> {
    const ended = this.#windows;
    this.#windows = new Map();
    this.#summing = this.#summing.then(async () => this.#appendSums(ended));
    return this.#summing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel();
    await this.sum();
  }

  #windowOf(source: string): Window {
    const name =
      this.#windows.has(source) || this.#windows.size < denialLimits.sources ? source : OTHERS;
    const window = this.#windows.get(name) ?? { written: 0, unwritten: 0 };
    this.#windows.set(name, window);
    return window;
  }

  async #appendSums(windows: ReadonlyMap<string, Window>): Promise<void> {
    for (const [source, { unwritten }] of windows) {
      if (unwritten === 0) continue;
      await this.#append({
        kind: 'door.denied',
        principal: '',
        source,
        decision: 'denied',
        object: '',
        detail: { denied: unwritten, withinMs: denialLimits.windowMs },
      });
    }
  }

  async #append(entry: AuditEntry): Promise<void> {
    try {
      await this.#audit.append(entry);
    } catch (error) {
      const { code } = CodedError.from(error);
      this.#log.error({ code, kind: entry.kind }, 'a denial could not be written to the audit');
    }
  }
}
