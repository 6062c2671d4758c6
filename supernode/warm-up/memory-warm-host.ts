import type { Warm, WarmState, WarmStop } from '../../core/wire/messages.ts';
import type { WarmHost, WarmListener } from './warm-host.ts';

/** A host in memory, for tests: it keeps its orders until it is told what becomes of them. */
export class MemoryWarmHost implements WarmHost {
  readonly peer: string;
  readonly hostname = 'memory';
  readonly idc: string;
  readonly role: WarmHost['role'];
  readonly takesOrders: boolean;
  readonly orders = new Map<string, Warm>();
  /** How many it had at once, at most. */
  most = 0;
  /** Orders that were taken back. */
  readonly stopped: string[] = [];
  readonly #listener: WarmListener;

  constructor(
    listener: WarmListener,
    about: { peer: string; idc?: string; role?: WarmHost['role']; takesOrders?: boolean },
  ) {
    this.#listener = listener;
    this.peer = about.peer;
    this.idc = about.idc ?? 'east';
    this.role = about.role ?? 'host';
    this.takesOrders = about.takesOrders ?? true;
  }

  order(message: Warm | WarmStop): void {
    if (message.type === 'warm') {
      this.orders.set(message.id, message);
      this.most = Math.max(this.most, this.orders.size);
      return;
    }
    for (const id of message.ids) {
      this.orders.delete(id);
      this.stopped.push(id);
    }
  }

  /** Tells the supernode of one order. */
  tell(state: WarmState): void {
    if (state.state !== 'running') this.orders.delete(state.id);
    this.#listener.warmed(this, [state]);
  }

  /** Everything it was ordered is there, and what it is ordered thereupon. */
  finishAll(): void {
    for (let [id] = this.orders.keys(); id !== undefined; [id] = this.orders.keys()) {
      this.tell({ id, state: 'done', received: 10, length: 10, fromSeed: 10 });
    }
  }
}
