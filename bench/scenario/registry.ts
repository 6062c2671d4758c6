/**
 * Hosts in a lab pull images with skopeo to a plain folder: from a registry, and through the mirror of their own
 * dfdaemon. One host alone and all at once, and the first byte of a big blob with curl. Registry and supernode have
 * hosts of their own at the same rate. Every pull through a mirror is of an image that nobody in the cell has.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError } from '../../core/base/error.ts';
import { pieceCount, pieceLengthFor } from '../../core/piece/piece-length.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { outputOf } from '../cluster/command.ts';
import { measureGoodput } from '../lab/goodput.ts';
import { Lab } from '../lab/lab.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import type { CpuUse } from '../measure/process-usage.ts';
import { faultsOfFolder } from '../registry/image-folder.ts';
import type { Image } from '../registry/image.ts';
import { LabRegistry } from '../registry/lab-registry.ts';
import { pullBySkopeo } from '../registry/skopeo.ts';
import { SUPERNODE, forgetAll, newLabName, placeOf, placesIn, untilQuiet } from './lab-cluster.ts';
import type { RegistryCase } from './registry-case.ts';

/** By which way images come. */
export type PullWay = 'direct' | 'mirror';

/** Some hosts pulling one image at once. */
export interface PullRun {
  readonly way: PullWay;
  /** Of whole skopeo processes from the common start, one for each host. */
  readonly seconds: readonly number[];
  /** Bytes of blobs that left the registry. */
  readonly registryBytes: number;
  /** Bytes that hosts sent to each other. */
  readonly peerBytes: number;
  readonly cpu: CpuUse;
}

/** What curl waited for the first byte of one blob, in seconds from its start. */
export interface FirstByte {
  readonly direct: number;
  readonly mirror: number;
  /** Of opening a connection to the registry. */
  readonly roundTrip: number;
  /** Share of all processors that was busy meanwhile, both transfers to their ends. */
  readonly machine: number;
}

/** Everything one run of the benchmark found. */
export interface RegistryResult {
  readonly registry: RegistryCase;
  /** Payload bytes per second of one TCP connection between two hosts. */
  readonly goodput: number;
  /** Bytes of the blobs of an image, and pieces that they make. */
  readonly imageBytes: number;
  readonly pieces: number;
  readonly runs: readonly PullRun[];
  readonly firstBytes: readonly FirstByte[];
}

/** How it is run. */
export interface RegistryRunning {
  readonly signal: AbortSignal;
  /** Told what is being done. */
  readonly onStep: (text: string) => void;
}

const REGISTRY = 'registry';
const PROXY_PORT = 65_001;
/** In each round. */
const FIRST_BYTES = 3;

/** Runs the benchmark; ERR_DIGEST_MISMATCH when a host has another image than was pushed. */
export async function runRegistry(
  registry: RegistryCase,
  running: RegistryRunning,
): Promise<RegistryResult> {
  const { hosts, rate, form, parent } = registry;
  const { signal, onStep } = running;
  onStep(`a lab of ${hosts} hosts`);
  const takers = Array.from({ length: hosts }, (_item, at) => ({ name: `${at + 1}` }));
  await using lab = await Lab.up({
    name: newLabName(),
    hosts: [...takers, { name: SUPERNODE }, { name: REGISTRY }],
    rate: { up: rate, down: rate },
    signal,
  });
  onStep(`${form === 'package' ? 'building, packing and ' : ''}starting the programs`);
  const insecure = lab.host(REGISTRY).address;
  const daemonArgs = (): string[] => ['--insecure-registry', insecure];
  const places = placesIn(lab);
  await using cluster = await Cluster.start({ hosts, form, parent, places, daemonArgs, signal });
  const { workplace } = cluster;
  const { guard, env } = workplace;
  const place = placeOf(lab, REGISTRY);
  await using server = await LabRegistry.start(workplace, place);
  onStep('one TCP stream');
  const goodput = await measureGoodput(lab, { from: '1', to: '2' }, { guard, env, signal });
  const bench = new RegistryBench({ registry, lab, cluster, server, running });
  const runs: PullRun[] = [];
  const firstBytes: FirstByte[] = [];
  for (let round = 0; round < registry.rounds; round += 1) {
    runs.push(...(await bench.pulls(cluster.hosts.slice(0, 1))));
    runs.push(...(await bench.pulls(cluster.hosts)));
    firstBytes.push(...(await bench.firstBytes()));
  }
  return { registry, goodput, ...bench.shape, runs, firstBytes };
}

interface BenchParts {
  readonly registry: RegistryCase;
  readonly lab: Lab;
  readonly cluster: Cluster;
  readonly server: LabRegistry;
  readonly running: RegistryRunning;
}

interface Published {
  readonly image: Image;
  readonly repository: string;
}

class RegistryBench {
  readonly #parts: BenchParts;
  /** Of the image last pulled; all are of one shape. */
  shape = { imageBytes: 0, pieces: 0 };

  constructor(parts: BenchParts) {
    this.#parts = parts;
  }

  /** One image: these hosts take it from the registry, then again through their mirrors, which lack it. */
  async pulls(hosts: readonly ClusterHost[]): Promise<PullRun[]> {
    const { registry, server } = this.#parts;
    const published = await server.publish(registry.size, registry.layers);
    const { blobBytes, layers } = published.image;
    const pieces = layers.map(({ size }) => pieceCount(size, pieceLengthFor(size)));
    this.shape = { imageBytes: blobBytes, pieces: pieces.reduce((sum, each) => sum + each, 0) };
    const direct = await this.#pull('direct', hosts, published);
    const mirror = await this.#pull('mirror', hosts, published);
    return [direct, mirror];
  }

  /** Cold blobs on the first host with curl: from the registry, then through the mirror. */
  async firstBytes(): Promise<FirstByte[]> {
    const { registry, cluster, server, running } = this.#parts;
    running.onStep('first bytes on 1 host');
    const found: FirstByte[] = [];
    for (let take = 0; take < FIRST_BYTES; take += 1) {
      const { image, repository } = await server.publish(registry.blob, 1);
      const path = `${repository}/blobs/${image.layers[0]?.digest}`;
      await untilQuiet(cluster);
      const mirror = `${cluster.host(1).address}:${PROXY_PORT}/v2/${server.name}`;
      const { result, cpu } = await withCpuUse({}, async () => ({
        direct: await this.#curl(`http://${server.name}/v2/${path}`),
        mirror: await this.#curl(`http://${mirror}/${path}`),
      }));
      found.push({
        direct: result.direct.firstByte,
        mirror: result.mirror.firstByte,
        roundTrip: result.direct.connected,
        machine: cpu.machine,
      });
      await forgetAll(cluster);
    }
    return found;
  }

  async #pull(
    way: PullWay,
    hosts: readonly ClusterHost[],
    { image, repository }: Published,
  ): Promise<PullRun> {
    const { cluster, server, lab, running } = this.#parts;
    const { workplace } = cluster;
    await untilQuiet(cluster);
    running.onStep(`${way} on ${hosts.length} host${hosts.length === 1 ? '' : 's'}`);
    const reference = server.reference(repository);
    const before = await this.#sent();
    const take = async ({ name, address, folder }: ClusterHost): Promise<number> =>
      pullBySkopeo(way === 'direct' ? reference : `${address}:${PROXY_PORT}/${reference}`, {
        workplace,
        folder,
        enter: lab.enter(name.replace('host-', '')),
        signal: running.signal,
      });
    const programs = { ...cluster.pids, registry: server.program.pid, harness: process.pid };
    const { result: seconds, cpu } = await withCpuUse(programs, async () =>
      Promise.all(hosts.map(take)),
    );
    // Answers are logged when they have ended, and what was taken is read again: neither is part of the pull.
    await untilQuiet(cluster);
    const after = await this.#sent();
    for (const { name, folder } of hosts) {
      const faults = await faultsOfFolder(folder, image);
      if (faults.length > 0) {
        throw new CodedError('ERR_DIGEST_MISMATCH', `${way} on ${name}: ${faults.join(', ')}`);
      }
      await rm(join(folder, 'image'), { recursive: true });
    }
    await forgetAll(cluster);
    const registryBytes = after.registry - before.registry;
    return { way, seconds, registryBytes, peerBytes: after.peers - before.peers, cpu };
  }

  async #sent(): Promise<{ registry: number; peers: number }> {
    const { cluster, server } = this.#parts;
    const statuses = await Promise.all(cluster.hosts.map(async (host) => host.status()));
    const peers = statuses.reduce((sum, { traffic }) => sum + traffic.linkSentBytes, 0);
    return { registry: await server.sentBytes(), peers };
  }

  /** Seconds until the first byte of a whole transfer, and until its connection was there. */
  async #curl(url: string): Promise<{ firstByte: number; connected: number }> {
    const { lab, cluster, running } = this.#parts;
    const { guard, env } = cluster.workplace;
    const words = ['curl', '--disable', '--noproxy', '*', '--silent', '--show-error', '--fail'];
    const format = '%{time_starttransfer} %{time_connect}';
    const argv = [...lab.enter('1'), ...words, '-o', '/dev/null', '--write-out', format, url];
    const text = await outputOf(argv, { guard, env, signal: running.signal });
    const [firstByte = Number.NaN, connected = Number.NaN] = text.split(' ').map(Number);
    return { firstByte, connected };
  }
}
