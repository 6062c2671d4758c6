import { blobUrl } from '../../core/base/blob-url.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { BlobServer, blobFolder } from './blob-server.ts';
import { BlobStore } from './blob-store.ts';
import type { BlobFacts, StagedBlob } from './blob-store.ts';
import type { Door } from './door.ts';
import type { PackagePublish, PackageRecord } from './package-record.ts';
import type { PackageTable } from './package-table.ts';
import type { Caller } from './principal.ts';

export interface UploadsOptions {
  readonly dataDir: string;
  /** Of all blobs together, in bytes; default 10 GiB. */
  readonly blobQuota?: number | undefined;
  readonly packages: PackageTable;
  readonly door: Pick<Door, 'perform'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** What operators bring to the supernode for hosts to fetch: blobs, and packages made of them. */
export class Uploads implements AsyncDisposable {
  readonly #blobs: BlobStore;
  readonly #server: BlobServer;
  readonly #options: UploadsOptions;

  private constructor(blobs: BlobStore, server: BlobServer, options: UploadsOptions) {
    this.#blobs = blobs;
    this.#server = server;
    this.#options = options;
  }

  /** Opens the blobs of a data folder that is this program's own, and serves them to its seed. */
  static async open(options: UploadsOptions): Promise<Uploads> {
    const { dataDir, blobQuota, packages, log } = options;
    const blobs = await BlobStore.open({
      directory: blobFolder(dataDir),
      quotaBytes: blobQuota,
      isReferred: (digest) => packages.refersTo(digest),
    });
    return new Uploads(blobs, await BlobServer.open(blobs, { dataDir, log }), options);
  }

  /** How many blobs there are. */
  get blobs(): number {
    return this.#blobs.size;
  }

  /** Bytes of all blobs. */
  get usedBytes(): number {
    return this.#blobs.usedBytes;
  }

  /**
   * Takes a blob in; it counts when it has the digest, is on the disk, and stands in the audit. What the door refuses,
   * before a byte is read, and what `BlobStore.stage()` does.
   */
  async put(
    facts: BlobFacts,
    content: AsyncIterable<Uint8Array>,
    { caller, signal }: { readonly caller: Caller; readonly signal: AbortSignal },
  ): Promise<BlobFacts & { readonly url: string }> {
    const { digest, length } = facts;
    await using stack = new AsyncDisposableStack();
    let staged: StagedBlob | undefined;
    return await this.#options.door.perform(
      { verb: 'blob.put', caller, input: facts, object: { id: digest } },
      async () => {
        // The content comes once, however often the door tries.
        staged ??= stack.use(await this.#blobs.stage(facts, content, { signal }));
        const blob = staged;
        return {
          changes: [],
          detail: { length },
          answer: async () => {
            await blob.keep();
            return { digest, length, url: blobUrl(digest) };
          },
        };
      },
    );
  }

  /** A whole blob; undefined when it is not here. ERR_REQUEST when it is longer than `maxBytes`. */
  async read(digest: string, maxBytes: number): Promise<Buffer | undefined> {
    const found = await this.#blobs.file(digest);
    if (found === undefined) return undefined;
    await using handle = found.handle;
    if (found.length <= maxBytes) return handle.readFile();
    throw new CodedError('ERR_REQUEST', `the blob has ${found.length} bytes, at most ${maxBytes}`);
  }

  /** Makes a version of a package known; what the door refuses, and what `PackageTable.publish()` does. */
  async publish(request: PackagePublish, caller: Caller): Promise<PackageRecord> {
    const { name, version, digest } = request;
    const { door, packages, clock } = this.#options;
    using _held = this.#blobs.hold(digest);
    return await door.perform(
      { verb: 'package.publish', caller, input: request, object: { id: `${name}/${version}` } },
      async () =>
        packages.publish(request, {
          publishedBy: caller.principal.name,
          at: Math.round(clock.now()),
          blobLength: this.#blobs.lengthOf(digest),
        }),
    );
  }

  /**
   * Takes the content of a version away that was removed, unless another one has it too; true when it is gone. What is
   * not is like any other upload: it goes when there is no room for another.
   */
  async release(digest: string): Promise<boolean> {
    const { log } = this.#options;
    try {
      return await this.#blobs.remove(digest);
    } catch (error) {
      log.error({ err: error, digest }, 'the content of a removed package is not taken away');
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}
