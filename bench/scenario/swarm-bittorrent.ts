import { rm, writeFile } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Command } from '../cluster/command.ts';
import { eventually } from '../cluster/eventually.ts';
import { contentChunks } from '../origin/content.ts';
import { pieceLengthFor } from '../../core/piece/piece-length.ts';
import type { Taken } from './swarm-beside.ts';
import { Tracker, makeTorrent } from './swarm-torrent.ts';
import type { SwarmParts } from './swarm.ts';

const NAME = 'output';
const SEED = 1;
const LISTEN_PORT = 6881;
/** Nobody leaves before all have it: every upload counts, as with ours. */
const SEED_MINUTES = 10_000;
const WITHIN_MS = 3_600_000;
const START_WITHIN_MS = 30_000;
const clock = new SystemClock();

/** All hosts at once with aria2c as BitTorrent client, from one seed on the host of the origin, with our own tracker. */
export async function takeByBitTorrent(parts: SwarmParts): Promise<Taken> {
  const { swarm, lab, cluster, running } = parts;
  await using tracker = await Tracker.start(lab.harnessAddress);
  const content = { seed: SEED, length: swarm.size };
  const folder = await cluster.workplace.subfolder('bittorrent');
  const source = join(folder, NAME);
  const torrent = join(folder, 'content.torrent');
  const shape = { name: NAME, length: swarm.size, pieceLength: pieceLengthFor(swarm.size) };
  await writeFile(torrent, await makeTorrent(content, { ...shape, announce: tracker.announceUrl }));
  await pipeline(contentChunks(content, 0, swarm.size), createWriteStream(source));
  const clients: Command[] = [];
  const { guard, env } = cluster.workplace;
  const start = async (host: string, output: string): Promise<void> => {
    const argv = [...lab.enter(host), ...aria2c(torrent, output)];
    clients.push(await Command.start(argv, { guard, env, signal: running.signal }));
  };
  try {
    await start('origin', source);
    const seed = lab.host('origin').address;
    const isSeeding = (): true | undefined => tracker.known.has(seed) || undefined;
    await eventually('the first seed', isSeeding, {
      withinMs: START_WITHIN_MS,
      signal: running.signal,
    });
    const startMs = clock.monotonic();
    await Promise.all(cluster.hosts.map(async ({ output }, at) => start(`${at + 1}`, output)));
    const addresses = cluster.hosts.map(({ address }) => address);
    await eventually(
      'BitTorrent on all hosts',
      () => addresses.every((address) => tracker.completed.has(address)) || undefined,
      { withinMs: WITHIN_MS, everyMs: 100, signal: running.signal },
    );
    const seconds = cluster.hosts.map(({ name, address }) => {
      const ms = tracker.completed.get(address) ?? Number.NaN;
      return [name, (ms - startMs) / 1000] as const;
    });
    return { seconds: new Map(seconds), originBytes: undefined };
  } finally {
    for (const client of clients) client.kill('SIGKILL');
    await Promise.all(clients.map(async (client) => client.result));
    await rm(folder, { recursive: true });
  }
}

function aria2c(torrent: string, output: string): string[] {
  if (basename(output) !== NAME) throw new CodedError('ERR_INTERNAL', `${output} is not ${NAME}`);
  const words = ['aria2c', '--no-conf', '--quiet', `--dir=${dirname(output)}`];
  // What is on the disk of the seed is checked, what comes in is written at once: both so that outputs can be looked at.
  words.push('--check-integrity=true', '--file-allocation=none', '--disk-cache=0');
  words.push(`--seed-time=${SEED_MINUTES}`, '--seed-ratio=0', `--listen-port=${LISTEN_PORT}`);
  words.push('--enable-dht=false', '--bt-enable-lpd=false', '--enable-peer-exchange=true');
  words.push('--bt-max-peers=0', '--bt-request-peer-speed-limit=0', '--all-proxy=');
  return [...words, torrent];
}
