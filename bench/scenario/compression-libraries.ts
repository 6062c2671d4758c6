/** zstd-napi and Node's own zstd beside each other, on the units that are compressed on the way. */
import { open } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { constants, zstdCompress } from 'node:zlib';
import { SystemClock } from '../../core/base/clock.ts';
import { levels } from '../../core/compression/choose-level.ts';
import type { Level } from '../../core/compression/choose-level.ts';
import { UnitCompressor } from '../../core/compression/unit-compressor.ts';
import { UNIT_BYTES } from '../../core/compression/unit.ts';
import { NodeZstd, openZstd } from '../../core/compression/zstd.ts';
import type { Zstd } from '../../core/compression/zstd.ts';
import { Workplace } from '../cluster/workplace.ts';
import { renderTable } from '../report/table.ts';
import { makeContents } from './compression-content.ts';
import type { ContentKind } from './compression-content.ts';

/** One way of compressing one content at one level. */
export interface LibrarySample {
  readonly kind: ContentKind;
  readonly level: Level;
  readonly way: string;
  /** Compressed bytes by raw bytes. */
  readonly ratio: number;
  /** Raw bytes a second, in time that passes, and processor seconds of all threads for 1 GiB. */
  readonly bytesPerSecond: number;
  readonly cpuPerGib: number;
}

/** What is measured. */
export interface LibraryOptions {
  readonly kinds: readonly ContentKind[];
  readonly size: number;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

const clock = new SystemClock();
const GIB = 2 ** 30;

/** Compresses and decompresses every content in every way; the first pass of each is not counted. */
export async function runLibraries(options: LibraryOptions): Promise<LibrarySample[]> {
  const { kinds, size, signal, onStep } = options;
  await using workplace = await Workplace.open({ signal });
  await using compressor = new UnitCompressor(clock);
  const samples: LibrarySample[] = [];
  for (const { kind, path } of await makeContents(kinds, size, { workplace, signal })) {
    const units = await unitsOf(path);
    for (const level of levels) {
      for (const [way, compress] of ways(level, compressor)) {
        signal.throwIfAborted();
        onStep(`${kind}, level ${level}, ${way}`);
        await compress(units.slice(0, 8));
        const cpu = process.cpuUsage();
        const startedMs = clock.monotonic();
        const packed = await compress(units);
        const seconds = (clock.monotonic() - startedMs) / 1_000;
        const { user, system } = process.cpuUsage(cpu);
        samples.push({
          kind,
          level,
          way,
          ratio: packed / size,
          bytesPerSecond: size / seconds,
          cpuPerGib: ((user + system) / 1e6) * (GIB / size),
        });
      }
    }
  }
  return samples;
}

/** The samples as text. */
export function renderLibraries(samples: readonly LibrarySample[]): string {
  const columns = ['content', 'level', 'way', 'ratio', 'MB/s', 'CPU-s/GiB'];
  const rows = samples.map(({ kind, level, way, ratio, bytesPerSecond, cpuPerGib }) => ({
    content: kind,
    level,
    way,
    ratio: ratio.toFixed(3),
    'MB/s': (bytesPerSecond / 1e6).toFixed(0),
    'CPU-s/GiB': cpuPerGib.toFixed(2),
  }));
  return renderTable(columns, rows);
}

type Pass = (units: readonly Buffer[]) => Promise<number>;

function ways(level: Level, compressor: UnitCompressor): [string, Pass][] {
  const compress =
    (zstd: Zstd): Pass =>
    async (units) =>
      units.reduce((sum, unit) => sum + zstd.compress(unit, level).length, 0);
  const decompress =
    (zstd: Zstd): Pass =>
    async (units) => {
      const frames = units.map((unit) => Buffer.from(zstd.compress(unit, level)));
      return frames.reduce((sum, frame, at) => {
        zstd.decompress(frame, units[at]?.length ?? 0);
        return sum + frame.length;
      }, 0);
    };
  const [best, own] = [openZstd(), new NodeZstd()];
  return [
    [best.library, compress(best)],
    [own.library, compress(own)],
    [`${own.library}, asynchronous`, async (units) => onSystemThreads(units, level)],
    [`${best.library} in piscina`, async (units) => inPool(units, { level, compressor })],
    [`${best.library}, and back`, decompress(best)],
    [`${own.library}, and back`, decompress(own)],
  ];
}

/** Node's asynchronous calls, as many at a time as there are processors. */
async function onSystemThreads(units: readonly Buffer[], level: Level): Promise<number> {
  const compress = promisify<Buffer, object, Buffer>(zstdCompress);
  const params = { [constants.ZSTD_c_compressionLevel]: level };
  return sideBySide(units, async (unit) => {
    const packed = await compress(unit, { params, chunkSize: UNIT_BYTES });
    return packed.length;
  });
}

/** Our own pool, as it is used. */
async function inPool(
  units: readonly Buffer[],
  about: { readonly level: Level; readonly compressor: UnitCompressor },
): Promise<number> {
  const how = { level: about.level, isProbed: false };
  return sideBySide(units, async (unit) => {
    const read = (target: Uint8Array): void => target.set(unit);
    const packed = await about.compressor.compress({ length: unit.length, read }, how);
    // What does not shrink comes back as nothing.
    return packed.length === 0 ? unit.length : packed.length;
  });
}

async function sideBySide(
  units: readonly Buffer[],
  compress: (unit: Buffer) => Promise<number>,
): Promise<number> {
  const waiting = units.values();
  let bytes = 0;
  const work = async (): Promise<void> => {
    for (const unit of waiting) {
      const packed = await compress(unit);
      bytes += packed;
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return bytes;
}

async function unitsOf(path: string): Promise<Buffer[]> {
  await using file = await open(path);
  const units: Buffer[] = [];
  const { size } = await file.stat();
  for (let at = 0; at < size; at += UNIT_BYTES) {
    const unit = Buffer.alloc(Math.min(UNIT_BYTES, size - at));
    await file.read(unit, 0, unit.length, at);
    units.push(unit);
  }
  return units;
}
