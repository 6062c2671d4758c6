/** What the network interfaces of this host have moved, of all programs together. */
import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemCode } from '../../core/base/error.ts';

/** Payload since some time in the past, bytes. */
export interface LineCounts {
  readonly received: number;
  readonly sent: number;
}

/** Headers of a packet of TCP over IPv4 on Ethernet; what is merged by the kernel or the card has them once, too. */
const HEADER_BYTES = 66;

/** Payload of the interfaces whose names pass, out of the text of /proc/net/dev. */
export function parseInterfaces(text: string, isCounted: (name: string) => boolean): LineCounts {
  let [received, sent] = [0, 0];
  for (const line of text.split('\n')) {
    const [, name, rest] = /^\s*([^:\s]+):(.+)$/.exec(line) ?? [];
    if (name === undefined || rest === undefined || !isCounted(name)) continue;
    const [inBytes = 0, inPackets = 0, , , , , , , outBytes = 0, outPackets = 0] = rest
      .trim()
      .split(/\s+/)
      .map(Number);
    received += Math.max(0, inBytes - inPackets * HEADER_BYTES);
    sent += Math.max(0, outBytes - outPackets * HEADER_BYTES);
  }
  return { received, sent };
}

/**
 * The interfaces whose traffic is the host's, each byte once: those that are hardware; where there are none, as in a
 * container, those that are not loopback and stand on no other (bridges, tunnels, VLANs).
 */
export async function ownInterfaces(folder = '/sys/class/net'): Promise<readonly string[]> {
  const names = (await readdir(folder)).filter((name) => name !== 'lo');
  const found = await Promise.all(
    names.map(async (name) => ({ name, parts: await partsOf(join(folder, name)) })),
  );
  const hardware = found.filter(({ parts }) => parts.includes('device'));
  const others = found.filter(({ parts }) => parts.length > 0 && !parts.some(isOfOther));
  return (hardware.length > 0 ? hardware : others).map(({ name }) => name);
}

/** The interface stands on others, whose bytes it has too. */
function isOfOther(part: string): boolean {
  return part === 'bridge' || part === 'tun_flags' || part.startsWith('lower_');
}

/** One that is gone meanwhile has none, nor has what is no interface (`bonding_masters`). */
async function partsOf(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return [];
    throw error;
  }
}

/**
 * Reads the counters, at this very moment: what is made of them is a rate, and a thread that waits for its turn would
 * spoil it. The kernel makes the text up without waiting for anything. Throws where there is no /proc/net/dev.
 */
export function readLine(interfaces: readonly string[]): LineCounts {
  return parseInterfaces(readFileSync('/proc/net/dev', 'utf8'), (name) =>
    interfaces.includes(name),
  );
}
