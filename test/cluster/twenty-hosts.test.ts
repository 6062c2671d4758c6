import test from 'ava';
import { processMemory } from '../../bench/measure/process-usage.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
const HOSTS = 20;

test.serial(
  'twenty hosts get 64 MiB at once, the origin sends it once, and each stays small',
  async (t) => {
    const content = { seed: 5, length: 64 * MIB };
    await using origin = await startOrigin({ routes: { '/f': { content } } });
    await withCluster(t, { hosts: HOSTS }, async (cluster) => {
      const idle = await Promise.all(
        cluster.hosts.map(async ({ daemon }) => processMemory(daemon.pid)),
      );
      const runs = await Promise.all(
        cluster.hosts.map(async (host) => host.dfget(origin.url('/f'))),
      );
      const busy = await Promise.all(
        cluster.hosts.map(async ({ daemon }) => processMemory(daemon.pid)),
      );

      for (const run of runs) t.is(run.exitCode, 0, run.failed?.message ?? run.stderr);
      const expected = await contentDigest(content);
      for (const host of cluster.hosts) t.is(await fileDigest(host.output), expected);
      const { bodyBytes, heads, requests, rangeRequests } = origin.stats('/f');
      t.log({ bodyBytes, heads, requests, rangeRequests });
      t.is(bodyBytes, content.length);
      t.true(heads <= 1, `${heads} probes`);
      const fromOrigin = runs.reduce((sum, run) => sum + (run.done?.fromOrigin ?? 0), 0);
      const fromPeers = runs.reduce((sum, run) => sum + (run.done?.fromPeers ?? 0), 0);
      t.is(fromOrigin, 0);
      t.log(`${(fromPeers / MIB).toFixed(0)} MiB of ${HOSTS * 64} came from peers`);

      const most = (
        of: (memory: Memory) => number,
        among: readonly (Memory | undefined)[],
      ): number =>
        Math.max(...among.map((memory) => (memory === undefined ? 0 : of(memory)))) / MIB;
      const figures = {
        idleRssAnon: most(({ rssAnon }) => rssAnon, idle),
        idlePss: most(({ pss }) => pss, idle),
        peakRss: most(({ peakRss }) => peakRss, busy),
      };
      t.log('MiB, the largest of twenty', figures);
      t.true(figures.idleRssAnon < 100);
      t.true(figures.idlePss < 110);
      t.true(figures.peakRss < 220);
    });
  },
);

type Memory = NonNullable<Awaited<ReturnType<typeof processMemory>>>;
