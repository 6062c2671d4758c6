import type { Clock, Timer } from '../../core/base/clock.ts';
import type { Parent, Update } from '../../core/wire/messages.ts';

/** News for a host about one version leaves together after this long. */
const FLUSH_MS = 15;

interface Pending {
  readonly task: string;
  readonly version: string;
  manifest: string[];
  parents: Map<string, Parent>;
  more: Partial<Pick<Update, 'ticket' | 'failed' | 'length'>>;
}

/** Gathers what one host is to be told, so that many small events become few messages. */
export class UpdateBatcher {
  readonly #clock: Clock;
  readonly #send: (update: Update) => void;
  readonly #pending = new Map<string, Pending>();
  #timer: Timer | undefined;

  constructor(clock: Clock, send: (update: Update) => void) {
    this.#clock = clock;
    this.#send = send;
  }

  manifest(version: { task: string; version: string }, batches: readonly string[]): void {
    const pending = this.#of(version);
    pending.manifest.push(...batches);
  }

  parent(version: { task: string; version: string }, parent: Parent): void {
    this.#of(version).parents.set(parent.peer, parent);
  }

  more(
    version: { task: string; version: string },
    facts: Partial<Pick<Update, 'ticket' | 'failed' | 'length'>>,
  ): void {
    const pending = this.#of(version);
    pending.more = { ...pending.more, ...facts };
  }

  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const { task, version, manifest, parents, more } of all) {
      this.#send({
        type: 'update',
        task,
        version,
        ...(manifest.length === 0 ? {} : { manifest }),
        ...(parents.size === 0 ? {} : { parents: [...parents.values()] }),
        ...more,
      });
    }
  }

  close(): void {
    this.#timer?.cancel();
    this.#pending.clear();
  }

  #of({ task, version }: { task: string; version: string }): Pending {
    this.#timer ??= this.#clock.after(FLUSH_MS, () => this.flush(), { ref: false });
    const key = `${task}/${version}`;
    const known = this.#pending.get(key);
    if (known !== undefined) return known;
    const created: Pending = { task, version, manifest: [], parents: new Map(), more: {} };
    this.#pending.set(key, created);
    return created;
  }
}
