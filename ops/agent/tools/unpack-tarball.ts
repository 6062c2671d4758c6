import { Unpack } from 'tar';
import type { ReadEntry } from 'tar';
import { CodedError, systemCode } from '../../../core/base/error.ts';
import { noSpace, onOutput } from '../../../core/store/output-error.ts';

/** What a package may hold. */
export interface TarballLimits {
  /** Files, folders and links. */
  readonly entries: number;
  /** Of all files together, unpacked. */
  readonly bytes: number;
}
export const tarballLimits: TarballLimits = { entries: 100_000, bytes: 8 * 1024 ** 3 };

const MAX_DEPTH = 64;
const KINDS: readonly string[] = [
  'File',
  'OldFile',
  'ContiguousFile',
  'Directory',
  'SymbolicLink',
  'Link',
];

/**
 * Unpacks a tar, plain or packed with gzip or zstd, into an empty folder. Nothing comes to lie, or points, outside of it:
 * absolute paths, `..`, links out of the folder, devices and pipes are refused with ERR_CONFIG, as is what is no tar or
 * more than the limits. All belongs to the user of this process, and no set-uid bits stay. What is there after an error
 * is for the caller to take away.
 */
export async function unpackTarball(
  content: AsyncIterable<Uint8Array>,
  folder: string,
  options: {
    readonly signal: AbortSignal;
    readonly limits?: TarballLimits;
    /** What the disk has for it; the first file that would not fit is not written, and all ends with ERR_NO_SPACE. */
    readonly roomBytes?: number;
  },
): Promise<void> {
  const { signal, limits = tarballLimits, roomBytes = Infinity } = options;
  const guard = new EntryGuard(limits, { folder, roomBytes });
  const unpack = new Unpack({
    cwd: folder,
    strict: true,
    preserveOwner: false,
    maxDepth: MAX_DEPTH,
    filter: (_path, entry) => 'remain' in entry && guard.lets(entry),
  });
  const { promise: closed, resolve, reject } = Promise.withResolvers<void>();
  unpack.on('close', resolve);
  unpack.on('error', reject);
  closed.catch(() => undefined);
  await onOutput(folder, async () => {
    try {
      for await (const chunk of content) {
        signal.throwIfAborted();
        await written(unpack, { chunk, closed });
        guard.check();
      }
      unpack.end();
      await closed;
    } catch (error) {
      guard.check();
      throw asRefusal(error);
    }
    guard.check();
  });
}

async function written(
  unpack: Unpack,
  { chunk, closed }: { readonly chunk: Uint8Array; readonly closed: Promise<void> },
): Promise<void> {
  const { promise: drained, resolve } = Promise.withResolvers<void>();
  unpack.once('drain', resolve);
  if (unpack.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length))) resolve();
  await Promise.race([drained, closed]);
  unpack.off('drain', resolve);
}

/** Looks at each entry before anything of it is written; the first that is wrong ends it all. */
class EntryGuard {
  readonly #limits: TarballLimits;
  readonly #disk: { readonly folder: string; readonly roomBytes: number };
  #entries = 0;
  #bytes = 0;
  #problem: CodedError | undefined;

  constructor(
    limits: TarballLimits,
    disk: { readonly folder: string; readonly roomBytes: number },
  ) {
    this.#limits = limits;
    this.#disk = disk;
  }

  lets(entry: ReadEntry): boolean {
    if (this.#problem !== undefined) return false;
    this.#entries += 1;
    this.#bytes += entry.size;
    const problem = this.#problemOf(entry);
    if (problem !== undefined) {
      this.#problem = refused(`${JSON.stringify(entry.path.slice(0, 200))} ${problem}`);
      return false;
    }
    const { folder, roomBytes } = this.#disk;
    if (this.#bytes > roomBytes) {
      this.#problem = noSpace(folder, { neededBytes: this.#bytes, roomBytes });
      return false;
    }
    entry.mode = (entry.mode ?? 0o755) & 0o777;
    return true;
  }

  /** Throws what was refused. */
  check(): void {
    if (this.#problem !== undefined) throw this.#problem;
  }

  #problemOf({ path, type, linkpath }: ReadEntry): string | undefined {
    if (this.#entries > this.#limits.entries) return `is above ${this.#limits.entries} entries`;
    if (this.#bytes > this.#limits.bytes) return `is above ${this.#limits.bytes} bytes unpacked`;
    if (!KINDS.includes(type)) return `is a ${type}`;
    if (!isInside(path, 0)) return 'is outside of the package';
    if (type === 'Link' && !isInside(linkpath, 0)) return 'links to what is outside of the package';
    if (type === 'SymbolicLink' && !isInside(linkpath, stepsOf(path).length - 1)) {
      return 'points to what is outside of the package';
    }
    return undefined;
  }
}

/**
 * True for a path that, seen from a folder so deep in the package, stays in it. After a name there is no way up again:
 * what the name means may be a link, and then the way up is another than it reads.
 */
function isInside(path: string | undefined, depth: number): boolean {
  if (path === undefined || path.startsWith('/') || /[\\\0]/.test(path)) return false;
  const steps = stepsOf(path);
  const up = steps.lastIndexOf('..') + 1;
  return up <= depth && steps.slice(0, up).every((step) => step === '..');
}

function stepsOf(path: string): readonly string[] {
  return path.split('/').filter((step) => step !== '' && step !== '.');
}

function asRefusal(error: unknown): unknown {
  if (!(error instanceof Error) || !('tarCode' in error)) return error;
  // A failure of the disk comes by the same way; what would be written through a link looks like one.
  if ('syscall' in error && systemCode(error)?.startsWith('TAR_') !== true) return error;
  return refused(error.message, error);
}

function refused(problem: string, cause?: unknown): CodedError {
  return new CodedError('ERR_CONFIG', `the package: ${problem}`, { cause });
}
