import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';
import { beginWarmUp, endedWarmUp } from './warm-up-client.ts';

const MIB = 1024 * 1024;

test.serial(
  'a URL is brought to all hosts before anybody asks, and whoever asks then takes nothing from the origin',
  async (t) => {
    const content = { seed: 3, length: 20 * MIB + 1 };
    await using origin = await startOrigin({ routes: { '/f': { content, validators: 'strong' } } });
    await withCluster(t, { hosts: 3 }, async (cluster) => {
      const url = origin.url('/f');
      const begun = await beginWarmUp(cluster, { url, to: 'all' });
      t.is(begun.urls?.[0], url);
      const job = await endedWarmUp(cluster, begun.id);
      t.like(job, { state: 'done', tasks: 1, hosts: { total: 3, done: 3, failed: 0 } });
      t.is(job.bytes.received, 3 * content.length);
      t.is(origin.stats('/f').bodyBytes, content.length, 'one copy left the origin');
      for (const result of job.results.items) {
        t.like(result, { state: 'done', done: 1, failed: 0, failures: [] });
        t.is(result.bytes.fromOrigin, 0);
      }
      for (const host of cluster.hosts) {
        const { exitCode, stderr, done } = await host.dfget(url);
        t.is(exitCode, 0, stderr);
        t.like(done, { fromCache: content.length, fromPeers: 0, fromSeed: 0, fromOrigin: 0 });
        t.is(await fileDigest(host.output), await contentDigest(content));
      }
      t.is(origin.stats('/f').bodyBytes, content.length);

      const again = await endedWarmUp(cluster, (await beginWarmUp(cluster, { url, to: 'all' })).id);
      t.like(again, { state: 'done', bytes: { fromCache: 3 * content.length } });
      t.is(origin.stats('/f').bodyBytes, content.length, 'a host that has it answers at once');
    });
  },
);
