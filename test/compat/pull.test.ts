// Images pulled by real engines through the mirrors of four hosts: all bytes right, each once from the registry.
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ctr, docker, faultsOfFolder, podman, skopeo, succeeded } from './clients.ts';
import { EngineProcess } from './engines.ts';
import type { Image } from '../../bench/registry/image.ts';
import { labOf } from './mirror-lab.ts';
import type { MirrorLab } from './mirror-lab.ts';

const MIB = 1024 * 1024;
const hosts = [1, 2, 3, 4] as const;
const small = [
  { kind: 'random', bytes: 12 * MIB },
  { kind: 'random', bytes: 3 * MIB },
  { kind: 'text', bytes: 4 * MIB },
  { kind: 'random', bytes: 10_000 },
] as const;
const big = [{ kind: 'random', bytes: 210_000_000 }, ...small] as const;

/** Pulls `lab/NAME:v1` on a host with one kind of client, and compares what it has then with the image. */
type Pull = (lab: MirrorLab, where: { host: number; name: string; image: Image }) => Promise<void>;

const clients: Readonly<Record<string, (t: ExecutionContext) => Pull>> = {
  skopeo:
    (t) =>
    async (lab, { host, name, image }) => {
      const options = await lab.pull();
      succeeded(await skopeo(`${lab.mirror(host)}/lab/${name}:v1`, options));
      t.deepEqual(await faultsOfFolder(options.folder, image), []);
    },
  'skopeo, with the registry in the path,':
    (t) =>
    async (lab, { host, name, image }) => {
      const options = await lab.pull();
      const reference = `${lab.mirror(host)}/${lab.registry.name}/lab/${name}:v1`;
      succeeded(await skopeo(reference, options));
      t.deepEqual(await faultsOfFolder(options.folder, image), []);
    },
  podman:
    (t) =>
    async (lab, { host, name, image }) => {
      const options = { ...(await lab.pull()), mirror: lab.mirror(host) };
      const pulled = await podman(`${lab.registry.name}/lab/${name}:v1`, options);
      succeeded(pulled);
      t.is(pulled.digest, image.digest);
    },
  ctr:
    (t) =>
    async (lab, { host, name, image }) => {
      await using engine = await EngineProcess.containerd(
        lab.workplace,
        `containerd-${host}-${name}`,
      );
      const options = { ...(await lab.pull()), mirror: lab.mirror(host) };
      const pulled = await ctr(engine, `${lab.registry.name}/lab/${name}:v1`, options);
      succeeded(pulled);
      t.is(pulled.digest, image.digest);
    },
  'dockerd with its classic store': (t) => dockerdPull(t, 'classic'),
  'dockerd with the containerd store': (t) => dockerdPull(t, 'containerd'),
};

function dockerdPull(t: ExecutionContext, store: 'classic' | 'containerd'): Pull {
  return async (lab, { host, name, image }) => {
    await using engine = await EngineProcess.dockerd(lab.workplace, {
      name: `docker-${host}-${name}`,
      store,
      mirror: `http://${lab.mirror(host)}`,
      hub: lab.registry,
    });
    const pulled = await docker(engine, `lab/${name}:v1`, await lab.pull());
    succeeded(pulled);
    t.is(pulled.digest, image.digest);
    t.is(pulled.layers.length, image.layers.length);
  };
}

const labOfAll = labOf(test, () => ({ hosts: hosts.length }));

async function originBytes(lab: MirrorLab, host: number): Promise<number> {
  return (await lab.cluster.host(host).status()).traffic.originReceivedBytes;
}

async function linkBytes(lab: MirrorLab, host: number): Promise<number> {
  return (await lab.cluster.host(host).status()).traffic.linkReceivedBytes;
}

for (const [client, pullOf] of Object.entries(clients)) {
  test(`${client} pulls on four hosts at once: all bytes right, the registry sends each once`, async (t) => {
    const lab = labOfAll();
    const name = client.replace(/[^a-z]+/g, '-').replace(/-$/, '');
    const image = await lab.push(name, small);
    const before = await Promise.all(hosts.map(async (host) => originBytes(lab, host)));
    const pull = pullOf(t);
    await Promise.all(hosts.map(async (host) => pull(lab, { host, name, image })));
    t.deepEqual(lab.sentOtherThanOnce(image), []);
    for (const [at, host] of hosts.entries()) {
      const asked = (await originBytes(lab, host)) - (before[at] ?? 0);
      t.true(asked <= 0.05 * image.blobBytes, `host ${host} asked the registry for ${asked} bytes`);
    }
  });
}

test('an image of 200 MB: the registry sends each blob once, later hosts get 95 % and more from others', async (t) => {
  const lab = labOfAll();
  const image = await lab.push('big', big);
  const order = [
    ['skopeo', 1],
    ['podman', 2],
    ['ctr', 3],
    ['dockerd with its classic store', 4],
    ['dockerd with the containerd store', 1],
  ] as const;
  for (const [client, host] of order) {
    const before = await linkBytes(lab, host);
    await clients[client]?.(t)(lab, { host, name: 'big', image });
    // The last one knows the registry as Docker Hub, the others by its own name.
    const furtherNames = client === 'dockerd with the containerd store' ? 1 : 0;
    t.deepEqual(lab.sentOtherThanOnce(image, { furtherNames }), [], `after ${client}`);
    if (client === 'skopeo' || host === 1) continue;
    const share = ((await linkBytes(lab, host)) - before) / image.blobBytes;
    t.true(share >= 0.95, `${client} got ${share} of the image from others`);
  }
});
