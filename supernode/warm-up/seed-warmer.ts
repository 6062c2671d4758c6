import { abortable } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import type { Warm, WarmState, WarmStop } from '../../core/wire/messages.ts';
import type { Seeds } from '../seed/seeds.ts';
import type { WarmHost, WarmListener } from './warm-host.ts';

/** The seed of this supernode, as a host that takes orders; as many at a time as it is given. */
export class SeedWarmer implements WarmHost {
  readonly peer: string;
  readonly role = 'supernode';
  readonly takesOrders = true;
  readonly #seeds: Pick<Seeds, 'resolve'>;
  readonly #listener: WarmListener;
  readonly #running = new Map<string, AbortController>();

  constructor(
    peer: string,
    parts: { readonly seeds: Pick<Seeds, 'resolve'>; readonly listener: WarmListener },
  ) {
    this.peer = peer;
    this.#seeds = parts.seeds;
    this.#listener = parts.listener;
  }

  order(message: Warm | WarmStop): void {
    if (message.type === 'warm') {
      void this.#fetch(message);
      return;
    }
    for (const id of message.ids) {
      this.#running.get(id)?.abort(new CodedError('ERR_INTERRUPTED', 'the order was taken back'));
    }
  }

  async #fetch(order: Warm): Promise<void> {
    const { id } = order;
    const controller = new AbortController();
    this.#running.set(id, controller);
    const state = await this.#state(order, controller.signal);
    this.#running.delete(id);
    this.#listener.warmed(this, [state]);
  }

  async #state({ id, spec, priority = 'warm-up' }: Warm, signal: AbortSignal): Promise<WarmState> {
    try {
      const wish = { signal, priority };
      const seed = await this.#seeds.resolve(taskIdOf(spec), spec, wish);
      const before = seed.state === 'fetching' ? 0 : seed.originBytes;
      await abortable(seed.settled, signal);
      if (seed.failure !== undefined) throw seed.failure;
      const received = seed.stored.receivedBytes;
      const fromOrigin = seed.originBytes - before;
      const fromCache = Math.max(0, received - fromOrigin);
      return { id, state: 'done', received, length: received, fromOrigin, fromCache };
    } catch (error) {
      const { code, message, detail } = CodedError.from(error);
      return { id, state: 'failed', received: 0, error: { code, message, detail } };
    }
  }
}
