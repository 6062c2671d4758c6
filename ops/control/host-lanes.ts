import { lanes } from '../../core/identity/call-order.ts';
import type { Lane } from '../../core/identity/call-order.ts';

/** Calls that a host has at a time, of each lane: somewhat more than it runs, so that it never waits for us. */
const MAX_AT_HOST: Readonly<Record<Lane, number>> = { fast: 64, slow: 16 };

/** The calls of one host, in the order in which they came; a lane never waits for the other. */
export class HostLanes {
  readonly #send: (id: string) => boolean;
  readonly #waiting: Readonly<Record<Lane, Set<string>>> = { fast: new Set(), slow: new Set() };
  readonly #there: Readonly<Record<Lane, Set<string>>> = { fast: new Set(), slow: new Set() };

  /** `send` is called when the turn of a call has come; false when it need not be sent. */
  constructor(send: (id: string) => boolean) {
    this.#send = send;
  }

  add(lane: Lane, id: string): void {
    if (this.#there[lane].has(id)) return;
    this.#waiting[lane].add(id);
    this.#fill(lane);
  }

  /** The host has it no more. */
  done(id: string): void {
    for (const lane of lanes) if (this.#there[lane].delete(id)) this.#fill(lane);
  }

  /** It is not to be sent, and if it was, not waited for. */
  drop(id: string): void {
    for (const lane of lanes) this.#waiting[lane].delete(id);
    this.done(id);
  }

  #fill(lane: Lane): void {
    for (const id of this.#waiting[lane]) {
      if (this.#there[lane].size >= MAX_AT_HOST[lane]) return;
      this.#waiting[lane].delete(id);
      if (this.#send(id)) this.#there[lane].add(id);
    }
  }
}
