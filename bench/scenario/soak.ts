/**
 * A small cell for a long time: mixed downloads by dfget, stores too small for what is asked for, processes that die,
 * disks that are full for a while. In the end every content must come to every host, every byte that was ever given
 * out was right, and nothing has been gathered.
 */
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { SeededRandom } from '../../core/base/random.ts';
import type { Random } from '../../core/base/random.ts';
import type { ProgramForm } from '../cluster/installation.ts';
import { Cluster } from '../cluster/cluster.ts';
import { Workplace } from '../cluster/workplace.ts';
import { startOrigin } from '../origin/fault-origin.ts';
import type { FaultOrigin } from '../origin/fault-origin.ts';
import { fillDisk, heldBy, killOne, mountMemory } from './soak-faults.ts';
import type { Held, Restart } from './soak-faults.ts';
import { anyWords, downloadOne, soakContents } from './soak-load.ts';
import type { SoakContent, SoakOutcome } from './soak-load.ts';

const MIB = 1024 * 1024;

/** How long, how hard. */
export interface SoakOptions {
  readonly form: ProgramForm;
  readonly seconds: number;
  readonly seed: number;
  readonly hosts: number;
  /** Different contents; together several times what a host may keep. */
  readonly contents: number;
  /** Downloads at a time. */
  readonly workers: number;
  /** Between two deaths, and between two full disks. */
  readonly killEverySeconds: number;
  readonly fullEverySeconds: number;
  /** Of the filesystem in memory that a host keeps content on, MiB; 0: on disk, which is never full. */
  readonly diskMib: number;
  /** Of each host, MiB. */
  readonly quotaMib: number;
  /** Contents that every host downloads in the end. */
  readonly finals: number;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

/** All that was seen. */
export interface SoakResult {
  readonly outcomes: readonly SoakOutcome[];
  /** The last round, with nothing broken. */
  readonly finals: readonly SoakOutcome[];
  readonly restarts: readonly Restart[];
  readonly fullDisks: number;
  /** After the first round of downloads, and in the end. */
  readonly heldBefore: readonly Held[];
  readonly heldAfter: readonly Held[];
  readonly quotaBytes: number;
}

interface Soak {
  readonly cluster: Cluster;
  readonly place: Workplace;
  readonly origin: FaultOrigin;
  readonly contents: readonly SoakContent[];
  readonly options: SoakOptions;
  readonly storeOf: (host: number) => string;
  /** Aborted when time is over. */
  readonly over: AbortSignal;
}

const clock = new SystemClock();

/** Runs the soak; throws when a program cannot be started again, or one died that nobody killed. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const { signal, onStep } = options;
  await using place = await Workplace.open({ signal });
  await using origin = await startOrigin();
  const contents = soakContents(origin, options.contents);
  const stores: string[] = [];
  for (let host = 1; host <= options.hosts; host += 1) {
    const folder = await place.subfolder(`disk-${host}`);
    if (options.diskMib > 0) await mountMemory(place, folder, options.diskMib);
    stores.push(join(folder, 'store'));
  }
  const storeOf = (host: number): string => stores[host - 1] ?? '';
  await using cluster = await Cluster.start({
    hosts: options.hosts,
    form: options.form,
    parent: place.folder,
    signal,
    supernodeArgs: ['--quota', `${2 * options.quotaMib}MiB`],
    daemonArgs: (host) => [
      '--storage=memory',
      `--memory-dir=${storeOf(host)}`,
      `--quota=${options.quotaMib}MiB`,
      '--link-workers=1',
    ],
  });
  const soak = { cluster, place, origin, contents, options, storeOf };
  onStep(`seed ${options.seed}; a first round on every host`);
  const outcomes = await everyContent({ ...soak, over: signal }, options.finals);
  const heldBefore = await heldBy(cluster, storeOf);
  onStep(`${options.seconds} s of downloads, deaths and full disks`);
  const middle = await disturb(soak);
  onStep('a last round on every host, with nothing broken');
  const finals = await everyContent({ ...soak, over: signal }, options.finals);
  const heldAfter = await heldBy(cluster, storeOf);
  const quotaBytes = options.quotaMib * MIB;
  const all = [...outcomes, ...middle.outcomes];
  return { ...middle, outcomes: all, finals, heldBefore, heldAfter, quotaBytes };
}

async function disturb(soak: Omit<Soak, 'over'>): Promise<{
  readonly outcomes: SoakOutcome[];
  readonly restarts: Restart[];
  readonly fullDisks: number;
}> {
  const { options } = soak;
  using deadline = clock.deadline(options.seconds * 1000, { signal: options.signal });
  // What fails ends the others: they would go on against programs that are stopped by then.
  const failure = new AbortController();
  const shared = { ...soak, over: AbortSignal.any([deadline.signal, failure.signal]) };
  const outcomes: SoakOutcome[] = [];
  const chance = (salt: number): Random => new SeededRandom(options.seed * 100 + salt);
  const workers = Array.from({ length: options.workers }, async (_none, at) =>
    keepDownloading(shared, { random: chance(at), name: `soaked-${at}`, outcomes }),
  );
  const parts = [
    keepKilling(shared, chance(98)),
    keepFilling(shared, chance(99)),
    ...workers,
  ] as const;
  for (const part of parts) part.catch((error: unknown) => failure.abort(error));
  await Promise.allSettled(parts);
  const [restarts, fullDisks] = await Promise.all(parts);
  options.signal.throwIfAborted();
  for (const host of soak.cluster.hosts) await soak.cluster.connected(host);
  return { outcomes, restarts, fullDisks };
}

async function keepDownloading(
  soak: Soak,
  own: { readonly random: Random; readonly name: string; readonly outcomes: SoakOutcome[] },
): Promise<void> {
  const { random, outcomes } = own;
  const { contents, cluster, origin, options } = soak;
  while (!soak.over.aborted) {
    const content = contents[random.below(contents.length)];
    const host = cluster.host(1 + random.below(options.hosts));
    if (content === undefined) return;
    const what = { content, url: origin.url(content.path), words: anyWords(content, random) };
    outcomes.push(await downloadOne(host, { ...what, output: own.name }, options.signal));
  }
}

async function keepKilling(soak: Soak, random: Random): Promise<Restart[]> {
  const restarts: Restart[] = [];
  const everyMs = soak.options.killEverySeconds * 1000;
  while (await passed(everyMs, soak.over)) {
    const restart = await killOne(soak.cluster, random, soak.options.signal);
    soak.options.onStep(
      `killed ${restart.name}, served again after ${restart.startMs.toFixed(0)} ms`,
    );
    restarts.push(restart);
    refuseDead(soak.cluster);
  }
  return restarts;
}

async function keepFilling(soak: Soak, random: Random): Promise<number> {
  let times = 0;
  if (soak.options.diskMib === 0) return times;
  while (await passed(soak.options.fullEverySeconds * 1000, soak.over)) {
    const host = 1 + random.below(soak.options.hosts);
    await fillDisk(soak.place, join(soak.storeOf(host), '..'));
    times += 1;
  }
  return times;
}

/** Every host downloads so many contents, the last of the list first: those are the least likely to be there. */
async function everyContent(soak: Soak, count: number): Promise<SoakOutcome[]> {
  const chosen = soak.contents.slice(-count).toReversed();
  const outcomes: SoakOutcome[] = [];
  await Promise.all(
    soak.cluster.hosts.map(async (host) => {
      for (const content of chosen) {
        const words = { kind: 'whole', args: [], start: 0, end: content.length };
        const what = { content, url: soak.origin.url(content.path), words, output: 'every' };
        outcomes.push(await downloadOne(host, what, soak.options.signal));
      }
    }),
  );
  return outcomes;
}

/** False when time is over before. */
async function passed(ms: number, over: AbortSignal): Promise<boolean> {
  await clock.sleep(ms, { signal: over }).catch(() => undefined);
  return !over.aborted;
}

function refuseDead(cluster: Cluster): void {
  const programs = [cluster.supernode, ...cluster.hosts.map((host) => host.daemon)];
  const dead = programs.find((program) => !program.isRunning);
  if (dead !== undefined) {
    throw new CodedError('ERR_INTERNAL', `${dead.name} died by itself\n${dead.lastLog()}`);
  }
}
