import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { once } from 'node:events';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { BlobStore } from './blob-store.ts';

/** What fits into `sun_path`, the closing zero aside. */
const MAX_SOCKET_PATH_BYTES = 107;
/** The supernode's own workers ask, 16 requests at a time and thread. */
const MAX_CONNECTIONS = 256;
/** Silence of one who is being sent a blob. */
const IDLE_MS = 60_000;

/** Bytes `[start, end)` of a blob. */
interface Part {
  readonly start: number;
  readonly end: number;
}

/** Where the blobs of a data folder are served; only the user of the supernode may go into that folder. */
export function blobSocketPath(dataDir: string): string {
  return join(blobFolder(dataDir), 'socket');
}

/** Where the blobs of a data folder are. */
export function blobFolder(dataDir: string): string {
  return join(dataDir, 'ops-blobs');
}

/**
 * Serves blobs on a Unix socket, as an origin would: the seed of this supernode fetches from here what hosts ask of it.
 * A blob is `/sha256:HEX`; its strong ETag is its digest, so that whoever goes on later goes on with the same bytes.
 */
export class BlobServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens; the folder is there, and is nobody else's. ERR_CONFIG when its path is too long, ERR_STORE_IO. */
  static async open(
    blobs: Pick<BlobStore, 'file'>,
    { dataDir, log }: { readonly dataDir: string; readonly log: Log },
  ): Promise<BlobServer> {
    const path = blobSocketPath(dataDir);
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
      throw new CodedError('ERR_CONFIG', `--data-dir: ${dataDir} is too long for a Unix socket`);
    }
    const server = createServer((request, response) => {
      answer(blobs, request, response).catch((error: unknown) => {
        const { code, message: reason } = CodedError.from(error);
        log.warn({ code, reason }, 'a blob was not served to its end');
        response.destroy();
      });
    });
    server.maxConnections = MAX_CONNECTIONS;
    server.setTimeout(IDLE_MS);
    try {
      // Of a run that was killed: the state of this data folder is locked by us.
      await rm(path, { force: true });
      server.listen(path);
      await once(server, 'listening');
      // Nobody stays for its sake: it is there for a seed of the same program.
      server.unref();
    } catch (cause) {
      const reason = systemCode(cause) ?? String(cause);
      throw new CodedError('ERR_STORE_IO', `cannot listen on ${path} (${reason})`, { cause });
    }
    return new BlobServer(server);
  }

  /** Closes and removes the socket; who is being sent a blob is cut off. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}

async function answer(
  blobs: Pick<BlobStore, 'file'>,
  { method, url = '', headers }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') return endWith(response, 405, { allow: 'GET, HEAD' });
  const digest = url.slice(1);
  const found = await blobs.file(digest);
  if (found === undefined) return endWith(response, 404);
  const { handle, length } = found;
  await using _opened = handle;
  const etag = `"${digest}"`;
  const about = { etag, 'accept-ranges': 'bytes', 'content-type': 'application/octet-stream' };
  if (!isMet(headers['if-match'], etag, true)) return endWith(response, 412, about);
  if (isMet(headers['if-none-match'], etag, false)) return endWith(response, 304, about);
  const isRanged = headers.range !== undefined && isMet(headers['if-range'], etag, true);
  const part = isRanged ? partOf(headers.range, length) : undefined;
  if (part === 'outside') {
    return endWith(response, 416, { ...about, 'content-range': `bytes */${length}` });
  }
  const { start, end: stop } = part ?? { start: 0, end: length };
  response.writeHead(part === undefined ? 200 : 206, {
    ...about,
    'content-length': stop - start,
    ...(part === undefined ? {} : { 'content-range': `bytes ${start}-${stop - 1}/${length}` }),
  });
  if (method === 'HEAD' || stop === start) {
    response.end();
    return;
  }
  const content = handle.createReadStream({ start, end: stop - 1, autoClose: false });
  await pipeline(content, response);
}

function endWith(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, status === 304 ? headers : { ...headers, 'content-length': 0 }).end();
}

/** Whether a condition names the ETag; `absent`: what holds without one. */
function isMet(condition: string | string[] | undefined, etag: string, absent: boolean): boolean {
  if (condition === undefined) return absent;
  return [condition]
    .flat()
    .join(',')
    .split(',')
    .some((tag) => ['*', etag].includes(tag.trim()));
}

/** The bytes of `bytes=A-B`, `bytes=A-` or `bytes=-N`; undefined, which means all, for what is none of them. */
function partOf(range: string | undefined, length: number): Part | 'outside' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(range ?? '') ?? [];
  if (first === '' && last === '') return undefined;
  const start = first === '' ? Math.max(0, length - Number(last)) : Number(first);
  const end = first === '' || last === '' ? length : Math.min(length, Number(last) + 1);
  if (start >= length || end <= start) return 'outside';
  return { start, end };
}
