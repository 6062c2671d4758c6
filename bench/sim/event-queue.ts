/** Something that happens at a moment of virtual time; one object may be due several times, one after the other. */
export interface SimEvent {
  fire(): void;
}

const FIRST_ROOM = 1_024;

/**
 * Events by time, those of one time in the order they were added: a binary heap in flat arrays. Events are objects
 * rather than functions, so that what happens millions of times (a block sent, a block taken) needs no new closure.
 */
export class EventQueue {
  #times = new Float64Array(FIRST_ROOM);
  #orders = new Float64Array(FIRST_ROOM);
  readonly #events: (SimEvent | undefined)[] = [];
  #size = 0;
  #added = 0;
  #fired = 0;
  #nowMs = 0;

  /** Virtual time, ms. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that are still to come. */
  get size(): number {
    return this.#size;
  }

  /** Events that were. */
  get fired(): number {
    return this.#fired;
  }

  /** Fires the event at that time; a time that is over means now. */
  at(timeMs: number, event: SimEvent): void {
    const time = Math.max(this.#nowMs, timeMs);
    let at = this.#size;
    this.#size += 1;
    if (this.#size > this.#times.length) this.#grow();
    this.#added += 1;
    while (at > 0) {
      const up = (at - 1) >> 1;
      // What is added later comes later: only a smaller time passes its elders.
      if (time >= (this.#times[up] ?? 0)) break;
      this.#move(up, at);
      at = up;
    }
    this.#times[at] = time;
    this.#orders[at] = this.#added;
    this.#events[at] = event;
  }

  after(ms: number, event: SimEvent): void {
    this.at(this.#nowMs + ms, event);
  }

  /** Runs a function after `ms`, for what happens rarely. */
  call(ms: number, run: () => void): void {
    this.after(ms, { fire: run });
  }

  /** Fires the next event; false when there is none. */
  step(): boolean {
    const [event] = this.#events;
    if (event === undefined) return false;
    this.#nowMs = this.#times[0] ?? 0;
    this.#fired += 1;
    this.#size -= 1;
    if (this.#size > 0) this.#sinkLast();
    this.#events[this.#size] = undefined;
    event.fire();
    return true;
  }

  /** Puts the last entry where the first was, then down to its place. */
  #sinkLast(): void {
    const size = this.#size;
    const time = this.#times[size] ?? 0;
    const order = this.#orders[size] ?? 0;
    const event = this.#events[size];
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= size) break;
      if (down + 1 < size && this.#isEarlier(down + 1, down)) down += 1;
      const downTime = this.#times[down] ?? 0;
      if (time < downTime || (time === downTime && order < (this.#orders[down] ?? 0))) break;
      this.#move(down, at);
      at = down;
    }
    this.#times[at] = time;
    this.#orders[at] = order;
    this.#events[at] = event;
  }

  #isEarlier(one: number, other: number): boolean {
    const oneTime = this.#times[one] ?? 0;
    const otherTime = this.#times[other] ?? 0;
    if (oneTime !== otherTime) return oneTime < otherTime;
    return (this.#orders[one] ?? 0) < (this.#orders[other] ?? 0);
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from] ?? 0;
    this.#orders[to] = this.#orders[from] ?? 0;
    this.#events[to] = this.#events[from];
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2);
    times.set(this.#times);
    this.#times = times;
    const orders = new Float64Array(this.#orders.length * 2);
    orders.set(this.#orders);
    this.#orders = orders;
  }
}
