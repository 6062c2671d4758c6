import { readFile } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { eventually } from '../../bench/cluster/eventually.ts';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { withCluster } from '../support/with-cluster.ts';
import { TestRegistry, user } from './test-registry.ts';
import type { TestImage } from './test-registry.ts';
import { beginWarmUp, cancelWarmUp, endedWarmUp, warmUp } from './warm-up-client.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

function sizeOf({ configs, layers }: TestImage): number {
  return [...configs, ...layers].reduce((sum, { size }) => sum + size, 0);
}

/** Pulls every blob of an image on every host, as an engine does through the mirror of its host. */
async function pull(
  t: ExecutionContext,
  cluster: Cluster,
  { url, image }: { url: string; image: TestImage },
): Promise<void> {
  for (const host of cluster.hosts) {
    for (const { digest } of [...image.configs, ...image.layers]) {
      const { exitCode, stderr } = await host.dfget(`${url}/v2/lab/app/blobs/${digest}`, {
        args: ['--digest', digest],
      });
      t.is(exitCode, 0, stderr);
    }
  }
}

test.serial(
  'an image is brought to all hosts, all platforms of it, and a pull takes no byte from the registry',
  async (t) => {
    await using registry = await TestRegistry.start();
    const image = registry.add('lab/app', 'v1', {
      'linux/amd64': [3 * MIB, 500 * KIB, 10],
      'linux/arm64': [2 * MIB],
    });
    await withCluster(t, { hosts: 2 }, async (cluster) => {
      const { id } = await beginWarmUp(cluster, { image: image.reference, to: 'all' });
      const job = await endedWarmUp(cluster, id);
      t.like(job, { state: 'done', tasks: 6, hosts: { total: 2, done: 2, failed: 0 } });
      t.is(job.bytes.received, 2 * sizeOf(image));
      t.is(registry.sentBytes, sizeOf(image), 'one copy of each blob');
      await pull(t, cluster, { url: registry.url, image });
      t.is(registry.sentBytes, sizeOf(image), 'the pull took nothing from the registry');
    });
  },
);

test.serial(
  'credentials get tokens, also when the first one expires; without them the refusal is the answer',
  async (t) => {
    await using registry = await TestRegistry.start('token');
    const image = registry.add('lab/app', 'v1', {
      'linux/amd64': [1 * MIB, 300 * KIB],
      'linux/arm64': [2 * MIB],
    });
    const [amd64, arm64] = [MIB + 300 * KIB, 2 * MIB];
    await withCluster(t, { hosts: 2 }, async (cluster) => {
      const wish = { image: image.reference, platforms: ['linux/amd64'], to: 'seeds' };
      const refused = await endedWarmUp(cluster, (await beginWarmUp(cluster, wish)).id);
      t.like(refused, { state: 'failed', error: { code: 'ERR_ORIGIN_REFUSED' } });
      t.is(registry.sentBytes, 0);

      registry.onManifest = () => undefined;
      const { id } = await beginWarmUp(cluster, { ...wish, credentials: user });
      const seeded = await endedWarmUp(cluster, id);
      t.like(seeded, { state: 'done', tasks: 3, hosts: { total: 1, done: 1 } });
      t.is(seeded.results.items[0]?.role, 'supernode');
      t.true(registry.sentBytes >= amd64 && registry.sentBytes < arm64, 'one platform');

      let manifests = 0;
      registry.onManifest = () => {
        manifests += 1;
        // The index, then the manifest of the platform: from now on the token is worth nothing.
        if (manifests === 2) registry.expireTokens();
      };
      const tokens = registry.tokens;
      const second = { ...wish, to: 'all', platforms: ['linux/arm64'], credentials: user };
      const renewed = await endedWarmUp(cluster, (await beginWarmUp(cluster, second)).id);
      t.like(renewed, { state: 'done', hosts: { total: 2, done: 2, failed: 0 } });
      t.is(registry.tokens, tokens + 2, 'a token was asked for again, once for all hosts');
      t.false(cluster.lastLogs().includes(user.password));
    });
  },
);

test.serial(
  'a layer that fails is tried again; one that is missing is told of for each host, and the others are there',
  async (t) => {
    await using registry = await TestRegistry.start();
    const image = registry.add('lab/app', 'v1', { 'linux/amd64': [MIB, 700 * KIB, 600 * KIB] });
    const [slow, missing] = image.layers;
    if (slow === undefined || missing === undefined) return t.fail();
    // As often as the seed asks before it gives up.
    registry.refusals.set(slow.digest, [503, 503, 503, 503, 503]);
    registry.refusals.set(
      missing.digest,
      Array.from({ length: 20 }, () => 404),
    );
    await withCluster(t, { hosts: 2 }, async (cluster) => {
      const { id } = await beginWarmUp(cluster, { image: image.reference, to: 'count=2' });
      await eventually('the first failure told of', async () => {
        const { results } = await warmUp(cluster, id);
        const failures = results.items.flatMap((result) => result.failures);
        return failures.some(({ retried }) => retried) ? true : undefined;
      });
      const job = await endedWarmUp(cluster, id);
      t.like(job, { state: 'failed', tasks: 4, hosts: { total: 2, done: 0, failed: 2 } });
      const task = job.contents.findIndex(({ digest }) => digest === missing.digest);
      for (const { done, failed, failures } of job.results.items) {
        t.deepEqual([done, failed], [3, 1]);
        t.like(failures, [{ task, code: 'ERR_ORIGIN_REFUSED', retried: false }]);
      }
      t.like(job.contents[task], { digest: missing.digest, done: 0, failed: 2 });
      registry.refusals.clear();
      const again = { image: image.reference, to: 'all' };
      const repaired = await endedWarmUp(cluster, (await beginWarmUp(cluster, again)).id);
      t.like(repaired, { state: 'done', hosts: { done: 2 } });
    });
  },
);

test.serial('a warm-up that is cancelled stops on every host', async (t) => {
  await using registry = await TestRegistry.start();
  const image = registry.add('lab/app', 'v1', { 'linux/amd64': [MIB, 300 * KIB] });
  const gate = Promise.withResolvers<void>();
  registry.gates.set(image.layers[0]?.digest ?? '', gate.promise);
  await withCluster(t, { hosts: 2 }, async (cluster) => {
    const { id } = await beginWarmUp(cluster, { image: image.reference, to: 'all' });
    await eventually('the other layer there', async () => {
      const { contents } = await warmUp(cluster, id);
      return contents.filter(({ done }) => done === 2).length === 2 ? true : undefined;
    });
    t.is(await cancelWarmUp(cluster, id), 204);
    const job = await endedWarmUp(cluster, id);
    t.like(job, { state: 'cancelled', hosts: { total: 2, done: 0, failed: 2 } });
    for (const { done, failures } of job.results.items) {
      t.is(done, 2, 'the config and the other layer');
      t.like(failures, [{ code: 'ERR_INTERRUPTED' }]);
    }
    gate.resolve();
    for (const host of cluster.hosts) {
      await eventually('no download running', async () =>
        (await host.status()).downloads.active === 0 ? true : undefined,
      );
    }
    t.is(await cancelWarmUp(cluster, id), 204, 'one that is over stays as it is');
    t.is(await cancelWarmUp(cluster, '1'), 404);
  });
});

test.serial(
  'a supernode that is killed takes its warm-ups up again, and says which it cannot',
  async (t) => {
    await using registry = await TestRegistry.start();
    await using guarded = await TestRegistry.start('token');
    const image = registry.add('lab/app', 'v1', { 'linux/amd64': [2 * MIB, 300 * KIB] });
    const secret = guarded.add('lab/secret', 'v1', { 'linux/amd64': [1 * MIB] });
    const gate = Promise.withResolvers<void>();
    registry.gates.set(image.layers[0]?.digest ?? '', gate.promise);
    guarded.gates.set(secret.layers[0]?.digest ?? '', gate.promise);
    await withCluster(t, { hosts: 2 }, async (cluster) => {
      const open = await beginWarmUp(cluster, { image: image.reference, to: 'all' });
      const priv = { image: secret.reference, credentials: user, to: 'all' };
      const lost = await beginWarmUp(cluster, priv);
      for (const { id } of [open, lost]) {
        await eventually('a part of it there', async () => {
          const { contents } = await warmUp(cluster, id);
          return contents.some(({ done }) => done === 2) ? true : undefined;
        });
      }
      await cluster.supernode.kill('SIGKILL');
      await cluster.supernode.start();
      const interrupted = await warmUp(cluster, lost.id);
      t.like(interrupted, { state: 'interrupted', error: { code: 'ERR_INTERRUPTED' } });
      t.is(interrupted.hosts.total, 2);
      gate.resolve();
      const job = await endedWarmUp(cluster, open.id);
      t.like(job, { state: 'done', hosts: { total: 2, done: 2, failed: 0 } });
      await cluster.supernode.kill('SIGTERM');
      await cluster.supernode.start();
      t.like(await warmUp(cluster, open.id), { state: 'done', hosts: { done: 2 } });
    });
  },
);

test.serial('a hundred tags at a time are brought by a supernode of ordinary size', async (t) => {
  await using registry = await TestRegistry.start();
  const images = Array.from({ length: 100 }, (_unused, at) =>
    registry.add('lab/app', `v${at}`, { 'linux/amd64': [200 * KIB, 150 * KIB] }),
  );
  await withCluster(t, { hosts: 2 }, async (cluster) => {
    const begun = await Promise.all(
      images.map(async ({ reference }) => beginWarmUp(cluster, { image: reference, to: 'all' })),
    );
    t.is(new Set(begun.map(({ id }) => id)).size, 100);
    for (const { id } of begun) {
      t.like(await endedWarmUp(cluster, id, 180_000), { state: 'done', hosts: { done: 2 } });
    }
    t.is(
      registry.sentBytes,
      images.map(sizeOf).reduce((sum, size) => sum + size, 0),
    );
    const status = await readFile(`/proc/${cluster.supernode.pid}/status`, 'utf8');
    t.log(/VmHWM:.*/.exec(status)?.[0]);
  });
});
