import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { dfopsLines, operatorKey } from '../support/dfops.ts';
import { withCluster } from '../support/with-cluster.ts';

const HOSTS = 4;

interface Line {
  readonly type: string;
  readonly peer: string;
  readonly matches?: string;
  readonly reason?: string;
  readonly values: Readonly<Record<string, unknown>>;
  readonly counts: Readonly<Record<string, number>>;
}

async function dfops(cluster: Cluster, ...words: readonly string[]): Promise<readonly Line[]> {
  return (await dfopsLines(cluster, words)) as Line[];
}

function peersOf(lines: readonly Line[], type: string): string[] {
  return lines.flatMap((line) => (line.type === type ? [line.peer] : [])).toSorted();
}

test.serial(
  'hosts say how they are now; one that stands still or is away is silent, and a retired one is not asked',
  async (t) => {
    await using files = await Workplace.open();
    const keys = join(files.folder, 'keys');
    await writeFile(keys, `${operatorKey}\n`, { mode: 0o600 });
    const options = { hosts: HOSTS, supernodeArgs: ['--api-key-file', keys] };
    await withCluster(t, options, async (cluster) => {
      const peers = await Promise.all(
        cluster.hosts.map(async (host) => (await host.status()).peer),
      );
      const [still = '', away = '', retired = ''] = peers;
      const where = `arch = ${process.arch} and memoryAvailableBytes > 1MiB and tasks = 0`;
      const all = await dfops(cluster, 'query', where, '--columns', 'all', '--timeout', '10s');
      t.deepEqual(peersOf(all, 'host'), peers.toSorted());
      for (const { type, matches, values } of all) {
        if (type !== 'host') continue;
        t.is(matches, 'yes');
        t.like(values, { node: process.version, calls: 0, downloads: 0 });
        t.is(typeof values['storeUsedPercent'], 'number');
      }

      const [stillDaemon, awayDaemon] = cluster.hosts.map(({ daemon }) => daemon);
      await dfops(cluster, 'hosts', 'retire', retired);
      await awayDaemon?.kill('SIGKILL');
      const { pid } = stillDaemon ?? {};
      if (pid === undefined) throw new Error('no first host');
      process.kill(pid, 'SIGSTOP');
      try {
        const lines = await dfops(cluster, 'query', where, '--timeout', '1s');
        const left = peers.filter((peer) => ![still, away, retired].includes(peer));
        t.deepEqual(peersOf(lines, 'host'), left);
        t.deepEqual(peersOf(lines, 'silent'), [still, away].toSorted());
        const counts = { hosts: 3, answered: 1, silent: 2, refused: 0 };
        t.like(lines.at(-1), {
          type: 'ended',
          counts: { ...counts, matched: 1, unmatched: 0, unknown: 0 },
        });
        const reason = (peer: string) => lines.find((line) => line.peer === peer)?.reason;
        t.is(reason(still), 'no answer within 1000 ms');
        t.regex(String(reason(away)), /not connected|connection ended/);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      const again = async (): Promise<true | undefined> => {
        const lines = await dfops(cluster, 'query', 'tasks = 0', '--on', `host=${still}`);
        return lines.at(-1)?.counts['answered'] === 1 ? true : undefined;
      };
      t.true(await eventually('an answer again', again, { withinMs: 120_000, everyMs: 200 }));
    });
  },
);
