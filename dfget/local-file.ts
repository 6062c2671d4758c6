import { createHash, hash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import { RateLimiter } from '../core/net/pacing.ts';
import { READ_FLAGS, localFailure } from '../core/origin/folder/file-folder.ts';
import type { DownloadEvent, DownloadRequest, Downloader } from '../core/swarm/download-events.ts';

const CHUNK_BYTES = 256 * 1024;
const NOTHING = { fromPeers: 0, fromSeed: 0, fromCache: 0 };

/**
 * "Downloads" a file of this machine by reading it as the user who runs dfget. It goes through no mesh: whoever else
 * opened it would do so with rights that the user may not have. The digest is checked while it is read.
 */
export class LocalFileDownloader implements Downloader {
  readonly #path: string;
  readonly #clock: Clock;
  #request: DownloadRequest | undefined;
  #facts: BigIntStats | undefined;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  async *download(request: DownloadRequest): AsyncGenerator<DownloadEvent> {
    try {
      const startedMs = this.#clock.monotonic();
      await using file = await openFile(this.#path);
      const facts = await file.stat({ bigint: true });
      if (!facts.isFile()) throw notAFile(this.#path);
      const { start, end } = partOf(request, facts);
      this.#request = request;
      this.#facts = facts;
      const task = hash('sha256', JSON.stringify(['file', this.#path]));
      const length = end - start;
      yield { type: 'started', task, url: request.url, length };
      const seconds = (this.#clock.monotonic() - startedMs) / 1000;
      const version = versionOf(facts);
      const sources = { ...NOTHING, fromOrigin: length, duplicate: 0 };
      yield { type: 'done', task, version, length, seconds, ...sources };
    } catch (error) {
      yield { type: 'failed', ...localFailure(this.#path, error).toObject() };
    }
  }

  async *content(
    _done: unknown,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<Uint8Array> {
    const [request, before] = [this.#request, this.#facts];
    if (request === undefined || before === undefined) throw new TypeError('not downloaded');
    const { start, end } = partOf(request, before);
    const limiter = new RateLimiter(request.limitRate ?? 0, this.#clock);
    const [algorithm = '', expected] = request.digest?.split(':') ?? [];
    const digest = expected === undefined ? undefined : digester(algorithm);
    try {
      await using file = await openFile(this.#path);
      for (let offset = start; offset < end;) {
        const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - offset));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
        if (bytesRead === 0) throw changed(this.#path);
        const chunk = buffer.subarray(0, bytesRead);
        digest?.update(chunk);
        await limiter.take(bytesRead, { signal });
        yield chunk;
        offset += bytesRead;
      }
      if (versionOf(await file.stat({ bigint: true })) !== versionOf(before)) {
        throw changed(this.#path);
      }
    } catch (error) {
      signal.throwIfAborted();
      throw localFailure(this.#path, error);
    }
    if (digest !== undefined && digest.hex() !== expected) {
      throw new CodedError('ERR_DIGEST_MISMATCH', `${this.#path} does not have that digest`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Files are open only while they are read.
  }
}

async function openFile(path: string): Promise<FileHandle> {
  return open(path, READ_FLAGS);
}

function digester(algorithm: string): { update(chunk: Uint8Array): void; hex(): string } {
  if (algorithm === 'crc32') {
    const { crc32 } = process.getBuiltinModule('node:zlib');
    let sum = 0;
    return {
      update: (chunk) => void (sum = crc32(chunk, sum)),
      hex: () => sum.toString(16).padStart(8, '0'),
    };
  }
  const sum = createHash(algorithm);
  return { update: (chunk) => void sum.update(chunk), hex: () => sum.digest('hex') };
}

function partOf(request: DownloadRequest, facts: BigIntStats): { start: number; end: number } {
  const length = Number(facts.size);
  const { start = 0, end = length } = request.range ?? {};
  if (start > length || (start === length && request.range !== undefined)) {
    throw new CodedError('ERR_ORIGIN_RANGE', `the file has no bytes from ${start}`, {
      detail: { length },
    });
  }
  return { start, end: Math.min(end, length) };
}

/** 16 hex digits that change with the file. */
function versionOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return hash('sha256', [dev, ino, size, mtimeNs, ctimeNs].join('/')).slice(0, 16);
}

function notAFile(path: string): CodedError {
  return new CodedError('ERR_ORIGIN_REFUSED', `${path} is no regular file; -r fetches folders`);
}

function changed(path: string): CodedError {
  return new CodedError('ERR_ORIGIN_CHANGED', `${path} changed while it was read`);
}
