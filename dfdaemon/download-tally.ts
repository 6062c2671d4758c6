import { CodedError } from '../core/base/error.ts';
import type { Log } from '../core/base/log.ts';
import type { ByteSources, DownloadEvent, DownloadRequest } from '../core/swarm/download-events.ts';

type Done = Extract<DownloadEvent, { type: 'done' }>;

/** Kinds of senders, as `--explain` names them. */
export type SenderRole = 'peer' | 'seed' | 'origin';

/** Counts what became of all downloads since the start, and writes a record of each to the log. */
export class DownloadTally {
  /** Downloads by `done` or the code of their failure. */
  readonly results = new Map<string, number>();
  /** Payload bytes of finished downloads by source. */
  readonly bytes: { -readonly [Source in keyof ByteSources]: number } = {
    fromPeers: 0,
    fromSeed: 0,
    fromOrigin: 0,
    fromCache: 0,
  };
  /** Pieces with a wrong digest by who sent them; those of one task count for each download that waited for it. */
  readonly wrongPieces: Record<SenderRole, number> = { peer: 0, seed: 0, origin: 0 };
  /** Seconds that finished downloads took, together. */
  seconds = 0;
  readonly #log: Log;

  constructor(log: Log) {
    this.#log = log;
  }

  get done(): number {
    return this.results.get('done') ?? 0;
  }

  get failed(): number {
    let failed = 0;
    for (const [result, count] of this.results) if (result !== 'done') failed += count;
    return failed;
  }

  /** The same events, counted; `download` is asked for an explanation whether or not the request wants one. */
  async *count(
    request: DownloadRequest,
    download: (request: DownloadRequest) => AsyncIterable<DownloadEvent>,
  ): AsyncGenerator<DownloadEvent> {
    let result: string | undefined;
    try {
      for await (const event of download({ ...request, explain: true })) {
        if (event.type === 'done') {
          result = 'done';
          this.#finished(event);
          yield request.explain === true ? event : withoutExplanation(event);
        } else {
          if (event.type === 'failed') {
            result = event.code;
            this.#log.debug({ code: event.code, reason: event.message }, 'download failed');
          }
          yield event;
        }
      }
    } catch (error) {
      result ??= CodedError.from(error).code;
      throw error;
    } finally {
      // Neither done nor failed: the caller went away.
      this.#add(result ?? 'ERR_INTERRUPTED');
    }
  }

  #add(result: string): void {
    this.results.set(result, (this.results.get(result) ?? 0) + 1);
  }

  #finished(event: Done): void {
    const { task, version, length, seconds, duplicate, explain } = event;
    const { fromPeers, fromSeed, fromOrigin, fromCache } = event;
    this.bytes.fromPeers += fromPeers;
    this.bytes.fromSeed += fromSeed;
    this.bytes.fromOrigin += fromOrigin;
    this.bytes.fromCache += fromCache;
    this.seconds += seconds;
    for (const { role, wrongPieces } of explain?.sources ?? []) {
      this.wrongPieces[role] += wrongPieces;
    }
    const sources = { fromPeers, fromSeed, fromOrigin, fromCache, duplicate };
    const facts = { task, version, bytes: length, ms: Math.round(seconds * 1000), ...sources };
    this.#log.debug({ ...facts, waits: explain?.waits }, 'download done');
  }
}

function withoutExplanation(event: Done): Done {
  const { explain: _explain, ...rest } = event;
  return rest;
}
