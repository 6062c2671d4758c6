/**
 * One host at a time, beside curl and aria2c in the same run. For each size and round: curl, aria2c, dfget of
 * something nobody has (cold), dfget of the same again (warm), dd that only writes as much, dfget of it on a second
 * host. Every output is compared with what the origin serves; medians are reported.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { runCommand } from '../cluster/command.ts';
import type { CommandResult } from '../cluster/command.ts';
import type { ProgramForm } from '../cluster/installation.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { Lab } from '../lab/lab.ts';
import { measureMachineLimits } from '../measure/machine-limits.ts';
import type { MachineLimits } from '../measure/machine-limits.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import type { CpuUse } from '../measure/process-usage.ts';
import { contentDigest } from '../origin/content.ts';
import { SUPERNODE, newLabName, placeOf, placesIn } from './lab-cluster.ts';

/** What is compared; `write` is no download: as many bytes into a new file, which has its price everywhere. */
export const contenders = [
  'curl',
  'aria2c',
  'dfget cold',
  'dfget warm',
  'write',
  'dfget second host',
] as const;

/** The name of one. */
export type Contender = (typeof contenders)[number];

/** One timed download. */
export interface Sample {
  readonly contender: Contender;
  /** Bytes. */
  readonly size: number;
  readonly round: number;
  /** From the start of the process to its end. */
  readonly seconds: number;
  readonly cpu: CpuUse;
}

/** Everything one run of the benchmark found. */
export interface SingleResult {
  /** Bits per second of each link, each way, in a lab; 0 without one: then nothing limits but this machine. */
  readonly rate: number;
  readonly machine: MachineLimits;
  /** Milliseconds to start and end Node with nothing to do, each, in turn with those of dfget for one byte; none in a lab. */
  readonly bareNodeMs: readonly number[];
  readonly samples: readonly Sample[];
  /** Milliseconds from the start of dfget for one byte that the cell has, to its end, each. */
  readonly tinyStartMs: readonly number[];
  /** Milliseconds from asking the socket for that byte to `done`, each. */
  readonly localApiMs: readonly number[];
  readonly missing: readonly Contender[];
}

/** What to run. */
export interface SingleOptions {
  readonly form: ProgramForm;
  /** Sizes in bytes, and how often each. */
  readonly sizes: readonly { readonly bytes: number; readonly rounds: number }[];
  /** As in the result. */
  readonly rate: number;
  /** Folder on the filesystem to measure; default the system's for temporary files. */
  readonly parent?: string;
  readonly signal: AbortSignal;
  /** Told what is being done. */
  readonly onStep: (text: string) => void;
}

const clock = new SystemClock();
const ARIA_CONNECTIONS = 4;
const START_ROUNDS = 21;
/** Not counted: the first start compiles and keeps what it compiled. */
const START_WARM_UP = 3;
const API_ROUNDS = 101;
/** Not counted either: the first call fetches, and code that ran a few times only is not what a daemon runs. */
const API_WARM_UP = 30;
const QUIET_MS = 300;
const QUIET_WITHIN_MS = 5_000;
const SEED = 1;
const ORIGIN = 'origin';

/** Runs the benchmark; ERR_DIGEST_MISMATCH when anybody downloaded something else than was served. */
export async function runSingle(options: SingleOptions): Promise<SingleResult> {
  const { form, signal, parent, rate, onStep } = options;
  await using lab = rate === 0 ? undefined : await startLab(rate, signal);
  onStep(
    form === 'package' ? 'building, packing and starting the programs' : 'starting the programs',
  );
  const where = {
    ...(parent === undefined ? {} : { parent }),
    ...(lab === undefined ? {} : { places: placesIn(lab) }),
  };
  await using cluster = await Cluster.start({ hosts: 2, form, signal, ...where });
  onStep('measuring the machine');
  const machine = measureMachineLimits(cluster.workplace.folder);
  const bench = new SingleBench({ cluster, lab, signal });
  const missing = await bench.missingTools();
  const samples: Sample[] = [];
  for (const { bytes, rounds } of options.sizes) {
    await using origin = await OriginProcess.start(
      cluster.workplace,
      { size: bytes },
      {
        name: `origin-${bytes}`,
        signal,
        ...(lab === undefined ? {} : { place: placeOf(lab, ORIGIN) }),
      },
    );
    const digest = await contentDigest({ seed: SEED, length: bytes });
    for (let round = 1; round <= rounds; round += 1) {
      onStep(`${bytes} bytes, round ${round} of ${rounds}`);
      samples.push(...(await bench.round({ origin, bytes, digest, round, missing })));
    }
  }
  const common = { rate, machine, samples, missing };
  if (lab !== undefined) return { ...common, bareNodeMs: [], tinyStartMs: [], localApiMs: [] };
  onStep('one byte, again and again');
  return { ...common, ...(await bench.tinyTimes()) };
}

async function startLab(rate: number, signal: AbortSignal): Promise<Lab> {
  const hosts = ['1', '2', SUPERNODE, ORIGIN].map((name) => ({ name }));
  return Lab.up({ name: newLabName(), hosts, rate: { up: rate, down: rate }, signal });
}

interface Round {
  readonly origin: OriginProcess;
  readonly bytes: number;
  readonly digest: string;
  readonly round: number;
  readonly missing: readonly Contender[];
}

class SingleBench {
  readonly #cluster: Cluster;
  readonly #lab: Lab | undefined;
  readonly #signal: AbortSignal;
  readonly #output: string;
  /** Kept until the round ends, so that the second host gets no memory that is fresher or older than it had. */
  readonly #written: string;

  constructor(parts: {
    readonly cluster: Cluster;
    readonly lab: Lab | undefined;
    readonly signal: AbortSignal;
  }) {
    const { cluster, lab, signal } = parts;
    this.#cluster = cluster;
    this.#lab = lab;
    this.#signal = signal;
    this.#output = join(cluster.workplace.folder, 'output');
    this.#written = join(cluster.workplace.folder, 'written');
  }

  async round(round: Round): Promise<Sample[]> {
    const [first, second] = [this.#cluster.host(1), this.#cluster.host(2)];
    // The query makes each round a task of its own; the origin does not look at it.
    const url = `${round.origin.url}?round=${round.round}`;
    const enter = this.#lab?.enter('1') ?? [];
    const commands: [Contender, readonly string[]][] = [
      ['curl', [...enter, ...this.#curl(url)]],
      ['aria2c', [...enter, ...this.#aria2c(url)]],
      ['dfget cold', this.#dfget(first, url)],
      ['dfget warm', this.#dfget(first, url)],
      ['write', this.#write(round.bytes)],
      ['dfget second host', this.#dfget(second, url)],
    ];
    const samples: Sample[] = [];
    for (const [contender, argv] of commands) {
      if (round.missing.includes(contender)) continue;
      samples.push(await this.#sample(contender, { argv, round }));
    }
    await rm(this.#written, { force: true });
    await this.#forgetAll([first, second]);
    return samples;
  }

  /** Tools of the comparison that this machine has not. */
  async missingTools(): Promise<Contender[]> {
    const missing: Contender[] = [];
    for (const tool of ['curl', 'aria2c'] as const) {
      const isThere = await runCommand([tool, '--version'], this.#running()).then(
        ({ exitCode }) => exitCode === 0,
        () => false,
      );
      if (!isThere) missing.push(tool);
    }
    return missing;
  }

  /** One byte, warm, one run after the other: how long dfget takes, and how long its dfdaemon does. */
  async tinyTimes(): Promise<Pick<SingleResult, 'bareNodeMs' | 'tinyStartMs' | 'localApiMs'>> {
    const { workplace } = this.#cluster;
    const host = this.#cluster.host(1);
    await using origin = await OriginProcess.start(
      workplace,
      { size: 1 },
      { signal: this.#signal },
    );
    const localApiMs: number[] = [];
    for (let round = 1 - API_WARM_UP; round <= API_ROUNDS; round += 1) {
      const startMs = clock.monotonic();
      for await (const event of host.download({ url: origin.url })) {
        if (event.type === 'failed') throw CodedError.fromObject(event);
        if (event.type === 'done' && round > 0) localApiMs.push(clock.monotonic() - startMs);
      }
    }
    const bareNodeMs: number[] = [];
    const tinyStartMs: number[] = [];
    for (let round = 1 - START_WARM_UP; round <= START_ROUNDS; round += 1) {
      await rm(this.#output, { force: true });
      // In turn: what slows one of them down slows both.
      const bare = await this.#succeed([process.execPath, '-e', '0']);
      const tiny = await this.#succeed(this.#dfget(host, origin.url));
      if (round <= 0) continue;
      bareNodeMs.push(bare.seconds * 1000);
      tinyStartMs.push(tiny.seconds * 1000);
    }
    return { bareNodeMs, tinyStartMs, localApiMs };
  }

  async #sample(
    contender: Contender,
    { argv, round }: { argv: readonly string[]; round: Round },
  ): Promise<Sample> {
    await rm(this.#output, { force: true });
    // What was written before must not be written out during this.
    await runCommand(['sync'], this.#running());
    const pids = { ...this.#cluster.pids, origin: round.origin.program.pid };
    const { result, cpu } = await withCpuUse(pids, async () => {
      const ended = await this.#succeed(argv);
      await this.#quiet(pids);
      return ended;
    });
    if (contender !== 'write' && (await this.#digest()) !== round.digest) {
      throw new CodedError('ERR_DIGEST_MISMATCH', `${contender} wrote something else`);
    }
    return { contender, size: round.bytes, round: round.round, seconds: result.seconds, cpu };
  }

  async #succeed(argv: readonly string[]): Promise<CommandResult> {
    const result = await runCommand(argv, this.#running());
    if (result.exitCode === 0) return result;
    const message = `${argv.join(' ')} ended with ${result.exitCode}: ${result.stderr}${result.stdout}`;
    throw new CodedError('ERR_INTERNAL', `${message}\n${this.#cluster.lastLogs()}`);
  }

  /** What a download leaves to be done belongs to its costs: waits until the programs rest. */
  async #quiet(pids: Readonly<Record<string, number>>): Promise<void> {
    const endMs = clock.monotonic() + QUIET_WITHIN_MS;
    let isResting = false;
    while (!isResting && clock.monotonic() < endMs) {
      const { cpu } = await withCpuUse(pids, async () => clock.sleep(QUIET_MS));
      isResting = cpu.total <= 0.01;
    }
  }

  async #forgetAll(hosts: readonly ClusterHost[]): Promise<void> {
    for (const host of hosts) {
      for (const task of await host.tasks()) await host.forget(task);
    }
  }

  async #digest(): Promise<string> {
    const hash = createHash('sha256');
    await pipeline(createReadStream(this.#output, { highWaterMark: 1024 * 1024 }), hash);
    return `sha256:${hash.digest('hex')}`;
  }

  #write(bytes: number): string[] {
    const blocks = ['bs=1M', `count=${bytes}`, 'iflag=count_bytes', 'status=none'];
    return ['dd', 'if=/dev/zero', `of=${this.#written}`, ...blocks];
  }

  #curl(url: string): string[] {
    return [
      'curl',
      '--disable',
      '--noproxy',
      '*',
      '--silent',
      '--show-error',
      '--fail',
      '-o',
      this.#output,
      url,
    ];
  }

  #aria2c(url: string): string[] {
    const words = ['aria2c', '--no-conf', '--quiet', '--all-proxy=', '--allow-overwrite=true'];
    // Its default would write every file twice on filesystems without fallocate.
    words.push('--file-allocation=none', '--auto-file-renaming=false', '--min-split-size=1M');
    words.push(`--split=${ARIA_CONNECTIONS}`, `--max-connection-per-server=${ARIA_CONNECTIONS}`);
    return [...words, '--dir', this.#cluster.workplace.folder, '--out', 'output', url];
  }

  #dfget(host: ClusterHost, url: string): string[] {
    const dfget = this.#cluster.workplace.installation('dfget');
    return [...dfget, url, '-O', this.#output, '--socket', host.socket, '--no-progress'];
  }

  #running(): Parameters<typeof runCommand>[1] {
    const { guard, env } = this.#cluster.workplace;
    return { guard, env, signal: this.#signal };
  }
}
