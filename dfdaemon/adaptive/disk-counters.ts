/** What the disk under a folder has done, and what of it was ours. */
import { readFile, stat } from 'node:fs/promises';

/** Since some time in the past; bytes and ms. */
export interface DiskCounts {
  readonly read: number;
  readonly written: number;
  readonly busyMs: number;
  readonly ownRead: number;
  readonly ownWritten: number;
  /** Absent where the kernel has no pressure stall information. */
  readonly stalledMs: number | undefined;
}

/** Of a block device, as the kernel numbers it. */
export interface DeviceNumber {
  readonly major: number;
  readonly minor: number;
}

/** Of the counters of the kernel, whatever the disk. */
const SECTOR_BYTES = 512;

/** The device a folder is on, out of `st_dev`. */
export async function deviceOf(folder: string): Promise<DeviceNumber> {
  const { dev } = await stat(folder, { bigint: true });
  return {
    major: Number((dev >> 8n) & 0xfffn),
    minor: Number((dev & 0xffn) | ((dev >> 12n) & 0xfff00n)),
  };
}

/** What a device did, out of the text of /proc/diskstats; undefined when it is not there, as tmpfs and overlays. */
export function parseDiskstats(
  text: string,
  { major, minor }: DeviceNumber,
): Pick<DiskCounts, 'read' | 'written' | 'busyMs'> | undefined {
  for (const line of text.split('\n')) {
    const words = line.trim().split(/\s+/);
    if (words[0] !== `${major}` || words[1] !== `${minor}`) continue;
    const [sectorsRead = 0, , , , sectorsWritten = 0, , , busyMs = 0] = words.slice(5).map(Number);
    return { read: sectorsRead * SECTOR_BYTES, written: sectorsWritten * SECTOR_BYTES, busyMs };
  }
  return undefined;
}

/** What this process, all its threads, read from disks and wrote to be brought there, out of /proc/self/io. */
export function parseOwnIo(text: string): Pick<DiskCounts, 'ownRead' | 'ownWritten'> {
  const field = (name: string): number =>
    Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1]);
  const ownWritten = field('write_bytes') - (field('cancelled_write_bytes') || 0);
  return { ownRead: field('read_bytes') || 0, ownWritten: ownWritten || 0 };
}

/** How long somebody waited for a disk, out of /proc/pressure/io; undefined when it does not say. */
export function parsePressure(text: string): number | undefined {
  const total = /^some .*\btotal=(\d+)$/m.exec(text)?.[1];
  return total === undefined ? undefined : Number(total) / 1_000;
}

/** Reads the counters of a device; rejects, or is undefined, where there are none. */
export async function readDisk(device: DeviceNumber): Promise<DiskCounts | undefined> {
  const [disks, own, pressure] = await Promise.all([
    readFile('/proc/diskstats', 'utf8'),
    readFile('/proc/self/io', 'utf8'),
    readFile('/proc/pressure/io', 'utf8').catch(() => ''),
  ]);
  const counts = parseDiskstats(disks, device);
  if (counts === undefined) return undefined;
  return { ...counts, ...parseOwnIo(own), stalledMs: parsePressure(pressure) };
}
