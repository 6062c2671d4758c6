import type { Clock, Timer } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { Priority } from '../base/priority.ts';
import { Standing } from '../base/standing.ts';
import { FairLimiter } from '../net/fair-limiter.ts';
import { withoutSecrets } from '../piece/task-id.ts';
import type { FromHost, Warm, WarmState, WarmStop } from '../wire/messages.ts';
import type { DownloadEvent, Downloader } from './download-events.ts';

/** What orders are carried out with. */
export interface WarmOrdersParts {
  readonly downloader: Pick<Downloader, 'download'>;
  /** Lost while no supernode is connected: it orders again what it waits for. */
  send(message: FromHost): void;
  readonly clock: Clock;
  readonly log: Log;
}

/** Orders carried out at a time: what users ask for themselves has the rest of the 64 places. */
const MAX_RUNNING = 4;
/** A release need not wait for the end of others: so many more of it run. */
const RELEASE_RUNNING = 4;
/** Orders held; past it they fail with ERR_BUSY. */
const MAX_ORDERS = 64;
/** Ends of orders are told together. */
const GATHER_MS = 100;
/** Every order that is held is told of so often: a supernode takes silence for a loss. */
const PROGRESS_MS = 1_000;

interface Order {
  readonly controller: AbortController;
  state: WarmState;
}

/** What the supernode ordered this host to have: fetched like any download, kept, and given to nobody. */
export class WarmOrders implements AsyncDisposable {
  readonly #parts: WarmOrdersParts;
  readonly #orders = new Map<string, Order>();
  readonly #slots = new FairLimiter({
    mayEnter: (priority, { all }) =>
      all < MAX_RUNNING + (priority === 'release' ? RELEASE_RUNNING : 0),
    maxWaiting: MAX_ORDERS,
  });
  readonly #running = new Set<Promise<void>>();
  readonly #progress: Timer;
  #ended: WarmState[] = [];
  #gathering: Timer | undefined;
  #isClosed = false;

  constructor(parts: WarmOrdersParts) {
    this.#parts = parts;
    this.#progress = parts.clock.every(PROGRESS_MS, () => this.#tell());
  }

  take(order: Warm | WarmStop): void {
    if (order.type === 'warm') this.#begin(order);
    else for (const id of order.ids) this.#stop(id);
  }

  /** Gives up what runs, without a word to the supernode, which orders again when this host is back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    this.#progress.cancel();
    this.#gathering?.cancel();
    for (const id of this.#orders.keys()) this.#stop(id);
    await Promise.allSettled(this.#running);
  }

  #begin({ id, spec, priority = 'warm-up' }: Warm): void {
    // Ordered again after a reconnection: it goes on.
    if (this.#isClosed || this.#orders.has(id)) return;
    if (this.#orders.size >= MAX_ORDERS) {
      const error = new CodedError('ERR_BUSY', `this host has ${MAX_ORDERS} orders already`);
      this.#end({ id, state: 'failed', received: 0, error: error.toObject() });
      return;
    }
    const controller = new AbortController();
    const order: Order = { controller, state: { id, state: 'running', received: 0 } };
    this.#orders.set(id, order);
    const run = this.#run(order, { ...spec, priority }).finally(() => {
      this.#orders.delete(id);
      this.#running.delete(run);
      // Nobody waits for an answer to what was stopped.
      if (!controller.signal.aborted) this.#end(order.state);
    });
    this.#running.add(run);
  }

  #stop(id: string): void {
    const reason = new CodedError('ERR_INTERRUPTED', 'the order was taken back');
    this.#orders.get(id)?.controller.abort(reason);
  }

  async #run(order: Order, wanted: Warm['spec'] & { readonly priority: Priority }): Promise<void> {
    const { downloader, log } = this.#parts;
    const { signal } = order.controller;
    try {
      const standing = new Standing(wanted.priority);
      using _slot = await this.#slots.acquire({ signal, standing });
      // Many hosts have the same order: the origin is for the seed alone.
      const request = { ...wanted, backToSource: false };
      for await (const event of downloader.download(request, { signal })) note(order, event);
    } catch (error) {
      order.state = failed(order.state, CodedError.from(error));
    }
    const { state, received, error } = order.state;
    const facts = { url: withoutSecrets(wanted.url), state, received, code: error?.code };
    log.debug(facts, 'order ended');
  }

  #end(state: WarmState): void {
    this.#ended.push(state);
    this.#gathering ??= this.#parts.clock.after(GATHER_MS, () => this.#tellEnded());
  }

  #tellEnded(): void {
    this.#gathering?.cancel();
    this.#gathering = undefined;
    const orders = this.#ended.splice(0);
    for (let start = 0; start < orders.length; start += MAX_ORDERS) {
      this.#parts.send({ type: 'warmed', orders: orders.slice(start, start + MAX_ORDERS) });
    }
  }

  #tell(): void {
    if (this.#orders.size === 0) return;
    const orders = [...this.#orders.values()].map(({ state }) => state);
    this.#parts.send({ type: 'warmed', orders });
  }
}

function note(order: Order, event: DownloadEvent): void {
  const { id } = order.state;
  switch (event.type) {
    case 'started':
    case 'stalled':
      break;
    case 'progress': {
      const { received, length, fromPeers, fromSeed, fromOrigin, fromCache } = event;
      const sources = { fromPeers, fromSeed, fromOrigin, fromCache };
      const known = length === undefined ? {} : { length };
      order.state = { id, state: 'running', received, ...known, ...sources };
      break;
    }
    case 'done': {
      const { length, fromPeers, fromSeed, fromOrigin, fromCache } = event;
      const sources = { fromPeers, fromSeed, fromOrigin, fromCache };
      order.state = { id, state: 'done', received: length, length, ...sources };
      break;
    }
    case 'failed':
      order.state = failed(order.state, CodedError.fromObject(event));
  }
}

function failed(last: WarmState, error: CodedError): WarmState {
  const { code, message, detail } = error;
  return { ...last, state: 'failed', error: { code, message: message.slice(0, 2_000), detail } };
}
