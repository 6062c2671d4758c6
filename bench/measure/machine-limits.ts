import { createHash, randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { median } from './median.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const HASHED = 512 * MIB;
const clock = new SystemClock();

/** What this machine can do at best; rates are bytes per second. */
export interface MachineLimits {
  readonly processors: number;
  readonly model: string;
  /** One core. */
  readonly sha256Rate: number;
  /** One writer, to the file cache. */
  readonly writeRate: number;
  /** One writer, until the disk has it. */
  readonly syncedWriteRate: number;
}

/** Measures on the filesystem of `folder`; takes a few seconds and needs 1 GiB there for a moment. */
export function measureMachineLimits(folder: string, rounds = 3): MachineLimits {
  const block = randomBytes(MIB);
  const hashes: number[] = [];
  const writes: ReturnType<typeof writeGib>[] = [];
  for (let round = 0; round < rounds; round += 1) {
    hashes.push(hashRate(block));
    writes.push(writeGib(join(folder, 'machine-limits'), block));
  }
  const [processor] = cpus();
  return {
    processors: cpus().length,
    model: processor?.model ?? 'unknown',
    sha256Rate: median(hashes),
    writeRate: GIB / median(writes.map((write) => write.cached)),
    syncedWriteRate: GIB / median(writes.map((write) => write.synced)),
  };
}

function hashRate(block: Buffer): number {
  const startMs = clock.monotonic();
  const hash = createHash('sha256');
  for (let done = 0; done < HASHED; done += block.length) hash.update(block);
  hash.digest();
  return (HASHED * 1000) / (clock.monotonic() - startMs);
}

/** Seconds until written, and until on disk. */
function writeGib(file: string, block: Buffer): { cached: number; synced: number } {
  const startMs = clock.monotonic();
  const handle = openSync(file, 'w', 0o600);
  try {
    for (let done = 0; done < GIB; done += block.length) writeSync(handle, block);
    const cached = (clock.monotonic() - startMs) / 1000;
    fsyncSync(handle);
    return { cached, synced: (clock.monotonic() - startMs) / 1000 };
  } finally {
    closeSync(handle);
    rmSync(file);
  }
}
