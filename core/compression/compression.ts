// What one thread of a host compresses, and knows the compressed form of. A unit that came compressed is kept as it
// came, once its piece is verified, and goes on like that; any other is compressed once, when somebody first wants it
// over a link slow enough, and kept. All of it is a cache: what has gone from it is sent raw, or compressed anew.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import { chooseLevel, isFast, isWorthSending } from './choose-level.ts';
import type { Level, LevelFacts } from './choose-level.ts';
import type { CompressionStats } from './compression-stats.ts';
import { ContentWorth, START_BYTES, isDenseStart, isDenseType } from './content-worth.ts';
import { IdleProcessors } from './idle-processors.ts';
import { UnitCache } from './unit-cache.ts';
import type { UnitName } from './unit-cache.ts';
import { UnitCompressor } from './unit-compressor.ts';
import { openZstd } from './zstd.ts';
import type { Zstd } from './zstd.ts';

/** Compressed forms kept by one thread. */
const CACHE_BYTES = 16_777_216;
/** Versions of which it is remembered how they compress. */
const MAX_CONTENTS = 1_024;
/** A unit is waited for at most so long, and at most half of the time that it takes raw. */
const MAX_WAIT_MS = 20;

/** A version of a task as its sender sees it. */
export interface UnitSource {
  /** `task/version`. */
  readonly key: string;
  /** As the origin said, where that is known. */
  mediaType(): string | undefined;
  has(piece: number): boolean;
  /** Fills `target` from `offset` of the piece and says how many bytes that were; throws a `CodedError`. */
  read(piece: number, offset: number, target: Uint8Array): number;
}

/** One unit of a source. */
export interface Unit {
  readonly piece: number;
  readonly offset: number;
  /** Raw bytes. */
  readonly length: number;
}

/** How a unit is to be sent: raw, in a compressed form, or so as is known once `ready` has resolved. */
export type UnitForm =
  | { readonly kind: 'raw' }
  | { readonly kind: 'compressed'; readonly bytes: Uint8Array }
  | { readonly kind: 'coming'; readonly ready: Promise<void>; readonly patienceMs: number };

/** What compression is made of. */
export interface CompressionParts {
  readonly clock: Clock;
  readonly log: Log;
  /** Default `chooseLevel`. */
  readonly policy?: (facts: LevelFacts) => Level | undefined;
}

const RAW: UnitForm = { kind: 'raw' };

/** Compression for one endpoint. */
export class Compression implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #policy: (facts: LevelFacts) => Level | undefined;
  readonly #cache = new UnitCache(CACHE_BYTES);
  readonly #contents = new LRUCache<string, ContentWorth>({ max: MAX_CONTENTS });
  readonly #coming = new Map<string, Promise<void>>();
  readonly #compressor: UnitCompressor;
  readonly #idle: IdleProcessors;
  #zstd: Zstd | undefined;
  /** Bytes of units that came in pieces which are not whole yet. */
  #held = 0;
  #savedOut = 0;
  #savedIn = 0;
  #decompressMs = 0;

  constructor(parts: CompressionParts) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#policy = parts.policy ?? chooseLevel;
    const compressor = new UnitCompressor(parts.clock);
    this.#compressor = compressor;
    this.#idle = new IdleProcessors(parts.clock, { ownMs: () => compressor.cpuMs });
  }

  get stats(): CompressionStats {
    return {
      savedOutBytes: this.#savedOut,
      savedInBytes: this.#savedIn,
      triedBytes: this.#compressor.triedBytes,
      compressMs: this.#compressor.cpuMs,
      decompressMs: this.#decompressMs,
      cachedBytes: this.#cache.bytes,
    };
  }

  /** How to send a unit over a link that takes `linkRate` bytes a second, undefined while that is not known. */
  formOf(source: UnitSource, unit: Unit, linkRate: number | undefined): UnitForm {
    if (linkRate !== undefined && isFast(linkRate)) return RAW;
    const name = { key: source.key, piece: unit.piece, offset: unit.offset };
    const known = this.#cache.get(name);
    if (known !== undefined) {
      const ratio = known.length / unit.length;
      const isWanted = linkRate === undefined || isWorthSending({ linkRate, ratio });
      return known.length > 0 && isWanted ? { kind: 'compressed', bytes: known } : RAW;
    }
    if (linkRate === undefined) {
      // By the time that it is known, it should be known how busy this machine is.
      this.#idle.look();
      return RAW;
    }
    const ready = this.#begin(source, unit, linkRate);
    if (ready === undefined) {
      this.#contents.get(source.key)?.passed();
      return RAW;
    }
    const patienceMs = Math.min(MAX_WAIT_MS, (unit.length * 500) / linkRate);
    return { kind: 'coming', ready, patienceMs };
  }

  /** The unit is going to be sent soon: begins to compress it, if it is to be. */
  expect(source: UnitSource, unit: Unit, linkRate: number | undefined): void {
    if (linkRate === undefined || isFast(linkRate)) return;
    if (this.#cache.has({ key: source.key, piece: unit.piece, offset: unit.offset })) return;
    void this.#begin(source, unit, linkRate);
  }

  /** A unit was sent in so many bytes. */
  sent(rawBytes: number, bytes: number): void {
    this.#savedOut += rawBytes - bytes;
  }

  /** The raw bytes of a unit that came, valid until the next call; throws ERR_PROTOCOL when they cannot be had. */
  decompress(unit: Uint8Array, rawBytes: number): Uint8Array {
    const startedMs = this.#clock.monotonic();
    this.#zstd ??= openZstd();
    const raw = this.#zstd.decompress(unit, rawBytes);
    this.#decompressMs += this.#clock.monotonic() - startedMs;
    this.#savedIn += rawBytes - unit.length;
    return raw;
  }

  /** Asks for room for a unit of a piece that is not verified yet; false when too many wait for that already. */
  hold(bytes: number): boolean {
    if (this.#held + bytes > CACHE_BYTES) return false;
    this.#held += bytes;
    return true;
  }

  /** The room is free again. */
  release(bytes: number): void {
    this.#held -= bytes;
  }

  /** Keeps a unit as it came, now that its piece is verified; it must not be written to after. */
  keep(name: UnitName, unit: Uint8Array): void {
    this.#cache.set(name, unit);
  }

  /** What was had is not any more, or was wrong: pieces, or a whole version. */
  forget(key: string, pieces?: readonly number[]): void {
    this.#cache.forget(key, pieces);
    if (pieces === undefined) this.#contents.delete(key);
  }

  /** Nobody is linked: gives back memory. */
  rest(): void {
    this.#cache.clear();
    this.#compressor.rest();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#compressor[Symbol.asyncDispose]();
  }

  /** Compresses the unit if that pays, at most once at a time; undefined when it does not. */
  #begin(source: UnitSource, unit: Unit, linkRate: number): Promise<void> | undefined {
    const name = `${source.key}/${unit.piece}/${unit.offset}`;
    const coming = this.#coming.get(name);
    if (coming !== undefined) return coming;
    const worth = this.#worthOf(source);
    if (worth === undefined || !worth.isDue || this.#compressor.isFull) return undefined;
    const level = this.#policy({
      linkRate,
      ratio: worth.ratio,
      speedOf: (each) => this.#compressor.speedOf(each),
      idleProcessors: () => this.#idle.look() ?? 0,
    });
    if (level === undefined) return undefined;
    const begun = this.#compress(source, unit, { worth, level });
    this.#coming.set(name, begun);
    void begun.finally(() => this.#coming.delete(name));
    return begun;
  }

  /** Rejects never: what cannot be compressed is sent raw, and says then what is wrong with it. */
  async #compress(
    source: UnitSource,
    { piece, offset, length }: Unit,
    how: { readonly worth: ContentWorth; readonly level: Level },
  ): Promise<void> {
    const { worth, level } = how;
    const read = (target: Uint8Array): void => {
      if (source.read(piece, offset, target) === length) return;
      throw new CodedError('ERR_STORE_IO', `piece ${piece} is shorter than it was`);
    };
    try {
      const isProbed = !worth.isProven;
      const packed = await this.#compressor.compress({ length, read }, { level, isProbed });
      this.#cache.set({ key: source.key, piece, offset }, packed);
      if (packed.length > 0) worth.shrank(packed.length / length);
      else worth.stayed();
    } catch (error) {
      worth.stayed();
      const { code, message: reason } = CodedError.from(error);
      this.#log.debug({ task: source.key, piece, code, reason }, 'a unit was not compressed');
    }
  }

  /** Undefined for content that is compressed already. */
  #worthOf(source: UnitSource): ContentWorth | undefined {
    const worth = this.#contents.get(source.key) ?? newWorth(source.mediaType());
    this.#contents.set(source.key, worth);
    if (!worth.isStartSeen && source.has(0)) {
      worth.isStartSeen = true;
      worth.isDense ||= startsDense(source);
    }
    return worth.isDense ? undefined : worth;
  }
}

function newWorth(mediaType: string | undefined): ContentWorth {
  const worth = new ContentWorth();
  worth.isDense = mediaType !== undefined && isDenseType(mediaType);
  return worth;
}

function startsDense(source: UnitSource): boolean {
  const start = new Uint8Array(START_BYTES);
  try {
    source.read(0, 0, start);
  } catch {
    // Who is sent the piece is told what is wrong with it.
    return false;
  }
  return isDenseStart(start);
}
