import type { Writable } from 'node:stream';
import type { DownloadEvent } from '../../core/swarm/download-events.ts';

/** Events that only matter until the next of their kind. */
type News = Extract<DownloadEvent, { type: 'progress' | 'stalled' }>;

/**
 * Writes events as lines of JSON, each at once; a download that begins and ends in one turn of the event loop is told
 * of in one write. While the reader does not keep up, of `progress` and `stalled` only the last is kept, so that memory
 * does not grow; `started`, `done` and `failed` are always sent.
 */
export class EventLines {
  readonly #out: Writable;
  readonly #news = new Map<News['type'], News>();
  readonly #onDrain = (): void => this.#drained();
  #isBlocked = false;
  /** The line of `started` until the end of the turn. */
  #first = '';

  /** Does not end `out`, nor watch it for errors: who opened it does. */
  constructor(out: Writable) {
    this.#out = out;
    out.on('drain', this.#onDrain);
  }

  send(event: DownloadEvent): void {
    switch (event.type) {
      case 'progress':
      case 'stalled':
        if (this.#isBlocked) this.#keep(event);
        else this.#write(event);
        break;
      case 'done':
      case 'failed':
        // What happened on the way is of no use to who will read the end next.
        this.#news.clear();
        this.#write(event);
        break;
      case 'started':
        this.#first = lineOf(event);
        process.nextTick(() => this.#flush());
        break;
    }
  }

  /** Stops listening to the stream. */
  close(): void {
    this.#flush();
    this.#news.clear();
    this.#out.off('drain', this.#onDrain);
  }

  #keep(event: News): void {
    // Taken out first, so that what is kept stays in the order it happened.
    this.#news.delete(event.type);
    this.#news.set(event.type, event);
  }

  #drained(): void {
    this.#isBlocked = false;
    const news = [...this.#news.values()];
    this.#news.clear();
    for (const event of news) this.send(event);
  }

  #flush(): void {
    if (this.#first !== '') this.#write();
  }

  #write(event?: DownloadEvent): void {
    const text = this.#first + (event === undefined ? '' : lineOf(event));
    this.#first = '';
    if (this.#out.destroyed) return;
    this.#isBlocked = !this.#out.write(text) || this.#isBlocked;
  }
}

function lineOf(event: DownloadEvent): string {
  return `${JSON.stringify(event)}\n`;
}
