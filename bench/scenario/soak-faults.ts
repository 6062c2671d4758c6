/** What is done to a soaked cell: processes die, disks are full for a while. And what of its resources is held. */
import { lstat, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { Type } from 'typebox';
import { SystemClock } from '../../core/base/clock.ts';
import type { Random } from '../../core/base/random.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { outputOf, runCommand } from '../cluster/command.ts';
import { askJson } from '../cluster/local-api.ts';
import type { Program } from '../cluster/program.ts';
import type { Workplace } from '../cluster/workplace.ts';
import { processMemory } from '../measure/process-usage.ts';

const FULL_MS = 1_500;
const FULL_ROUNDS = 5;

const clock = new SystemClock();
const Repair = Type.Object({ kind: Type.String(), name: Type.String() });
const parseStatus = parser(
  Type.Object({
    store: Type.Object({ openMs: Type.Number() }),
    storage: Type.Object({ bytes: Type.Number(), repairs: Type.Array(Repair) }),
  }),
);
/** A process that dies between making a file and its row, or between removing them, leaves one without the other. */
const USUAL_REPAIRS: ReadonlySet<string> = new Set(['file-orphan', 'file-missing']);

/** One start of a program after it was killed. */
export interface Restart {
  readonly name: string;
  /** Until it served. */
  readonly startMs: number;
  /** Of a host: until its store was open, and what it had to repair that a death does not explain. */
  readonly openMs?: number;
  readonly repairs?: readonly string[];
}

/** What a program holds. */
export interface Held {
  readonly name: string;
  readonly rss: number;
  readonly files: number;
  /** Of a host: content of its store, and what its files take of the disk. */
  readonly contentBytes?: number;
  readonly diskBytes?: number;
  readonly journalBytes?: number;
}

/** A filesystem in memory that is gone with the workplace. */
export async function mountMemory(place: Workplace, path: string, mib: number): Promise<void> {
  const options = `size=${mib}m,mode=700`;
  await outputOf(['mount', '-t', 'tmpfs', '-o', options, 'odonata-soak', path], {
    guard: place.guard,
  });
}

/** Kills one of the programs and starts it again; the first host is spared, so that what it gathers can be seen. */
export async function killOne(
  cluster: Cluster,
  random: Random,
  signal: AbortSignal,
): Promise<Restart> {
  const programs: Program[] = [
    cluster.supernode,
    ...cluster.hosts.slice(1).map((host) => host.daemon),
  ];
  const at = random.below(programs.length);
  const program = programs[at] ?? cluster.supernode;
  await program.kill('SIGKILL');
  const startMs = clock.monotonic();
  await program.start(signal);
  const facts = { name: program.name, startMs: clock.monotonic() - startMs };
  const host = at === 0 ? undefined : cluster.host(at + 1);
  if (host === undefined) return facts;
  const { store, storage } = parseStatus(await askJson({ socketPath: host.socket }, '/v1/status'));
  const repairs = storage.repairs
    .map(({ kind }) => kind)
    .filter((kind) => !USUAL_REPAIRS.has(kind));
  return { ...facts, openMs: store.openMs, repairs };
}

/** Takes all that is free on a filesystem, for a moment. */
export async function fillDisk(place: Workplace, path: string): Promise<void> {
  const names: string[] = [];
  try {
    for (let round = 0; round < FULL_ROUNDS; round += 1) {
      const { bavail, bsize } = await statfs(path);
      if (bavail === 0) break;
      const name = join(path, `ballast-${round}`);
      names.push(name);
      // What somebody else takes meanwhile is missing then: the next round takes the rest.
      await runCommand(['fallocate', '-l', String(bavail * bsize), name], { guard: place.guard });
    }
    await clock.sleep(FULL_MS);
  } finally {
    for (const name of names) await rm(name, { force: true });
  }
}

/** What every program holds at this moment. */
export async function heldBy(cluster: Cluster, storeOf: (host: number) => string): Promise<Held[]> {
  const held: Held[] = [await heldByProgram(cluster.supernode)];
  for (const [at, host] of cluster.hosts.entries()) {
    const { storage } = parseStatus(await askJson({ socketPath: host.socket }, '/v1/status'));
    held.push({
      ...(await heldByProgram(host.daemon)),
      contentBytes: storage.bytes,
      diskBytes: await folderBytes(storeOf(at + 1)),
      journalBytes: await folderBytes(join(storeOf(at + 1), 'journal')),
    });
  }
  return held;
}

async function heldByProgram({ name, pid }: Program): Promise<Held> {
  const memory = await processMemory(pid);
  const files = await readdir(`/proc/${pid}/fd`);
  return { name, rss: memory?.rss ?? 0, files: files.length };
}

/** What the files in a folder take of the disk. */
async function folderBytes(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    // Whatever is gone by now takes nothing.
    const facts = await lstat(join(entry.parentPath, entry.name)).catch(() => undefined);
    if (facts?.isFile() === true) bytes += facts.blocks * 512;
  }
  return bytes;
}
