import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { CallWay } from '../../core/swarm/call-taker.ts';
import type { CallJournal } from './call-journal.ts';
import type { CapturedOutput } from './captured-output.ts';

/** What is written meanwhile goes in one message. */
const LIVE_MS = 100;
const MAX_OUTPUT_BYTES = 65_536;
const MAX_RUNNING = 1_024;
const MAX_ENDED = 64;
/** What the cell was told so long ago and says nothing of is told again, a few at a time. */
const AGAIN = { everyMs: 30_000, calls: 64 } as const;

const streams = ['stdout', 'stderr'] as const;

/** A call whose output is still here. */
interface LiveCall {
  readonly stdout: CapturedOutput;
  readonly stderr: CapturedOutput;
  readonly told: { stdout: number; stderr: number };
  isRunningTold: boolean;
}

export interface CallTellerParts {
  readonly way: CallWay;
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly log: Log;
}

/** Tells the cell what runs here, what it writes, and then what it came to, as fast as the cell takes it. */
export class CallTeller implements Disposable {
  readonly #parts: CallTellerParts;
  readonly #live = new Map<string, LiveCall>();
  /** Ended, not told on this connection: the result where the journal may not have it. */
  readonly #ended = new Map<string, string | undefined>();
  /** Told and not heard: in this period, and in the one before. */
  #told = new Set<string>();
  #toldBefore = new Set<string>();
  readonly #period: Timer;
  #soon: Timer | undefined;
  #telling: Promise<void> | undefined;
  #hasMore = false;
  /** Counts connections: what was said on a former one may not have arrived. */
  #connection = 0;
  #isOver = false;

  constructor(parts: CallTellerParts) {
    this.#parts = parts;
    this.#period = parts.clock.every(AGAIN.everyMs, () => this.#tellForgotten());
  }

  /** Ended calls that are still to be told of. */
  get untold(): number {
    return this.#ended.size;
  }

  /** A call that waits or runs: that it does is told if it takes long. */
  add(
    id: string,
    output: { readonly stdout: CapturedOutput; readonly stderr: CapturedOutput },
  ): void {
    const told = { stdout: 0, stderr: 0 };
    this.#live.set(id, { ...output, told, isRunningTold: false });
    this.#tellSoon();
  }

  /** A call of `add()` that is not to be told of after all. */
  drop(id: string): void {
    this.#live.delete(id);
  }

  /** It has written something. */
  wrote(): void {
    this.#tellSoon();
  }

  /** A result (envelope), after all output of the call. */
  ended(id: string, result: string): void {
    this.#ended.set(id, result);
    this.#tell();
  }

  /** It is asked for once more: tells what is known of it. */
  again(id: string): void {
    const live = this.#live.get(id);
    if (live === undefined) this.#ended.set(id, undefined);
    else live.isRunningTold = false;
    this.#tell();
  }

  /** On another connection everything is told from its beginning. */
  connected(): void {
    this.#connection += 1;
    for (const live of this.#live.values()) {
      live.told.stdout = 0;
      live.told.stderr = 0;
      live.isRunningTold = false;
    }
    for (const id of this.#parts.journal.unheard()) {
      if (!this.#live.has(id) && !this.#ended.has(id)) this.#ended.set(id, undefined);
    }
    this.#tell();
  }

  /** The cell has these results. */
  heard(ids: readonly string[]): void {
    for (const id of ids) {
      this.#told.delete(id);
      this.#toldBefore.delete(id);
    }
  }

  /** Resolves when everything that could be told has been. */
  async idle(): Promise<void> {
    await this.#telling;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#period.cancel();
    this.#soon?.cancel();
  }

  #tellSoon(): void {
    if (this.#isOver) return;
    this.#soon ??= this.#parts.clock.after(
      LIVE_MS,
      () => {
        this.#soon = undefined;
        this.#tell();
      },
      { ref: false },
    );
  }

  #tell(): void {
    this.#hasMore = true;
    this.#telling ??= this.#tellAll().finally(() => {
      this.#telling = undefined;
      // Something came between the last look and this moment.
      if (this.#hasMore && !this.#isOver) this.#tell();
    });
  }

  async #tellAll(): Promise<void> {
    // What comes in one turn of the event loop is told together.
    await Promise.resolve();
    while (this.#hasMore && !this.#isOver) {
      this.#hasMore = false;
      try {
        await this.#tellRunning();
        for (const [id, live] of this.#live) {
          if (!this.#ended.has(id)) await this.#tellLive(id, live);
        }
        await this.#tellEnded();
      } catch (error) {
        // The connection was lost: the next one begins anew.
        const { code, message: reason } = CodedError.from(error);
        this.#parts.log.debug({ code, reason }, 'what calls came to is not told');
      }
    }
  }

  async #tellRunning(): Promise<void> {
    const untold = [...this.#live].filter(
      ([id, { isRunningTold }]) => !isRunningTold && !this.#ended.has(id),
    );
    for (let at = 0; at < untold.length; at += MAX_RUNNING) {
      const some = untold.slice(at, at + MAX_RUNNING);
      for (const [, live] of some) live.isRunningTold = true;
      const running = some.map(([id]) => id);
      await this.#parts.way.sendInTurn({ type: 'call-states', running, ended: [] });
    }
  }

  async #tellLive(call: string, live: LiveCall): Promise<void> {
    for (const stream of streams) {
      while (live.told[stream] < live[stream].kept) {
        const at = live.told[stream];
        const bytes = live[stream].read(at, MAX_OUTPUT_BYTES);
        live.told[stream] = at + bytes.length;
        await this.#tellOutput({ call, stream, at, bytes });
      }
    }
  }

  async #tellEnded(): Promise<void> {
    let batch: { id: string; result: string }[] = [];
    let connection = this.#connection;
    const flush = async (): Promise<void> => {
      const ended = batch.map(({ result }) => result);
      const ids = batch.map(({ id }) => id);
      batch = [];
      // Their output went to a connection that is no more: they are told again on this one.
      if (ended.length === 0 || connection !== this.#connection) return;
      await this.#parts.way.sendInTurn({ type: 'call-states', running: [], ended });
      for (const id of ids) this.#told.add(id);
    };
    for (;;) {
      const [next] = this.#ended;
      if (next === undefined || this.#isOver) break;
      const [id, known] = next;
      if (connection !== this.#connection) batch = [];
      connection = this.#connection;
      const result = known ?? (await this.#resultOf(id));
      if (result !== undefined) {
        await this.#tellOutputOf(id);
        batch.push({ id, result });
      }
      // Its output went to a former connection: once more, now that there is another.
      if (connection !== this.#connection) continue;
      this.#ended.delete(id);
      this.#live.delete(id);
      if (batch.length >= MAX_ENDED) await flush();
    }
    await flush();
  }

  async #resultOf(id: string): Promise<string | undefined> {
    const row = await this.#parts.journal.find(id);
    return row?.state === 'ended' ? row.result : undefined;
  }

  async #tellOutputOf(call: string): Promise<void> {
    const live = this.#live.get(call);
    if (live !== undefined) {
      await this.#tellLive(call, live);
      return;
    }
    const output = await this.#parts.journal.output(call);
    for (const stream of streams) {
      for (let at = 0; at < output[stream].length; at += MAX_OUTPUT_BYTES) {
        const bytes = output[stream].subarray(at, at + MAX_OUTPUT_BYTES);
        await this.#tellOutput({ call, stream, at, bytes });
      }
    }
  }

  async #tellOutput(part: {
    readonly call: string;
    readonly stream: 'stdout' | 'stderr';
    readonly at: number;
    readonly bytes: Buffer;
  }): Promise<void> {
    const { call, stream, at, bytes } = part;
    const data = bytes.toString('base64');
    await this.#parts.way.sendInTurn({ type: 'call-output', call, stream, at, data });
  }

  #tellForgotten(): void {
    for (const id of [...this.#toldBefore].slice(0, AGAIN.calls)) {
      this.#toldBefore.delete(id);
      this.#ended.set(id, undefined);
    }
    for (const id of this.#told) this.#toldBefore.add(id);
    this.#told = new Set();
    if (this.#ended.size > 0) this.#tell();
  }
}
