import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** What is known is given as fast as it is read. */
const MAX_BEHIND_BYTES = 262_144;
/** What happens is not waited with: a reader who is so far behind is cut off, and may begin again. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;

/** Events as lines of JSON, for a reader who may be slow. */
export class EventLines {
  readonly #reader: Writable;

  constructor(reader: Writable) {
    this.#reader = reader;
  }

  write(event: object): void {
    const reader = this.#reader;
    if (reader.writableEnded || reader.destroyed) return;
    reader.write(`${JSON.stringify(event)}\n`);
    if (reader.writableLength > MAX_UNREAD_BYTES) reader.destroy();
  }

  /** Resolves when the reader has taken most of what was written, or is gone. */
  async taken(): Promise<void> {
    const reader = this.#reader;
    if (reader.writableLength < MAX_BEHIND_BYTES || reader.destroyed) return;
    const gone = new AbortController();
    reader.once('close', () => gone.abort());
    await once(reader, 'drain', { signal: gone.signal }).catch(() => undefined);
  }
}
