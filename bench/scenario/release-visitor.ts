import { SystemClock } from '../../core/base/clock.ts';

/** What a visitor of the service saw. */
export interface Visits {
  /** Times that the visitor wanted an answer, and had none from any host. */
  readonly asked: number;
  readonly unanswered: number;
  /** Answers that a host did not give, so that the next one was asked. */
  readonly passedOn: number;
  /** Good answers by version. */
  readonly versions: ReadonlyMap<string, number>;
}

const clock = new SystemClock();
const EVERY_MS = 20;
const PATIENCE_MS = 1_000;

/**
 * Asks a service for an answer again and again, as a balancer would: one host after the other, and the next one where
 * a host does not answer 200. Begins at once; `end()` says what was seen.
 */
export class ReleaseVisitor implements AsyncDisposable {
  readonly #ports: readonly number[];
  readonly #stop = new AbortController();
  readonly #visiting: Promise<void>;
  readonly #versions = new Map<string, number>();
  #asked = 0;
  #unanswered = 0;
  #passedOn = 0;

  constructor(ports: readonly number[]) {
    this.#ports = ports;
    this.#visiting = this.#visit();
  }

  async end(): Promise<Visits> {
    await this[Symbol.asyncDispose]();
    return {
      asked: this.#asked,
      unanswered: this.#unanswered,
      passedOn: this.#passedOn,
      versions: this.#versions,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#visiting;
  }

  async #visit(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const first = this.#asked % this.#ports.length;
      this.#asked += 1;
      const version = await this.#anyOf([
        ...this.#ports.slice(first),
        ...this.#ports.slice(0, first),
      ]);
      if (version === undefined) this.#unanswered += 1;
      else this.#versions.set(version, (this.#versions.get(version) ?? 0) + 1);
      await clock.sleep(EVERY_MS, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #anyOf(ports: readonly number[]): Promise<string | undefined> {
    for (const port of ports) {
      const version = await versionAt(port);
      if (version !== undefined) return version;
      this.#passedOn += 1;
    }
    return undefined;
  }
}

/** The version that a host answers with; undefined when it does not answer, or not well. */
export async function versionAt(port: number): Promise<string | undefined> {
  using patience = clock.deadline(PATIENCE_MS);
  try {
    const answer = await fetch(`http://127.0.0.1:${port}/`, { signal: patience.signal });
    const text = await answer.text();
    return answer.ok ? text : undefined;
  } catch {
    return undefined;
  }
}
