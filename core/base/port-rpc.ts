import { CodedError } from './error.ts';
import type { ErrorObject } from './error.ts';

/** Calls between threads of one process: what goes over the port. Both ends are our own code. */
export type PortMessage =
  | { readonly kind: 'call'; readonly id: number; readonly op: string; readonly args: unknown }
  | { readonly kind: 'cancel'; readonly id: number }
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: ErrorObject }
  | { readonly kind: 'event'; readonly name: string; readonly value: unknown };

/** The part of `Worker` and `MessagePort` that is used. */
export interface Port {
  postMessage(message: PortMessage): void;
  on(event: 'message', listener: (message: PortMessage) => void): unknown;
}

/** Operations by name: argument and result. */
export type Operations<Ops> = { [N in keyof Ops]: { args: unknown; result: unknown } };

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** The calling side. */
export class PortCaller<Ops extends Operations<Ops>, Events> {
  readonly #port: Port;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #gone: CodedError | undefined;

  constructor(
    port: Port,
    onEvent: <N extends keyof Events & string>(name: N, value: Events[N]) => void,
  ) {
    this.#port = port;
    port.on('message', (message) => {
      if (message.kind === 'result') this.#settle(message.id)?.resolve(message.value);
      else if (message.kind === 'error') {
        this.#settle(message.id)?.reject(CodedError.fromObject(message.error));
      } else if (message.kind === 'event') {
        // Our own worker: names and values are typed where they are posted.
        /* oxlint-disable typescript/no-unsafe-type-assertion */
        onEvent(
          message.name as keyof Events & string,
          message.value as Events[keyof Events & string],
        );
        /* oxlint-enable typescript/no-unsafe-type-assertion */
      }
    });
  }

  /** Calls without an answer yet. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Runs an operation on the other thread; aborting the signal cancels it there and then rejects here with its reason. */
  async call<N extends keyof Ops & string>(
    op: N,
    args: Ops[N]['args'],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Ops[N]['result']> {
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#gone !== undefined) throw this.#gone;
    const id = this.#nextId;
    this.#nextId += 1;
    const cancel = (): void => this.#port.postMessage({ kind: 'cancel', id });
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      return await new Promise<Ops[N]['result']>((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        this.#port.postMessage({ kind: 'call', id, op, args });
      });
    } catch (error) {
      // The other side only knows that it was cancelled.
      signal?.throwIfAborted();
      throw error;
    } finally {
      this.#pending.delete(id);
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Rejects everything that waits: the other thread is gone. */
  fail(error: CodedError): void {
    this.#gone = error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }
}

/** Handlers for every operation; each may be aborted by its signal. */
export type PortHandlers<Ops extends Operations<Ops>> = {
  readonly [N in keyof Ops]: (
    args: Ops[N]['args'],
    context: { readonly signal: AbortSignal },
  ) => Promise<Ops[N]['result']> | Ops[N]['result'];
};

/** The serving side: answers calls until the port closes. */
export function servePort<Ops extends Operations<Ops>>(
  port: Port,
  handlers: PortHandlers<Ops>,
): void {
  const byName = new Map<string, (args: never, context: { signal: AbortSignal }) => unknown>(
    Object.entries(handlers),
  );
  const running = new Map<number, AbortController>();
  const run = async (id: number, op: string, args: unknown): Promise<void> => {
    const controller = new AbortController();
    running.set(id, controller);
    try {
      const handler = byName.get(op);
      if (handler === undefined) throw new CodedError('ERR_INTERNAL', `no operation ${op}`);
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- PortCaller sends what the table says
      const value = await handler(args as never, { signal: controller.signal });
      port.postMessage({ kind: 'result', id, value });
    } catch (error) {
      port.postMessage({ kind: 'error', id, error: CodedError.from(error).toObject() });
    } finally {
      running.delete(id);
    }
  };
  port.on('message', (message) => {
    if (message.kind === 'call') void run(message.id, message.op, message.args);
    else if (message.kind === 'cancel') {
      running.get(message.id)?.abort(new CodedError('ERR_INTERRUPTED', 'cancelled by its caller'));
    }
  });
}
