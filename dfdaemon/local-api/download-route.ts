import type { ServerResponse } from 'node:http';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { parseDownloadRequest } from './download-request.ts';
import { EventLines } from './event-lines.ts';
import type { ServedHost } from './served-host.ts';

/** How long a reader may take for what is left after the end of his download. */
const LINGER_MS = 60_000;

/** What the route works with. */
export interface DownloadRouteParts {
  readonly host: ServedHost;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * `POST /v1/downloads`: the events of one download as lines of JSON. A failure before the first event is an
 * HTTP status. Whoever closes the connection gives his download up.
 */
export function addDownloadRoute(server: FastifyInstance, parts: DownloadRouteParts): void {
  server.post('/v1/downloads', async (request, reply) => {
    const wanted = parseDownloadRequest(request.body);
    using slot = parts.host.slots.open();
    const gone = (): void =>
      slot.abort(new CodedError('ERR_INTERRUPTED', 'the caller closed the connection'));
    reply.raw.once('close', gone);
    if (request.raw.socket.destroyed) gone();
    let answer: EventAnswer | undefined;
    try {
      for await (const event of parts.host.download(wanted, { signal: slot.signal })) {
        if (answer === undefined) {
          if (event.type === 'failed') throw CodedError.fromObject(event);
          answer = new EventAnswer(reply);
        }
        answer.lines.send(event);
      }
      if (answer === undefined) throw new CodedError('ERR_INTERNAL', 'a download without events');
    } catch (error) {
      if (answer === undefined) throw error;
      // The engine reports failures as events; this is a defect, told as well as it can be now.
      parts.log.error({ err: error }, 'a download ended without its last event');
      answer.lines.send({ type: 'failed', ...CodedError.from(error).toObject() });
    }
    reply.raw.off('close', gone);
    await answer.end(parts.clock);
  });
}

/** An answer of lines, taken out of fastify's hands. */
class EventAnswer {
  readonly lines: EventLines;
  readonly #response: ServerResponse;

  constructor(reply: FastifyReply) {
    reply.hijack();
    this.#response = reply.raw;
    // A reader that went away is noticed by 'close'; a failed write must not end the process.
    this.#response.on('error', () => undefined);
    this.#response.writeHead(200, {
      'content-type': 'application/x-ndjson',
      'cache-control': 'no-store',
    });
    this.lines = new EventLines(this.#response);
  }

  /** Resolves when the reader has everything, or is gone. */
  async end(clock: Clock): Promise<void> {
    const response = this.#response;
    this.lines.close();
    if (response.destroyed) return;
    const linger = clock.after(LINGER_MS, () => response.destroy(), { ref: false });
    const { promise, resolve } = Promise.withResolvers<void>();
    response.once('close', resolve);
    response.end(resolve);
    await promise;
    linger.cancel();
  }
}
