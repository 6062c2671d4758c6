import { CodedError } from './error.ts';
import { Postbox } from './postbox.ts';
import type { Port, PortMessage } from './postbox.ts';

/** Operations by name: argument and result. */
export type Operations<Ops> = { [N in keyof Ops]: { args: unknown; result: unknown } };

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly signal: AbortSignal | undefined;
  readonly cancel: () => void;
}

/** The calling side. */
export class PortCaller<Ops extends Operations<Ops>, Events> {
  readonly #box: Postbox;
  readonly #pending = new Map<number, Pending>();
  readonly #onEvent: <N extends keyof Events & string>(name: N, value: Events[N]) => void;
  readonly #onRefused: (error: CodedError) => void;
  #nextId = 1;
  #gone: CodedError | undefined;

  /** `onRefused`: something that was told failed at the other side. */
  constructor(
    port: Port,
    onEvent: <N extends keyof Events & string>(name: N, value: Events[N]) => void,
    onRefused: (error: CodedError) => void = () => undefined,
  ) {
    this.#box = new Postbox(port, (message, error) => this.#unsent(message, error));
    this.#onEvent = onEvent;
    this.#onRefused = onRefused;
    port.on('message', (messages) => {
      for (const message of messages) this.#take(message);
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
    const cancel = (): void => this.#box.post({ kind: 'cancel', id });
    signal?.addEventListener('abort', cancel, { once: true });
    return new Promise<Ops[N]['result']>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, signal, cancel });
      this.#box.post({ kind: 'call', id, op, args });
    });
  }

  /** Runs an operation on the other thread and waits for nothing; in vain when that thread is gone. */
  tell<N extends keyof Ops & string>(op: N, args: Ops[N]['args']): void {
    if (this.#gone === undefined) this.#box.post({ kind: 'tell', op, args });
  }

  /** Rejects everything that waits: the other thread is gone. */
  fail(error: CodedError): void {
    this.#gone = error;
    for (const id of this.#pending.keys()) this.#reject(id, error);
  }

  #take(message: PortMessage): void {
    if (message.kind === 'result') this.#settle(message.id)?.resolve(message.value);
    else if (message.kind === 'error') {
      const error = CodedError.fromObject(message.error);
      if (message.id === undefined) this.#onRefused(error);
      else this.#reject(message.id, error);
    } else if (message.kind === 'event') {
      // Our own worker: names and values are typed where they are posted.
      /* oxlint-disable typescript/no-unsafe-type-assertion */
      this.#onEvent(
        message.name as keyof Events & string,
        message.value as Events[keyof Events & string],
      );
      /* oxlint-enable typescript/no-unsafe-type-assertion */
    }
  }

  #unsent(message: PortMessage, error: unknown): void {
    if (message.kind === 'call') this.#settle(message.id)?.reject(error);
    else this.#onRefused(CodedError.from(error));
  }

  #reject(id: number, error: CodedError): void {
    const pending = this.#settle(id);
    if (pending === undefined) return;
    // The other side only knows that it was cancelled.
    const { signal, reject } = pending;
    reject(signal?.aborted === true ? signal.reason : error);
  }

  #settle(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.signal?.removeEventListener('abort', pending.cancel);
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

/** A call that runs. Most look at no signal: it is made for those that do. */
class Running {
  #controller: AbortController | undefined;
  #reason: CodedError | undefined;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    return this.#controller.signal;
  }

  cancel(reason: CodedError): void {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }
}

/** The serving side: answers calls until the port closes. What it returns tells the caller of events. */
export function servePort<Ops extends Operations<Ops>, Events = object>(
  port: Port,
  handlers: PortHandlers<Ops>,
): <N extends keyof Events & string>(name: N, value: Events[N]) => void {
  const byName = new Map<string, (args: never, context: { signal: AbortSignal }) => unknown>(
    Object.entries(handlers),
  );
  const running = new Map<number, Running>();
  const box = new Postbox(port, (message, error) => {
    if (message.kind === 'result') fail(error, message.id);
  });
  const fail = (error: unknown, id?: number): void => {
    const about = id === undefined ? {} : { id };
    box.post({ kind: 'error', ...about, error: CodedError.from(error).toObject() });
  };
  const handle = (op: string, args: unknown, context: Running): unknown => {
    const handler = byName.get(op);
    if (handler === undefined) throw new CodedError('ERR_INTERNAL', `no operation ${op}`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- PortCaller sends what the table says
    return handler(args as never, context);
  };
  const answer = async (id: number, op: string, args: unknown): Promise<void> => {
    const context = new Running();
    running.set(id, context);
    try {
      box.post({ kind: 'result', id, value: await handle(op, args, context) });
    } catch (error) {
      fail(error, id);
    } finally {
      running.delete(id);
    }
  };
  const obey = async (op: string, args: unknown): Promise<void> => {
    try {
      await handle(op, args, new Running());
    } catch (error) {
      fail(error);
    }
  };
  port.on('message', (messages) => {
    for (const message of messages) {
      if (message.kind === 'call') void answer(message.id, message.op, message.args);
      else if (message.kind === 'tell') void obey(message.op, message.args);
      else if (message.kind === 'cancel') {
        const reason = new CodedError('ERR_INTERRUPTED', 'cancelled by its caller');
        running.get(message.id)?.cancel(reason);
      }
    }
  });
  return (name, value) => box.post({ kind: 'event', name, value });
}
