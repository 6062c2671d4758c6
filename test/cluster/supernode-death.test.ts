import test from 'ava';
import { eventually } from '../../bench/cluster/eventually.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const clock = new SystemClock();
const MIB = 1024 * 1024;
const HOSTS = 8;
const content = { seed: 7, length: 64 * MIB };

test.serial(
  'hosts whose supernode is killed at 40 % finish by themselves, and it learns from them who has what',
  async (t) => {
    await using origin = await startOrigin({
      bytesPerSecond: 10 * MIB,
      routes: { '/f': { content, validators: 'strong' } },
    });
    await withCluster(t, { hosts: HOSTS }, async (cluster) => {
      const url = origin.url('/f');
      const running = cluster.hosts.map(async (host) => host.dfget(url));
      await eventually('40 % from the origin', () =>
        origin.stats('/f').bodyBytes >= 0.4 * content.length ? true : undefined,
      );
      await cluster.supernode.kill('SIGKILL');

      const runs = await Promise.all(running);
      for (const run of runs) t.is(run.exitCode, 0, run.failed?.message ?? run.stderr);
      const expected = await contentDigest(content);
      for (const host of cluster.hosts) t.is(await fileDigest(host.output), expected);
      const { bodyBytes } = origin.stats('/f');
      t.log(`${(bodyBytes / content.length).toFixed(2)} copies left the origin`);
      t.true(bodyBytes < 1.5 * content.length);

      await cluster.supernode.start();
      const startedMs = clock.monotonic();
      const task = runs[0]?.done?.task ?? '';
      await eventually(
        'the supernode knowing what its hosts have',
        async () => {
          const versions = await cluster.versions(task);
          return versions.some(({ completeHosts }) => completeHosts === HOSTS) ? true : undefined;
        },
        { withinMs: 60_000 },
      );
      // Promised within 5 s; told and not asserted, for what a busy machine takes is no fault of ours.
      const seconds = (clock.monotonic() - startedMs) / 1000;
      t.log(`the supernode knew ${seconds.toFixed(1)} s after its start`);

      const [newcomer] = await cluster.addHosts(1);
      if (newcomer === undefined) return t.fail();
      const late = await newcomer.dfget(url);
      t.is(late.exitCode, 0, late.stderr);
      t.is(await fileDigest(newcomer.output), expected);
      const { fromOrigin, fromPeers = 0, fromSeed = 0 } = late.done ?? {};
      t.is(fromOrigin, 0);
      t.is(fromPeers + fromSeed, content.length);
      t.true(fromPeers > 0);
      t.log(`the newcomer took ${fromPeers} bytes from peers and ${fromSeed} from the seed`);
      t.true(origin.stats('/f').bodyBytes < 1.5 * content.length);
    });
  },
);
