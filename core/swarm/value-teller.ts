import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { ErrorObject } from '../base/error.ts';
import type { FromHost, LiveValues, Query } from '../wire/messages.ts';

/** Makes out how this host is. */
export type ReadValues = () => Promise<LiveValues>;

export interface ValueTellerParts {
  readonly read: ReadValues;
  readonly send: (message: FromHost) => void;
  readonly clock: Clock;
}

/** Questions that wait for the reading that is under way; past them ERR_BUSY. */
const MAX_WAITING = 16;
/** However often somebody asks, it is looked no more often than this. */
const FRESH_MS = 250;

interface Told {
  readonly values?: LiveValues;
  readonly error?: ErrorObject;
}

/** Answers the questions of a supernode how this host is, all that come at a time with one look. */
export class ValueTeller {
  readonly #parts: ValueTellerParts;
  #waiting: number[] = [];
  #isReading = false;
  #last: { readonly told: Told; readonly atMs: number } | undefined;

  constructor(parts: ValueTellerParts) {
    this.#parts = parts;
  }

  take({ id }: Query): void {
    const { clock } = this.#parts;
    if (this.#last !== undefined && clock.monotonic() - this.#last.atMs < FRESH_MS) {
      this.#tell(id, this.#last.told);
      return;
    }
    if (this.#waiting.length >= MAX_WAITING) {
      const busy = new CodedError('ERR_BUSY', `${MAX_WAITING} questions wait already`);
      this.#tell(id, { error: busy.toObject() });
      return;
    }
    this.#waiting.push(id);
    if (!this.#isReading) void this.#read();
  }

  async #read(): Promise<void> {
    const { read, clock } = this.#parts;
    this.#isReading = true;
    let told: Told;
    try {
      told = { values: await read() };
    } catch (error) {
      told = { error: CodedError.from(error).toObject() };
    }
    this.#isReading = false;
    this.#last = { told, atMs: clock.monotonic() };
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const id of waiting) this.#tell(id, told);
  }

  #tell(id: number, told: Told): void {
    this.#parts.send({ type: 'values', id, ...told });
  }
}
