/**
 * A program of somebody else that reads from the disk that a host downloads to: dd past the page cache, alone, beside a
 * host with adaptive control off, and beside one with it on.
 */
import { join } from 'node:path';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Cluster } from '../cluster/cluster.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { outputOf } from '../cluster/command.ts';
import type { CommandOptions } from '../cluster/command.ts';
import { askJson } from '../cluster/local-api.ts';
import { OriginProcess } from '../cluster/origin-process.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import type { AdaptiveCase } from './adaptive-case.ts';
import type { AdaptiveRun, AdaptiveRunning } from './adaptive.ts';

const clock = new SystemClock();
/** What is read, again and again. */
const FILE_MIB = 512;
const MIB = 1024 * 1024;
const SETTLE_MS = 3_000;
const LOOK_MS = 500;

/** Measures the disk that `diskParent` is on. */
export async function runAdaptiveDisk(
  about: AdaptiveCase,
  running: AdaptiveRunning,
): Promise<AdaptiveRun[]> {
  const { signal, onStep } = running;
  onStep('disk: the programs, and a file to read');
  const { diskParent: parent, diskRate } = about;
  await using cluster = await Cluster.start({
    hosts: 2,
    parent,
    daemonArgs: (number) => [
      '--origin-limit',
      `${diskRate}`,
      '--adaptive',
      number === 1 ? 'on' : 'off',
    ],
    signal,
  });
  const { guard, env } = cluster.workplace;
  const reader = new Reader(join(cluster.workplace.folder, 'read'), { guard, env, signal });
  await reader.prepare();
  const size = Math.ceil(diskRate * (about.seconds * 2 + SETTLE_MS / 1000));
  await using origin = await OriginProcess.start(cluster.workplace, { size }, { signal });
  onStep('disk: the reader alone');
  const alone = await reader.read(about.seconds);
  const runs: AdaptiveRun[] = [];
  for (const isAdaptive of [false, true]) {
    onStep(`disk: beside us, adaptive control ${isAdaptive ? 'on' : 'off'}`);
    const host = cluster.host(isAdaptive ? 1 : 2);
    runs.push({
      ...(await beside({ host, reader, origin, cluster }, about, running)),
      isAdaptive,
      alone,
    });
  }
  return runs;
}

async function beside(
  parts: {
    readonly host: ClusterHost;
    readonly reader: Reader;
    readonly origin: OriginProcess;
    readonly cluster: Cluster;
  },
  { seconds }: AdaptiveCase,
  running: AdaptiveRunning,
): Promise<Omit<AdaptiveRun, 'isAdaptive' | 'alone'>> {
  const { host, reader, origin, cluster } = parts;
  const controller = new AbortController();
  const taking = take(host, origin.url, controller.signal).catch((error: unknown) => {
    if (!controller.signal.aborted) throw error;
  });
  const reasons: string[] = [];
  const looks = clock.every(LOOK_MS, () => void note(host, reasons));
  try {
    const before = await rateOver(host, async () => clock.sleep(SETTLE_MS, running));
    const { result, cpu } = await withCpuUse(cluster.pids, async () => {
      let read = 0;
      const during = await rateOver(host, async () => {
        read = await reader.read(seconds);
      });
      return { read, during: during.rate };
    });
    const { read, during } = result;
    const rates = { beside: read, before: before.rate, during, backAfter: undefined };
    return { part: 'disk', ...rates, reasons, cpu: cpu.machine };
  } finally {
    looks.cancel();
    controller.abort();
    await taking;
    for (const task of await host.tasks()) await host.forget(task).catch(() => undefined);
  }
}

async function take(host: ClusterHost, url: string, signal: AbortSignal): Promise<void> {
  for await (const event of host.download({ url, pattern: 'source' }, { signal })) {
    if (event.type === 'failed') throw new CodedError('ERR_INTERNAL', event.message);
  }
}

async function rateOver(
  host: ClusterHost,
  work: () => Promise<void>,
): Promise<{ readonly rate: number }> {
  const first = (await host.status()).traffic.originReceivedBytes;
  const startMs = clock.monotonic();
  await work();
  const more = (await host.status()).traffic.originReceivedBytes - first;
  return { rate: (more * 1000) / (clock.monotonic() - startMs) };
}

async function note(host: ClusterHost, reasons: string[]): Promise<void> {
  const limits = (await askJson({ socketPath: host.socket }, '/v1/limits').catch(() => ({}))) as {
    readonly adaptive?: { readonly disk?: { readonly writing: number; readonly reason: string } };
  };
  const { disk } = limits.adaptive ?? {};
  const line = `${disk?.writing ?? 0}: ${disk?.reason ?? ''}`;
  if (line !== reasons.at(-1)) reasons.push(line);
}

/** dd, one pass over the file after the other. */
class Reader {
  readonly #file: string;
  readonly #running: CommandOptions;

  constructor(file: string, running: CommandOptions) {
    this.#file = file;
    this.#running = running;
  }

  async prepare(): Promise<void> {
    const words = ['if=/dev/urandom', `of=${this.#file}`, 'bs=1M', `count=${FILE_MIB}`];
    await outputOf(['dd', ...words, 'conv=fsync'], this.#running);
  }

  /** Bytes a second, of whole passes within about this time. */
  async read(seconds: number): Promise<number> {
    const startMs = clock.monotonic();
    let passes = 0;
    do {
      const words = [`if=${this.#file}`, 'of=/dev/null', 'bs=1M', 'iflag=direct'];
      await outputOf(['dd', ...words], this.#running);
      passes += 1;
    } while (clock.monotonic() - startMs < seconds * 1000);
    return (passes * FILE_MIB * MIB * 1000) / (clock.monotonic() - startMs);
  }
}
