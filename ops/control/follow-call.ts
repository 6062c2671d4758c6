import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { CodedError } from '../../core/base/error.ts';
import type { CallDesk } from './call-desk.ts';
import type { CallEvent, HostResult } from './call-record.ts';
import type { CallStore } from './call-store.ts';

/** What is known is given as fast as it is read. */
const MAX_BEHIND_BYTES = 262_144;
/** What happens is not waited with: a reader who is so far behind is cut off, and may begin again. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;

/**
 * Writes the events of a call as lines of JSON: what is known of it, each result and all output once, and then what
 * happens, until it has ended or the reader is gone. Ends `reader`.
 */
export async function followCall(
  id: string,
  { desk, calls }: { readonly desk: CallDesk; readonly calls: CallStore },
  reader: Writable,
): Promise<void> {
  const lines = new EventLines(reader);
  const active = desk.find(id);
  const told = new Set<string>();
  /** Hosts that ended while results were read: theirs may not have been among them. */
  let fresh = new Set<string>();
  let end: CallEvent | undefined;
  let isLive = false;
  const over = Promise.withResolvers<void>();
  reader.once('close', () => over.resolve());
  using _watch = active?.watch((event) => {
    if (event.type === 'ended') {
      end = event;
      over.resolve();
    }
    if (isLive) lines.write(event);
    // What else happened before is in what the call holds.
    else if (event.type === 'result') fresh.add(event.peer);
  });
  try {
    do {
      fresh = new Set();
      for await (const result of calls.results(id)) {
        if (told.has(result.peer)) continue;
        told.add(result.peer);
        await lines.give(result);
        if (reader.destroyed) return;
      }
    } while (fresh.difference(told).size > 0);
    if (active !== undefined && end === undefined) {
      for (const event of active.held()) lines.write(event);
      isLive = true;
      await over.promise;
    } else {
      const kept = await calls.end(id);
      end ??= kept === undefined ? undefined : { type: 'ended', counts: kept.counts };
      if (end !== undefined) lines.write(end);
    }
    reader.end();
  } catch (error) {
    // The head of the answer is sent: there is no other way to say that this is not all.
    reader.destroy(CodedError.from(error));
  }
}

/** Events as lines, for a reader who may be slow. */
class EventLines {
  readonly #reader: Writable;

  constructor(reader: Writable) {
    this.#reader = reader;
  }

  write(event: CallEvent): void {
    const reader = this.#reader;
    if (reader.writableEnded || reader.destroyed) return;
    reader.write(`${JSON.stringify(event)}\n`);
    if (reader.writableLength > MAX_UNREAD_BYTES) reader.destroy();
  }

  /** A result with the output before it, when the reader has taken most of what came before. */
  async give({ stdout, stderr, signed: _signed, ...result }: HostResult): Promise<void> {
    const { peer, hostname } = result;
    const host = hostname === undefined ? { peer } : { peer, hostname };
    if (stdout !== '') this.write({ type: 'output', ...host, stream: 'stdout', data: stdout });
    if (stderr !== '') this.write({ type: 'output', ...host, stream: 'stderr', data: stderr });
    this.write({ type: 'result', ...result });
    const reader = this.#reader;
    if (reader.writableLength < MAX_BEHIND_BYTES || reader.destroyed) return;
    const gone = new AbortController();
    reader.once('close', () => gone.abort());
    await once(reader, 'drain', { signal: gone.signal }).catch(() => undefined);
  }
}
