import type { Writable } from 'node:stream';
import { CodedError } from '../../core/base/error.ts';
import type { CallDesk } from './call-desk.ts';
import type { CallEvent, HostResult } from './call-record.ts';
import type { CallStore } from './call-store.ts';
import { EventLines } from './event-lines.ts';

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
        await give(lines, result);
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

/** A result with the output before it. */
async function give(
  lines: EventLines,
  { stdout, stderr, signed: _signed, ...result }: HostResult,
): Promise<void> {
  const { peer, hostname } = result;
  const host = hostname === undefined ? { peer } : { peer, hostname };
  if (stdout !== '') lines.write({ type: 'output', ...host, stream: 'stdout', data: stdout });
  if (stderr !== '') lines.write({ type: 'output', ...host, stream: 'stderr', data: stderr });
  lines.write({ type: 'result', ...result });
  await lines.taken();
}
