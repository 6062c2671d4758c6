import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { MAX_MESSAGE_CHARACTERS, messagesOf } from '../../core/swarm/announcement.ts';
import type { Parent, Update } from '../../core/wire/messages.ts';

/** News for a host leaves together at most this often; what comes after a silence leaves at once. */
const FLUSH_MS = 15;
/** As many as one message names, and a host keeps; of more, the last to come are left out: it can ask for others. */
const MAX_PARENTS = 64;
/** What may wait for one host: the manifest of 16 TiB fits. The texts are shared by all hosts that wait for them. */
const MAX_CHARACTERS = 96 * 1024 * 1024;

type Facts = Partial<Pick<Update, 'ticket' | 'failed'>>;

interface Pending {
  readonly task: string;
  readonly version: string;
  readonly manifest: Set<string>;
  readonly parents: Map<string, Parent>;
  more: Facts;
}

/**
 * Gathers what one host is to be told, so that many small events become few messages, each of which fits a frame. The
 * next leaves when the one before was taken; while a host takes nothing, its news waits, up to a bound.
 */
export class UpdateBatcher {
  readonly #clock: Clock;
  readonly #send: (update: Update) => Promise<void>;
  readonly #maxCharacters: number;
  readonly #onFull: (error: CodedError) => void;
  readonly #pending = new Map<string, Pending>();
  /** Of batches that wait or are being sent. */
  #characters = 0;
  #timer: Timer | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  /** When news left last. */
  #leftMs = Number.NEGATIVE_INFINITY;
  #isSending = false;
  #isClosed = false;

  /** `send` resolves when there is room for the next; `onFull`: the host is too far behind, and is told no more. */
  constructor(
    clock: Clock,
    send: (update: Update) => Promise<void>,
    options: {
      readonly maxCharacters?: number;
      readonly onFull?: (error: CodedError) => void;
    } = {},
  ) {
    this.#clock = clock;
    this.#send = send;
    this.#maxCharacters = options.maxCharacters ?? MAX_CHARACTERS;
    this.#onFull = options.onFull ?? (() => undefined);
  }

  /** `withinMs`: how often they may leave, if less often than usual. */
  manifest(
    version: { task: string; version: string },
    batches: readonly string[],
    { withinMs = FLUSH_MS }: { readonly withinMs?: number } = {},
  ): void {
    if (this.#isClosed) return;
    const { manifest } = this.#of(version, Math.max(FLUSH_MS, withinMs));
    // A host that asks again before it was answered is not answered twice.
    const fresh = batches.filter((batch) => !manifest.has(batch));
    this.#characters += charactersOf(fresh);
    if (this.#characters > this.#maxCharacters) {
      this.close();
      this.#onFull(new CodedError('ERR_BUSY', 'the host does not take what it is told'));
      return;
    }
    for (const batch of fresh) manifest.add(batch);
  }

  parent(version: { task: string; version: string }, parent: Parent): void {
    if (this.#isClosed) return;
    const { parents } = this.#of(version);
    if (parents.size < MAX_PARENTS || parents.has(parent.peer)) parents.set(parent.peer, parent);
  }

  more(version: { task: string; version: string }, facts: Facts): void {
    if (this.#isClosed) return;
    const pending = this.#of(version);
    pending.more = { ...pending.more, ...facts };
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#pending.clear();
  }

  #flushWithin(ms: number): void {
    const now = this.#clock.monotonic();
    const dueMs = Math.max(now, this.#leftMs + ms);
    if (this.#isSending || dueMs >= this.#dueMs) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(dueMs - now, () => void this.#flush(), { ref: false });
    this.#dueMs = dueMs;
  }

  #of({ task, version }: { task: string; version: string }, withinMs = FLUSH_MS): Pending {
    this.#flushWithin(withinMs);
    const key = `${task}/${version}`;
    const known = this.#pending.get(key);
    if (known !== undefined) return known;
    const created: Pending = { task, version, manifest: new Set(), parents: new Map(), more: {} };
    this.#pending.set(key, created);
    return created;
  }

  async #flush(): Promise<void> {
    this.#timer = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
    this.#leftMs = this.#clock.monotonic();
    this.#isSending = true;
    try {
      // What comes while it is sent goes to the end of the line.
      for (const [key, pending] of this.#pending) {
        this.#pending.delete(key);
        await this.#sendAll(pending);
        if (this.#isClosed) return;
      }
    } catch {
      // The session has ended, and tells its owner why; when the host comes back it is told anew.
      this.close();
    } finally {
      this.#isSending = false;
    }
  }

  async #sendAll(pending: Pending): Promise<void> {
    for (const update of updatesOf(pending)) {
      await this.#send(update);
      if (this.#isClosed) return;
      this.#characters -= charactersOf(update.manifest ?? []);
    }
  }
}

/** One message where all of it fits a frame; else facts and parents first, for it can begin with those. */
function updatesOf({ task, version, manifest: batches, parents, more }: Pending): Update[] {
  const manifest = [...batches];
  const about = { type: 'update', task, version } as const;
  const facts = {
    ...about,
    ...(parents.size === 0 ? {} : { parents: [...parents.values()] }),
    ...more,
  };
  if (manifest.length === 0) return [facts];
  const parts = messagesOf(manifest).map((part) => ({ ...about, manifest: part }));
  const isAlone = parts.length === 1 && charactersOf(manifest) <= MAX_MESSAGE_CHARACTERS;
  if (isAlone) return [{ ...facts, manifest }];
  return parents.size === 0 && Object.keys(more).length === 0 ? parts : [facts, ...parts];
}

function charactersOf(batches: readonly string[]): number {
  return batches.reduce((sum, { length }) => sum + length, 0);
}
