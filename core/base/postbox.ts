import type { ErrorObject } from './error.ts';

/** Calls between threads of one process: what goes over a port. Both ends are our own code. */
export type PortMessage =
  | { readonly kind: 'call'; readonly id: number; readonly op: string; readonly args: unknown }
  /** A call that is not answered. */
  | { readonly kind: 'tell'; readonly op: string; readonly args: unknown }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  /** Without `id`: of something that was told. */
  | { readonly kind: 'error'; readonly id?: number; readonly error: ErrorObject }
  | { readonly kind: 'event'; readonly name: string; readonly value: unknown };

/** What leaves at once. */
export type PortPost = readonly PortMessage[];

/** The part of `Worker` and `MessagePort` that is used. */
export interface Port {
  postMessage(messages: PortPost): void;
  on(event: 'message', listener: (messages: PortPost) => void): unknown;
}

/**
 * What one side of a port has to say. Each `postMessage` wakes the other thread and copies what it carries: what is
 * said in one turn of the event loop leaves together, and is copied when it leaves.
 */
export class Postbox {
  readonly #port: Port;
  readonly #onRefused: (message: PortMessage, error: unknown) => void;
  #waiting: PortMessage[] = [];

  /** `onRefused` is given a message that cannot be copied. */
  constructor(port: Port, onRefused: (message: PortMessage, error: unknown) => void) {
    this.#port = port;
    this.#onRefused = onRefused;
  }

  post(message: PortMessage): void {
    this.#waiting.push(message);
    if (this.#waiting.length === 1) queueMicrotask(() => this.flush());
  }

  /** Sends what waits now. */
  flush(): void {
    const messages = this.#waiting;
    this.#waiting = [];
    this.#send(messages);
  }

  #send(messages: PortPost): void {
    const [first] = messages;
    if (first === undefined) return;
    try {
      this.#port.postMessage(messages);
    } catch (error) {
      // One that cannot be copied does not keep the others back.
      if (messages.length === 1) this.#onRefused(first, error);
      else for (const message of messages) this.#send([message]);
    }
  }
}
