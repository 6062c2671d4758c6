import { createHash } from 'node:crypto';
import type { Clock } from '../../../core/base/clock.ts';
import { exitCodes } from '../../../core/base/error-codes.ts';
import { CodedError } from '../../../core/base/error.ts';
import { DaemonClient } from '../../../core/local-api/daemon-client.ts';
import type { DownloadEvent } from '../../../core/swarm/download-events.ts';
import type { WantedContent } from './tool-requests.ts';

/** A dfdaemon that was just started takes calls a moment before its local API answers. */
const CONNECT = { tries: 20, everyMs: 250 } as const;
/** So long a supernode that is away is waited for; from then on this host may fetch a copy of its own. */
const TOGETHER_MS = 60_000;
const AGAIN_MS = 1_000;

interface FetchOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told once of what is waited for. */
  readonly say: (text: string) => void;
}

type Done = Extract<DownloadEvent, { type: 'done' }>;

/**
 * Content that the dfdaemon of this host has fetched through the mesh and checked. All that it takes to get at the bytes
 * is open when this resolves: whoever reads them need not be let near the socket. They are hashed on their way, and end
 * with ERR_DIGEST_MISMATCH instead of well when they are others. Errors of the download.
 */
export async function fetchThroughDaemon(
  { url, digest }: WantedContent,
  options: FetchOptions & { readonly socket: string },
): Promise<AsyncIterable<Uint8Array>> {
  const { socket, signal } = options;
  const client = new DaemonClient(socket);
  const done = await downloaded(client, { url, digest }, options);
  if (done.content !== undefined) {
    return checked(only(Buffer.from(done.content, 'base64')), digest);
  }
  const chunks = client.content(done, { signal });
  const first = await chunks.next();
  return checked(first.done === true ? none() : joined(first.value, chunks), digest);
}

async function downloaded(
  client: DaemonClient,
  content: WantedContent,
  { clock, signal, say }: FetchOptions,
): Promise<Done> {
  const beganMs = clock.monotonic();
  let isWaiting = false;
  for (let tries = 1; ; tries += 1) {
    const backToSource = clock.monotonic() - beganMs >= TOGETHER_MS;
    try {
      return await downloadOnce(client, { ...content, backToSource }, signal);
    } catch (error) {
      const { code, message, detail, facts } = CodedError.from(error);
      const isAway = code === 'ERR_DAEMON_UNAVAILABLE' && detail['reached'] === false;
      // A host of many: all of them would have a copy of the origin each, while the supernode is away.
      const isEarly = !backToSource && facts.exit === exitCodes.mesh && facts.retryable;
      if (!isEarly && (!isAway || tries >= CONNECT.tries)) throw error;
      if (!isAway && !isWaiting) say(`waiting: ${code}: ${message}`);
      isWaiting ||= !isAway;
      await clock.sleep(isAway ? CONNECT.everyMs : AGAIN_MS, { signal });
    }
  }
}

async function downloadOnce(
  client: DaemonClient,
  content: WantedContent & { readonly backToSource: boolean },
  signal: AbortSignal,
): Promise<Done> {
  const { url, digest, backToSource } = content;
  const request = { url, digest, priority: 'release', backToSource } as const;
  for await (const event of client.download(request, { signal })) {
    if (event.type === 'failed') throw CodedError.fromObject(event);
    if (event.type === 'done') return event;
  }
  throw new CodedError('ERR_PROTOCOL', 'the download ended without a result');
}

async function* checked(
  chunks: AsyncIterable<Uint8Array>,
  digest: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
  if (`sha256:${hash.digest('hex')}` !== digest) {
    throw new CodedError('ERR_DIGEST_MISMATCH', `the content does not have the digest ${digest}`);
  }
}

async function* only(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
}

async function* none(): AsyncGenerator<Uint8Array> {
  // Nothing comes.
}

async function* joined(
  first: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield first;
  yield* rest;
}
