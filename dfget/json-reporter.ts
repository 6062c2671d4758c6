import type { Clock } from '../core/base/clock.ts';
import type { CodedError } from '../core/base/error.ts';
import type { DoneEvent } from './output.ts';
import type { PassingEvent, Reporter } from './reporter.ts';

/** Progress lines come at most five times a second. */
const PROGRESS_MS = 200;

/** One JSON object per line; says nothing else. */
export class JsonReporter implements Reporter {
  readonly #write: (text: string) => void;
  readonly #clock: Clock;
  #progressAtMs = Number.NEGATIVE_INFINITY;

  constructor(write: (text: string) => void, clock: Clock) {
    this.#write = write;
    this.#clock = clock;
  }

  note(): void {
    // A script that asked for JSON gets JSON alone.
  }

  passing(event: PassingEvent): void {
    if (event.type === 'progress') {
      const now = this.#clock.monotonic();
      if (now - this.#progressAtMs < PROGRESS_MS) return;
      this.#progressAtMs = now;
    }
    this.#line(event);
  }

  done(event: DoneEvent, facts: { readonly seconds: number; readonly output: string }): void {
    // Content and the daemon's own file are between dfdaemon and dfget.
    const { content: _content, path: _path, ...rest } = event;
    this.#line({ ...rest, seconds: Math.round(facts.seconds * 1000) / 1000, output: facts.output });
  }

  failed(error: CodedError): void {
    this.#line({ type: 'failed', ...error.toObject() });
  }

  #line(value: object): void {
    this.#write(`${JSON.stringify(value)}\n`);
  }
}
