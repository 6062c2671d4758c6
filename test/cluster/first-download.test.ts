import { readFile } from 'node:fs/promises';
import test from 'ava';
import { contentDigest, seededBytes } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;

test.serial(
  'dfget, dfdaemon and supernode bring a file from its origin, once, and tell where it came from',
  async (t) => {
    const content = { seed: 3, length: 20 * MIB + 1 };
    await using origin = await startOrigin({ routes: { '/f': { content } } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const first = await host.dfget(origin.url('/f'));
      t.is(first.exitCode, 0, first.stderr);
      t.is(await fileDigest(host.output), await contentDigest(content));
      const { seconds = 0 } = first.done ?? {};
      t.true(seconds > 0 && seconds < 600, `${seconds} s`);
      t.like(first.done, { length: content.length, fromCache: 0, fromOrigin: 0 });
      t.is((first.done?.fromPeers ?? 0) + (first.done?.fromSeed ?? 0), content.length);
      t.is(origin.stats('/f').bodyBytes, content.length);

      const again = await host.dfget(origin.url('/f'));
      t.is(again.exitCode, 0, again.stderr);
      t.like(again.done, { fromCache: content.length, fromPeers: 0, fromSeed: 0, fromOrigin: 0 });
      t.is(origin.stats('/f').bodyBytes, content.length);
      t.is(await fileDigest(host.output), await contentDigest(content));
    });
  },
);

test.serial(
  'dfget, dfdaemon and supernode pass on content small enough to travel inside a reply',
  async (t) => {
    const sizes = [0, 1, 128 * 1024];
    const routes = Object.fromEntries(
      sizes.map((length) => [`/${length}`, { content: { seed: 4, length } }]),
    );
    await using origin = await startOrigin({ routes });
    await withCluster(t, { hosts: 2 }, async (cluster) => {
      for (const length of sizes) {
        for (const host of cluster.hosts) {
          const { exitCode, stderr } = await host.dfget(origin.url(`/${length}`));
          t.is(exitCode, 0, stderr);
          t.true((await readFile(host.output)).equals(seededBytes(4, 0, length)));
        }
        t.is(origin.stats(`/${length}`).bodyBytes, length);
      }
    });
  },
);

test.serial(
  'dfget tells a refusal of the origin by its exit code, and writes nothing',
  async (t) => {
    await using origin = await startOrigin();
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const { exitCode, failed } = await host.dfget(origin.url('/nothing'));
      t.is(exitCode, 2);
      t.is(failed?.code, 'ERR_ORIGIN_REFUSED');
      await t.throwsAsync(readFile(host.output), { code: 'ENOENT' });
    });
  },
);
