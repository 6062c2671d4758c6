import type { Clock, Timer } from '../core/base/clock.ts';
import type { CodedError } from '../core/base/error.ts';
import { explainLines } from './explain-table.ts';
import type { DoneEvent } from './output.ts';
import { printable } from '../core/base/printable.ts';
import { renderProgress } from './progress.ts';
import type { ProgressState } from './progress.ts';
import type { PassingEvent, Reporter } from './reporter.ts';
import { failLine, successLine } from './result-lines.ts';

const REDRAW_MS = 200;
const ERASE_LINE = '\r\u001b[K';

/** Where text for people goes. */
export interface Screen {
  /** Results. */
  readonly out: (text: string) => void;
  /** Notes, explanations of failures, and the bar. */
  readonly err: (text: string) => void;
  /** Width of the terminal; undefined: no bar. */
  readonly columns: (() => number) | undefined;
}

/** Text for people: a bar on a terminal, then one line with the result. */
export class HumanReporter implements Reporter {
  readonly #screen: Screen;
  readonly #clock: Clock;
  readonly #toldReasons = new Set<string>();
  #startedMs = 0;
  #progress: Omit<ProgressState, 'elapsedMs'> = {
    received: 0,
    bytesPerSecond: 0,
    fromPeers: 0,
  };
  #timer: Timer | undefined;
  #isDrawn = false;

  constructor(screen: Screen, clock: Clock) {
    this.#screen = screen;
    this.#clock = clock;
    if (screen.columns === undefined) return;
    this.#startedMs = clock.monotonic();
    this.#timer = clock.every(REDRAW_MS, () => this.#draw());
  }

  note(text: string): void {
    this.#erase();
    this.#screen.err(`dfget: ${printable(text)}\n`);
  }

  passing(event: PassingEvent): void {
    switch (event.type) {
      case 'started':
        this.#progress = { ...this.#progress, length: event.length, waiting: undefined };
        return;
      case 'progress':
        this.#progress = { ...event, length: event.length ?? this.#progress.length };
        return;
      case 'stalled':
        this.#progress = { ...this.#progress, waiting: event };
        if (this.#screen.columns === undefined) this.#tellOnce(event.reason);
    }
  }

  done(event: DoneEvent, facts: { readonly seconds: number; readonly output: string }): void {
    this.#close();
    if (event.explain !== undefined) {
      this.#screen.out(`${explainLines(event.explain).join('\n')}\n`);
    }
    this.#screen.out(`${successLine({ ...event, seconds: facts.seconds })}\n`);
  }

  failed(error: CodedError, facts: { readonly seconds: number; readonly length: number }): void {
    this.#close();
    this.#screen.out(`${failLine({ ...facts, error })}\n`);
    this.#screen.err(`dfget: ${error.code}: ${printable(error.message)}\n`);
    this.#screen.err(`  ${error.facts.next}\n`);
    const { cause } = error;
    if (error.code === 'ERR_INTERNAL' && cause instanceof Error) {
      this.#screen.err(`${cause.stack ?? cause.message}\n`);
    }
  }

  // Without a bar nobody sees why it waits, and a line for each second of it would fill a log.
  #tellOnce(reason: string): void {
    if (this.#toldReasons.size >= 100 || this.#toldReasons.has(reason)) return;
    this.#toldReasons.add(reason);
    this.note(`waiting: ${reason}`);
  }

  #draw(): void {
    const { columns } = this.#screen;
    if (columns === undefined) return;
    const elapsedMs = this.#clock.monotonic() - this.#startedMs;
    const line = renderProgress({ ...this.#progress, elapsedMs }, columns());
    this.#screen.err(`${ERASE_LINE}${line}`);
    this.#isDrawn = true;
  }

  #erase(): void {
    if (this.#isDrawn) this.#screen.err(ERASE_LINE);
    this.#isDrawn = false;
  }

  #close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#erase();
  }
}
