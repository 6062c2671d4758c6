import { rm } from 'node:fs/promises';
import { CodedError } from '../../core/base/error.ts';
import { pieceLengthFor } from '../../core/piece/piece-length.ts';
import type { ClusterHost } from '../cluster/cluster-host.ts';
import { runCommand } from '../cluster/command.ts';
import { isInstalled } from '../lab/lab-tools.ts';
import { withCpuUse } from '../measure/process-usage.ts';
import { takeByBitTorrent } from './swarm-bittorrent.ts';
import type { Beside } from './swarm-case.ts';
import type { HostRun, SwarmParts, SwarmRun } from './swarm.ts';
import { fileDigest } from './swarm-output.ts';
import { PieceWatch } from './swarm-pieces.ts';

/** When each host had it all, in seconds since the start of all, by name. */
export interface Taken {
  readonly seconds: ReadonlyMap<string, number>;
  readonly originBytes: number | undefined;
}

const TOOLS = { curl: 'curl', bittorrent: 'aria2c' };

/** ERR_USAGE when a program that is to be compared with is not there. */
export function requireBesides(besides: readonly Beside[]): void {
  const missing = besides.map((beside) => TOOLS[beside]).filter((tool) => !isInstalled(tool));
  if (missing.length === 0) return;
  throw new CodedError('ERR_USAGE', `--beside needs ${missing.join(' and ')}`);
}

/** The same content to the same hosts, all at once, by something else; outputs are compared and removed. */
export async function runBeside(beside: Beside, parts: SwarmParts): Promise<SwarmRun> {
  const { hosts } = parts.cluster;
  await Promise.all(hosts.map(async ({ output }) => rm(output, { force: true })));
  const files = hosts.map(({ name, output }) => ({ name, path: async () => output }));
  const length = parts.swarm.size;
  const watch = new PieceWatch(files, { length, pieceLength: pieceLengthFor(length) });
  const take = beside === 'curl' ? takeByCurl : takeByBitTorrent;
  const { result: taken, cpu } = await withCpuUse({ harness: process.pid }, async () => {
    watch.start();
    try {
      return await take(parts);
    } finally {
      await watch.stop();
    }
  });
  for (const { name, output } of hosts) {
    if ((await fileDigest(output)) !== parts.digest) {
      throw new CodedError('ERR_DIGEST_MISMATCH', `${beside} wrote something else on ${name}`);
    }
    await rm(output);
  }
  const runs = hosts.map((host, at) => hostRun(parts, { host, at, taken, watch }));
  const { originBytes } = taken;
  const none = { killedAfter: undefined, wireBytes: undefined, crossed: undefined };
  const { spread } = watch;
  return { contender: beside, hosts: runs, spread, cpu, originBytes, ...none };
}

async function takeByCurl({ lab, cluster, origin, running }: SwarmParts): Promise<Taken> {
  const { guard, env } = cluster.workplace;
  const before = (await origin.stats()).bodyBytes;
  const words = ['curl', '--disable', '--noproxy', '*', '--silent', '--show-error', '--fail'];
  const ended = await Promise.all(
    cluster.hosts.map(async ({ name, output }, at) => {
      const argv = [...lab.enter(`${at + 1}`), ...words, '-o', output, origin.url];
      const result = await runCommand(argv, { guard, env, signal: running.signal });
      if (result.exitCode === 0) return [name, result.seconds] as const;
      throw new CodedError('ERR_INTERNAL', `curl on ${name}: ${result.stderr}`);
    }),
  );
  const originBytes = (await origin.stats()).bodyBytes - before;
  return { seconds: new Map(ended), originBytes };
}

function hostRun(
  { lab, swarm }: SwarmParts,
  of: {
    readonly host: ClusterHost;
    readonly at: number;
    readonly taken: Taken;
    readonly watch: PieceWatch;
  },
): HostRun {
  const { name } = of.host;
  const { idc, rate } = lab.host(`${of.at + 1}`);
  const seconds = of.taken.seconds.get(name);
  const end = seconds === undefined ? [] : [[seconds, swarm.size] as const];
  const sampled = of.watch.curve(name).filter(([at]) => seconds === undefined || at < seconds);
  const sources = { started: 0, fromPeers: 0, fromSeed: 0, duplicate: 0, fromOtherIdcs: 0 };
  const curve = [[0, 0] as const, ...sampled, ...end];
  return { name, idc, rate: rate.up, joined: 0, seconds, ...sources, curve };
}
