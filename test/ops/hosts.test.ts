import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { dfopsLines, operatorKey } from '../support/dfops.ts';
import { withCluster } from '../support/with-cluster.ts';

const HOSTS = 3;

interface Line {
  readonly type?: string;
  readonly peer: string;
  readonly isConnected: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly facts: Readonly<Record<string, unknown>>;
}

async function dfops(cluster: Cluster, ...words: readonly string[]): Promise<readonly Line[]> {
  return (await dfopsLines(cluster, words)) as Line[];
}

/** The hosts on which a call ended well. */
async function called(cluster: Cluster, on: string): Promise<string[]> {
  const lines = await dfops(cluster, 'call', 'uptime', '--on', on, '--wait');
  return peersOf(lines.filter(({ type }) => type === 'result'));
}

function peersOf(lines: readonly Line[]): string[] {
  return lines.map(({ peer }) => peer).toSorted();
}

test.serial(
  'hosts are known by facts and labels, also after the supernode was killed, and retired for good',
  async (t) => {
    await using files = await Workplace.open();
    const keys = join(files.folder, 'keys');
    await writeFile(keys, `${operatorKey}\n`, { mode: 0o600 });
    const options = { hosts: HOSTS, supernodeArgs: ['--api-key-file', keys] };
    await withCluster(t, options, async (cluster) => {
      const status = async (number: number) => cluster.hosts[number]?.status();
      const peers = await Promise.all([0, 1, 2].map(async (at) => (await status(at))?.peer ?? ''));
      const [first = '', ...others] = peers;
      const listed = await dfops(cluster, 'hosts', 'list');
      t.deepEqual(peersOf(listed), peers.toSorted());
      for (const { isConnected, facts } of listed) {
        t.true(isConnected);
        t.like(facts, { os: process.platform, arch: process.arch, node: process.version });
      }

      await dfops(cluster, 'hosts', 'label', '--on', `fact=arch:${process.arch}`, 'group=web');
      await dfops(cluster, 'hosts', 'label', '--on', `host=${first}`, 'env=prod');
      t.deepEqual(await called(cluster, 'label=group:web,-label=env:prod'), others.toSorted());

      await cluster.supernode.kill('SIGKILL');
      await cluster.supernode.start();
      const back = async (): Promise<true | undefined> => {
        const known = await dfops(cluster, 'hosts', 'list');
        return known.every(({ isConnected }) => isConnected) ? true : undefined;
      };
      await eventually('all hosts back', back, { withinMs: 120_000, everyMs: 200 });
      t.deepEqual(await called(cluster, 'label=env:prod'), [first]);

      await dfops(cluster, 'hosts', 'retire', first);
      t.deepEqual(await called(cluster, 'all'), others.toSorted());
      t.deepEqual(peersOf(await dfops(cluster, 'hosts', 'list')), others.toSorted());
      const [retired] = await dfops(cluster, 'hosts', 'list', '--retired');
      t.like(retired, { peer: first, state: 'retired', labels: { group: 'web', env: 'prod' } });
      const [host] = cluster.hosts;
      await host?.daemon.kill('SIGKILL');
      await host?.daemon.start();
      const said = await eventually(
        'the reason',
        async () => {
          const { state, reason } = (await status(0))?.supernode ?? {};
          return state !== 'connected' && reason !== undefined ? reason : undefined;
        },
        { withinMs: 120_000 },
      );
      t.regex(said, /this host is revoked/);
      t.like((await dfops(cluster, 'hosts', 'show', first))[0], { isConnected: false });
    });
  },
);
