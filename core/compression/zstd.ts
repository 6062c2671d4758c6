// zstd by whichever library is there: zstd-napi, which keeps its contexts from call to call and writes into memory of
// ours, or Node's own, which makes both anew each time (docs/compression.md has the figures). Synchronous: compressing
// happens in threads that do nothing else, decompressing in the thread that hashes and writes.
import { createRequire } from 'node:module';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { CodedError } from '../base/error.ts';
import { frameFault } from './zstd-frame.ts';

/** One zstd, for one thread. */
export interface Zstd {
  readonly library: 'zstd-napi' | 'node:zlib';
  /** One frame that states its length; valid until the next call. */
  compress(raw: Uint8Array, level: number): Uint8Array;
  /**
   * The `rawLength` bytes that `frame` holds; valid until the next call. Throws ERR_PROTOCOL when it is not one whole
   * frame of just so many: no more than `rawLength` bytes are ever written.
   */
  decompress(frame: Uint8Array, rawLength: number): Uint8Array;
}

interface Binding {
  readonly CCtx: new () => {
    setParameter(parameter: number, value: number): void;
    compress2(target: Uint8Array, source: Uint8Array): number;
  };
  readonly DCtx: new () => { decompress(target: Uint8Array, source: Uint8Array): number };
  readonly CParameter: { readonly compressionLevel: number };
  readonly compressBound: (bytes: number) => number;
}

/** The better one that is installed. */
export function openZstd(): Zstd {
  const binding = loadBinding();
  return binding === undefined ? new NodeZstd() : new NapiZstd(binding);
}

/** zstd-napi is optional: it may have had to be compiled, and could not. */
function loadBinding(): Binding | undefined {
  try {
    const loaded: unknown = createRequire(import.meta.url)('zstd-napi/binding');
    // The package's own types say the same; they are not there where it is not installed.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    return loaded as Binding;
  } catch {
    return undefined;
  }
}

/** zstd-napi: contexts and memory are made once. */
class NapiZstd implements Zstd {
  readonly library = 'zstd-napi';
  readonly #binding: Binding;
  #compressor: InstanceType<Binding['CCtx']> | undefined;
  #decompressor: InstanceType<Binding['DCtx']> | undefined;
  #level: number | undefined;
  #packed: Buffer = Buffer.alloc(0);
  #unpacked: Buffer = Buffer.alloc(0);

  constructor(binding: Binding) {
    this.#binding = binding;
  }

  compress(raw: Uint8Array, level: number): Uint8Array {
    const { CCtx, CParameter, compressBound } = this.#binding;
    this.#compressor ??= new CCtx();
    if (level !== this.#level) this.#compressor.setParameter(CParameter.compressionLevel, level);
    this.#level = level;
    const bound = compressBound(raw.length);
    if (this.#packed.length < bound) this.#packed = Buffer.allocUnsafeSlow(bound);
    return this.#packed.subarray(0, this.#compressor.compress2(this.#packed, raw));
  }

  decompress(frame: Uint8Array, rawLength: number): Uint8Array {
    refuse(frameFault(frame, rawLength));
    const context = (this.#decompressor ??= new this.#binding.DCtx());
    if (this.#unpacked.length < rawLength) this.#unpacked = Buffer.allocUnsafeSlow(rawLength);
    const target = this.#unpacked.subarray(0, rawLength);
    const got = unpack(() => context.decompress(target, frame));
    refuse(got === rawLength ? undefined : 'it is shorter than it states');
    return target;
  }
}

/** Node's own: nothing to install. */
export class NodeZstd implements Zstd {
  readonly library = 'node:zlib';

  compress(raw: Uint8Array, level: number): Uint8Array {
    const params = { [constants.ZSTD_c_compressionLevel]: level };
    return zstdCompressSync(raw, { params, chunkSize: chunkFor(raw.length) });
  }

  decompress(frame: Uint8Array, rawLength: number): Uint8Array {
    refuse(frameFault(frame, rawLength));
    const options = { maxOutputLength: rawLength, chunkSize: chunkFor(rawLength) };
    const raw = unpack(() => zstdDecompressSync(frame, options));
    refuse(raw.length === rawLength ? undefined : 'it is shorter than it states');
    return raw;
  }
}

/** Node takes output by the chunk, and the smallest it allows is 64 bytes. */
function chunkFor(bytes: number): number {
  return Math.max(64, bytes);
}

function unpack<T>(decompress: () => T): T {
  try {
    return decompress();
  } catch (cause) {
    throw new CodedError('ERR_PROTOCOL', 'compressed bytes cannot be read', { cause });
  }
}

function refuse(fault: string | undefined): void {
  if (fault === undefined) return;
  throw new CodedError('ERR_PROTOCOL', `compressed bytes cannot be read: ${fault}`, {
    detail: { reason: fault },
  });
}
