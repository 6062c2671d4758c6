import { createHash } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { isBlobDigest } from '../../core/base/blob-url.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { Limiter } from '../../core/base/limiter.ts';
import { randomHex } from '../../core/base/random.ts';
import { defaultReserveBytes, diskSpace, noSpace, shortfall } from '../../core/store/capacity.ts';
import { Serial } from '../../core/store/serial.ts';

/** Bounds of what is uploaded. */
export const blobLimits = {
  /** Of all blobs together, in bytes. */
  quotaBytes: 10 * 1024 ** 3,
  blobs: 10_000,
  /** Uploads at one time, and those that wait. */
  uploads: 8,
  waiting: 32,
} as const;

/** What a blob is said to be. */
export interface BlobFacts {
  /** `sha256:HEX`. */
  readonly digest: string;
  /** In bytes. */
  readonly length: number;
}

/** Content that is on the disk and has the digest; it counts once it is kept. */
export interface StagedBlob extends AsyncDisposable {
  /** From now on it is a blob. ERR_STORE_IO when that is not certain. */
  keep(): Promise<void>;
}

export interface BlobStoreOptions {
  readonly directory: string;
  /** Default 10 GiB. */
  readonly quotaBytes?: number | undefined;
  /** Whether somebody refers to it: it is never evicted then. */
  readonly isReferred: (digest: string) => boolean;
}

/** A blob that is not there yet holds room. */
type Room = Disposable;

/**
 * Files that were uploaded for hosts to fetch, by their digests. A blob is there as a whole or not at all: it is
 * written beside the others, and moved when its digest is right and it is on the disk. When there is no room for
 * another, those go that were put longest ago, and that no package refers to.
 */
export class BlobStore {
  readonly #options: BlobStoreOptions;
  /** Lengths by digest; what was put longest ago is first. */
  readonly #blobs = new Map<string, number>();
  readonly #held = new Map<string, number>();
  readonly #uploads = new Limiter({ max: blobLimits.uploads, maxWaiting: blobLimits.waiting });
  readonly #changes = new Serial();
  #usedBytes = 0;
  #promisedBytes = 0;

  private constructor(options: BlobStoreOptions) {
    this.#options = options;
  }

  /** Makes the folder where it is missing, and removes what a killed run was writing; ERR_STORE_IO. */
  static async open(options: BlobStoreOptions): Promise<BlobStore> {
    const store = new BlobStore(options);
    await onDisk(async () => store.#read());
    return store;
  }

  /** Bytes of all blobs. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** How many there are. */
  get size(): number {
    return this.#blobs.size;
  }

  /** Its length, if there is such a blob. */
  lengthOf(digest: string): number | undefined {
    return this.#blobs.get(digest);
  }

  /** Keeps it from being evicted for a moment. */
  hold(digest: string): Disposable {
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
    return {
      [Symbol.dispose]: () => {
        const left = (this.#held.get(digest) ?? 1) - 1;
        if (left === 0) this.#held.delete(digest);
        else this.#held.set(digest, left);
      },
    };
  }

  /** The file of a blob, for who closes it; undefined when there is no such blob. */
  async file(digest: string): Promise<{ handle: FileHandle; length: number } | undefined> {
    const length = this.#blobs.get(digest);
    if (length === undefined) return undefined;
    return { handle: await onDisk(async () => open(this.#pathOf(digest), 'r')), length };
  }

  /**
   * Writes content beside the blobs; it is one once it is kept. ERR_REQUEST when it is longer or shorter than said,
   * ERR_DIGEST_MISMATCH, ERR_NO_SPACE, ERR_BUSY, ERR_STORE_IO, or what `content` throws.
   */
  async stage(
    facts: BlobFacts,
    content: AsyncIterable<Uint8Array>,
    { signal }: { readonly signal?: AbortSignal } = {},
  ): Promise<StagedBlob> {
    await using stack = new AsyncDisposableStack();
    stack.use(await this.#uploads.acquire({ signal }));
    stack.use(this.hold(facts.digest));
    if (this.#blobs.has(facts.digest)) {
      // It is there; whoever puts it must have it all the same.
      await checked(content, facts, async () => undefined);
      return this.#staged(facts, undefined, stack.move());
    }
    stack.use(await this.#changes.run(async () => this.#takeRoom(facts.length)));
    const draft = join(this.#drafts, randomHex(8));
    stack.defer(async () => rm(draft, { force: true }));
    const handle = await onDisk(async () => open(draft, 'wx', 0o600));
    try {
      await checked(content, facts, async (chunk) => onDisk(async () => write(handle, chunk)));
      await onDisk(async () => handle.sync());
    } finally {
      await handle.close();
    }
    return this.#staged(facts, draft, stack.move());
  }

  get #drafts(): string {
    return join(this.#options.directory, 'coming');
  }

  #pathOf(digest: string): string {
    return join(this.#options.directory, digest.slice('sha256:'.length));
  }

  #staged(
    facts: BlobFacts,
    draft: string | undefined,
    resources: AsyncDisposableStack,
  ): StagedBlob {
    return {
      keep: async () => this.#changes.run(async () => onDisk(async () => this.#keep(facts, draft))),
      [Symbol.asyncDispose]: async () => resources.disposeAsync(),
    };
  }

  async #keep({ digest, length }: BlobFacts, draft: string | undefined): Promise<void> {
    if (this.#blobs.delete(digest)) {
      // Put again: now it is the youngest.
      this.#blobs.set(digest, length);
      return;
    }
    if (draft === undefined) throw new TypeError('a blob that is held was evicted');
    await rename(draft, this.#pathOf(digest));
    this.#usedBytes += length;
    this.#blobs.set(digest, length);
    await syncFolder(this.#options.directory);
  }

  async #takeRoom(length: number): Promise<Room> {
    const { directory, quotaBytes = blobLimits.quotaBytes } = this.#options;
    const evictable = [...this.#blobs.keys()].filter((digest) => this.#isEvictable(digest));
    for (;;) {
      const { freeBytes, totalBytes } = await diskSpace(directory);
      const state = {
        needBytes: length,
        freeBytes,
        reserveBytes: defaultReserveBytes(totalBytes),
        promisedBytes: this.#promisedBytes,
        usedBytes: this.#usedBytes,
        quotaBytes,
      };
      const lack = shortfall(state);
      const isFull = this.#blobs.size >= blobLimits.blobs;
      if (lack.diskBytes === 0 && lack.quotaBytes === 0 && !isFull) break;
      const oldest = length > quotaBytes ? undefined : evictable.shift();
      if (oldest === undefined) throw noSpace(state, { directory, evictableBytes: 0 });
      await onDisk(async () => this.#evict(oldest));
    }
    this.#promisedBytes += length;
    return { [Symbol.dispose]: () => void (this.#promisedBytes -= length) };
  }

  /** Takes a blob away that nobody refers to or holds; true when it is gone. ERR_STORE_IO. */
  async remove(digest: string): Promise<boolean> {
    return this.#changes.run(async () => {
      if (this.#blobs.has(digest)) await onDisk(async () => this.#evict(digest));
      return !this.#blobs.has(digest);
    });
  }

  #isEvictable(digest: string): boolean {
    return !this.#held.has(digest) && !this.#options.isReferred(digest);
  }

  async #evict(digest: string): Promise<void> {
    // Things may have changed since it was chosen.
    if (!this.#isEvictable(digest)) return;
    const length = this.#blobs.get(digest) ?? 0;
    this.#blobs.delete(digest);
    this.#usedBytes -= length;
    await unlink(this.#pathOf(digest));
  }

  async #read(): Promise<void> {
    const { directory } = this.#options;
    await rm(this.#drafts, { recursive: true, force: true });
    await mkdir(this.#drafts, { recursive: true, mode: 0o700 });
    const found: (BlobFacts & { readonly atMs: number })[] = [];
    for (const name of await readdir(directory)) {
      const digest = `sha256:${name}`;
      if (!isBlobDigest(digest)) continue;
      const { size, mtimeMs } = await stat(join(directory, name));
      found.push({ digest, length: size, atMs: mtimeMs });
    }
    for (const { digest, length } of found.toSorted((one, other) => one.atMs - other.atMs)) {
      this.#blobs.set(digest, length);
      this.#usedBytes += length;
    }
  }
}

/** Hands on what is within its length; throws unless it is of that length and has that digest. */
async function checked(
  content: AsyncIterable<Uint8Array>,
  { digest, length }: BlobFacts,
  take: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const sum = createHash('sha256');
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > length) throw wrongLength(length, 'longer');
    sum.update(chunk);
    await take(chunk);
  }
  if (bytes < length) throw wrongLength(length, 'shorter');
  const actual = `sha256:${sum.digest('hex')}`;
  if (actual === digest) return;
  throw new CodedError('ERR_DIGEST_MISMATCH', `the content is ${actual}, not ${digest}`, {
    detail: { expected: digest, actual },
  });
}

async function write(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let rest = chunk; rest.length > 0;) {
    const { bytesWritten } = await handle.write(rest);
    rest = rest.subarray(bytesWritten);
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/** A failure of the disk becomes ERR_NO_SPACE or ERR_STORE_IO. */
async function onDisk<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = systemCode(cause);
    if (cause instanceof CodedError || code === undefined) throw cause;
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new CodedError('ERR_NO_SPACE', 'no room for a blob in the data folder', { cause });
    }
    throw new CodedError('ERR_STORE_IO', `the blobs cannot be read or written (${code})`, {
      cause,
    });
  }
}

function wrongLength(length: number, how: 'longer' | 'shorter'): CodedError {
  return new CodedError('ERR_REQUEST', `the content is ${how} than the ${length} bytes announced`, {
    detail: { length },
  });
}
