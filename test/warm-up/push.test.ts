import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tmpdir } from 'node:os';
import test from 'ava';
import { askApi, askJson } from '../../bench/cluster/local-api.ts';
import { withCluster } from '../support/with-cluster.ts';
import { TestRegistry, user } from './test-registry.ts';
import { endedWarmUp } from './warm-up-client.ts';

const KIB = 1024;

test.serial(
  'a push brings the image to the hosts, and the pull that follows takes manifests only',
  async (t) => {
    await using registry = await TestRegistry.start('basic');
    const image = registry.add('lab/app', 'v1', { 'linux/amd64': [900 * KIB, 300 * KIB] });
    const folder = await mkdtemp(join(tmpdir(), 'push-'));
    t.teardown(async () => rm(folder, { recursive: true }));
    const keys = join(folder, 'keys');
    await writeFile(keys, 'the-key-of-the-registry\n', { mode: 0o600 });
    const login = join(folder, 'login');
    await writeFile(login, `${user.username}:${user.password}\n`, { mode: 0o600 });
    const push = ['--push-to', 'all', '--push-key-file', keys, '--push-credentials', `@${login}`];
    await withCluster(t, { hosts: 2, supernodeArgs: push }, async (cluster) => {
      const { hostname: host, port } = new URL(cluster.apiUrl);
      const url = `${registry.url}/v2/lab/app/manifests/${image.digest}`;
      const mediaType = 'application/vnd.oci.image.manifest.v1+json';
      const target = { mediaType, digest: image.digest, repository: 'lab/app', url, tag: 'v1' };
      const told = await askApi({ host, port: Number(port) }, '/api/v1/hooks/registry', {
        method: 'POST',
        headers: { authorization: 'Bearer the-key-of-the-registry' },
        body: { events: [{ id: '1', action: 'push', target }] },
      });
      t.is(told.status, 200, told.text);
      const [id = ''] = (JSON.parse(told.text) as { warmUps: string[] }).warmUps;
      const job = await endedWarmUp(cluster, id);
      t.like(job, { state: 'done', source: 'push', tasks: 3, hosts: { total: 2, done: 2 } });
      const sent = registry.sentBytes;
      const basic = `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`;
      const place = `?ns=${new URL(registry.url).host}`;
      for (const each of cluster.hosts) {
        const mirror = `http://${each.address}:${await proxyPort(each.socket)}/v2/lab/app`;
        const headers = { authorization: basic };
        const manifest = await fetch(`${mirror}/manifests/v1${place}`, { headers });
        t.is(manifest.status, 200);
        t.is(await digestOf(manifest), image.digest);
        for (const { digest } of [...image.configs, ...image.layers]) {
          const blob = await fetch(`${mirror}/blobs/${digest}${place}`, { headers });
          t.is(blob.status, 200);
          t.is(await digestOf(blob), digest);
        }
        const stranger = await fetch(`${mirror}/blobs/${image.layers[0]?.digest}${place}`);
        t.is(stranger.status, 401, 'what was brought is for those who may have it');
      }
      t.is(registry.sentBytes, sent);
      t.false(cluster.lastLogs().includes(user.password));
    });
  },
);

async function proxyPort(socketPath: string): Promise<number> {
  return ((await askJson({ socketPath }, '/v1/status')) as { proxyPort: number }).proxyPort;
}

async function digestOf(response: Response): Promise<string> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
