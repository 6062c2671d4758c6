import { readFileSync } from 'node:fs';
import { arch, availableParallelism, platform, release, totalmem } from 'node:os';
import { programVersion } from '../base/version.ts';
import type { HostFacts } from '../wire/messages.ts';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** What this machine and this program are; cheap, and read anew for each connection. */
export function readHostFacts(): HostFacts {
  const bootId = readBootId();
  return {
    os: platform(),
    kernel: release().slice(0, 128),
    arch: arch(),
    cpus: availableParallelism(),
    memoryBytes: totalmem(),
    node: process.version,
    odonata: programVersion().slice(0, 128),
    ...(bootId === undefined ? {} : { bootId }),
  };
}

/** Another after each start of the machine; undefined where the system tells none. */
function readBootId(): string | undefined {
  try {
    return readFileSync(BOOT_ID, 'latin1').trim().slice(0, 128);
  } catch {
    return undefined;
  }
}
