// Runs in the threads of the compression pool (unit-compressor.ts).
import { performance } from 'node:perf_hooks';
import { threadCpuUsage } from 'node:process';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { savesEnough } from './unit.ts';
import { openZstd } from './zstd.ts';

/** A unit to be compressed; its memory moves to the thread, and back. */
export interface CompressJob {
  readonly memory: ArrayBuffer;
  /** Raw bytes, from the start of `memory`. */
  readonly length: number;
  readonly level: number;
  /** True: samples of it decide whether it is worth compressing at all. */
  readonly isProbed: boolean;
}

/** What became of a job. */
export interface CompressedJob {
  readonly memory: ArrayBuffer;
  /** Empty when it does not save enough. */
  readonly unit: Uint8Array<ArrayBuffer>;
  /** Time that passed, and of the processor. */
  readonly ms: number;
  readonly cpuMs: number;
  /** False when samples had decided already. */
  readonly isWhole: boolean;
}

const SAMPLE_BYTES = 16_384;
const SAMPLES = 3;
const SAMPLE_LEVEL = 1;
const zstd = openZstd();

/** Compresses one unit. */
export function compressUnit(job: CompressJob): ReturnType<typeof move> {
  const { memory, length, level, isProbed } = job;
  const startedMs = performance.now();
  const cpu = threadCpuUsage();
  const raw = new Uint8Array(memory, 0, length);
  const isWhole = !isProbed || doSamplesShrink(raw);
  const packed = isWhole ? zstd.compress(raw, level) : raw;
  const unit = savesEnough(packed.length, length) ? new Uint8Array(packed) : new Uint8Array(0);
  const { user, system } = threadCpuUsage(cpu);
  const ms = performance.now() - startedMs;
  const done: CompressedJob = { memory, unit, ms, cpuMs: (user + system) / 1_000, isWhole };
  return move({ [transferableSymbol]: [memory, unit.buffer], [valueSymbol]: done });
}

/** A few samples spread over the unit save enough at the fastest level. */
function doSamplesShrink(raw: Uint8Array): boolean {
  if (raw.length <= SAMPLES * SAMPLE_BYTES) return true;
  let [packed, sampled] = [0, 0];
  for (let sample = 0; sample < SAMPLES; sample += 1) {
    const start = Math.floor((sample * (raw.length - SAMPLE_BYTES)) / (SAMPLES - 1));
    const bytes = raw.subarray(start, start + SAMPLE_BYTES);
    packed += zstd.compress(bytes, SAMPLE_LEVEL).length;
    sampled += bytes.length;
  }
  return savesEnough(packed, sampled);
}
