/**
 * One host takes content of several kinds from the seed over links of several rates, in a lab: with compression and,
 * in the same rounds, without. The child decides: a dfdaemon with `--compression off` does not say that it takes
 * compressed pieces, so the seed sends them raw. The seed reads from an origin that has no limit of rate.
 */
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import { askApi } from '../cluster/local-api.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { measureGoodput } from '../lab/goodput.ts';
import { Lab } from '../lab/lab.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import { makeContents } from './compression-content.ts';
import type { ContentFile, ContentKind } from './compression-content.ts';
import { SUPERNODE, forgetAll, newLabName, placeOf, placesIn, untilQuiet } from './lab-cluster.ts';
import { fileDigest } from './swarm-output.ts';

/** What is measured. */
export interface CompressionOptions {
  readonly kinds: readonly ContentKind[];
  /** Bits per second of the child's link; 0 is no limit. */
  readonly rates: readonly number[];
  /** Bytes of each content. */
  readonly size: number;
  readonly rounds: number;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

/** One download. */
export interface CompressionRun {
  readonly kind: ContentKind;
  readonly rate: number;
  readonly isCompressing: boolean;
  /** Of the download, as dfget says. */
  readonly seconds: number;
  /** Payload that came over the link. */
  readonly wireBytes: number;
  /** Raw bytes that the seed compressed, or tried, and the processor seconds it took. */
  readonly triedBytes: number;
  readonly compressSeconds: number;
  /** Processor seconds of seed, dfdaemon and dfget. */
  readonly cpuSeconds: number;
  /** Share of the machine that was busy, and what of it was none of these programs. */
  readonly machine: number;
  readonly others: number;
}

/** Everything that was found. */
export interface CompressionResult {
  readonly size: number;
  /** Payload bytes a second of one TCP stream, by rate. */
  readonly goodput: ReadonlyMap<number, number>;
  readonly runs: readonly CompressionRun[];
}

const ORIGIN = 'origin';
/** Numbers of the hosts: one that compresses, and one that does not. */
const AUTO = 1;
const OFF = 2;

/** Runs the benchmark; ERR_DIGEST_MISMATCH when something else came than was served. */
export async function runCompression(options: CompressionOptions): Promise<CompressionResult> {
  const { kinds, rates, size, signal, onStep } = options;
  onStep('a lab of two hosts');
  const all = [`${AUTO}`, `${OFF}`, SUPERNODE, ORIGIN].map((name) => ({ name }));
  await using lab = await Lab.up({ name: newLabName(), hosts: all, signal });
  const daemonArgs = (host: number): string[] => ['--compression', host === OFF ? 'off' : 'auto'];
  await using cluster = await Cluster.start({
    hosts: 2,
    places: placesIn(lab),
    supernodeArgs: ['--compression', 'auto'],
    daemonArgs,
    signal,
  });
  onStep('making contents');
  const { workplace } = cluster;
  const contents = await makeContents(kinds, size, { workplace, signal });
  const bench = new CompressionBench({ lab, cluster, options });
  const goodput = new Map<number, number>();
  const runs: CompressionRun[] = [];
  for (const rate of rates) {
    for (const host of [AUTO, OFF]) await lab.setRate(`${host}`, { up: 0, down: rate });
    const { guard, env } = workplace;
    goodput.set(
      rate,
      await measureGoodput(lab, { from: SUPERNODE, to: `${OFF}` }, { guard, env, signal }),
    );
    for (const content of contents) runs.push(...(await bench.measure(content, rate)));
  }
  return { size, goodput, runs };
}

class CompressionBench {
  readonly #lab: Lab;
  readonly #cluster: Cluster;
  readonly #options: CompressionOptions;
  #run = 0;

  constructor(parts: { lab: Lab; cluster: Cluster; options: CompressionOptions }) {
    this.#lab = parts.lab;
    this.#cluster = parts.cluster;
    this.#options = parts.options;
  }

  /** Both ways in turn, as often as is asked for. */
  async measure(content: ContentFile, rate: number): Promise<CompressionRun[]> {
    const { rounds, signal, onStep } = this.#options;
    const { workplace } = this.#cluster;
    const place = placeOf(this.#lab, ORIGIN);
    await using origin = await OriginProcess.start(
      workplace,
      { file: content.path },
      { place, signal },
    );
    const runs: CompressionRun[] = [];
    for (let round = 0; round < rounds; round += 1) {
      for (const isCompressing of round % 2 === 0 ? [false, true] : [true, false]) {
        const how = isCompressing ? 'auto' : 'off';
        onStep(`${content.kind}, ${rate / 1e6} Mbit/s, compression ${how}`);
        runs.push(await this.#download({ content, rate, isCompressing, url: origin.url }));
      }
    }
    return runs;
  }

  async #download(about: {
    readonly content: ContentFile;
    readonly rate: number;
    readonly isCompressing: boolean;
    readonly url: string;
  }): Promise<CompressionRun> {
    const { content, rate, isCompressing, url } = about;
    const { signal } = this.#options;
    const host = this.#cluster.host(isCompressing ? AUTO : OFF);
    await forgetAll(this.#cluster);
    await untilQuiet(this.#cluster);
    // The query makes each run a task of its own; the origin does not look at it.
    this.#run += 1;
    const before = await this.#counts(host);
    const { supernode } = this.#cluster;
    const pids = { supernode: supernode.pid, daemon: host.daemon.pid };
    const { result, cpu } = await withCpuUse(pids, async () =>
      host.dfget(`${url}?run=${this.#run}`, { signal }),
    );
    const after = await this.#counts(host);
    if (result.done === undefined) {
      const { message = result.stderr } = result.failed ?? {};
      throw new CodedError('ERR_INTERNAL', `${message}\n${this.#cluster.lastLogs()}`);
    }
    if ((await fileDigest(host.output)) !== content.digest) {
      throw new CodedError('ERR_DIGEST_MISMATCH', `${host.name} wrote something else`);
    }
    return {
      kind: content.kind,
      rate,
      isCompressing,
      seconds: result.done.seconds,
      wireBytes: after.wireBytes - before.wireBytes,
      triedBytes: after.triedBytes - before.triedBytes,
      compressSeconds: after.compressSeconds - before.compressSeconds,
      cpuSeconds: cpu.total,
      machine: cpu.machine,
      others: cpu.others,
    };
  }

  async #counts(
    host: ClusterHost,
  ): Promise<Pick<CompressionRun, 'wireBytes' | 'triedBytes' | 'compressSeconds'>> {
    const { hostname, port } = new URL(this.#cluster.apiUrl);
    const { text } = await askApi({ host: hostname, port }, '/metrics');
    const valueOf = (name: string): number =>
      Number(new RegExp(`^odonata_supernode_${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
    return {
      wireBytes: (await host.status()).traffic.linkReceivedBytes,
      triedBytes: valueOf('compression_tried_bytes_total'),
      compressSeconds: valueOf('compression_seconds_total'),
    };
  }
}
