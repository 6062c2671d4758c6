// The real clients and the real registry without us: when these fail, so would everything else here.
import test from 'ava';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { ctr, docker, faultsOfFolder, podman, pullFolder, skopeo, succeeded } from './clients.ts';
import { EngineProcess } from './engines.ts';
import { makeImage } from '../../bench/registry/image.ts';
import type { Image } from '../../bench/registry/image.ts';
import { Registry } from './registry.ts';
import { PASSWORD, TokenServer, USER } from './token-server.ts';

const MIB = 1024 * 1024;

interface Direct extends AsyncDisposable {
  readonly workplace: Workplace;
  readonly registry: Registry;
  readonly image: Image;
}

async function open(auth: 'none' | 'basic' | 'token'): Promise<Direct> {
  await using stack = new AsyncDisposableStack();
  const workplace = stack.use(await Workplace.open());
  const tokens = auth === 'token' ? stack.use(await TokenServer.start(workplace)) : undefined;
  const registry = stack.use(
    await Registry.start(workplace, {
      name: auth,
      auth: tokens ?? (auth === 'basic' ? auth : 'none'),
    }),
  );
  const image = await makeImage(await workplace.subfolder('image'), {
    seed: 1,
    layers: [
      { kind: 'random', bytes: 3 * MIB },
      { kind: 'text', bytes: 2 * MIB },
    ],
  });
  await registry.push(image, 'lab/app', 'v1');
  const opened = stack.move();
  return { workplace, registry, image, [Symbol.asyncDispose]: async () => opened.disposeAsync() };
}

test('skopeo, podman, ctr and both dockerds pull from the registry itself', async (t) => {
  await using lab = await open('none');
  const { workplace, registry, image } = lab;
  const reference = `${registry.name}/lab/app:v1`;
  const folder = await pullFolder(workplace, 'skopeo');
  succeeded(await skopeo(reference, { workplace, folder }));
  t.deepEqual(await faultsOfFolder(folder, image), []);
  t.is(registry.recorder.allBlobBytes, image.blobBytes);

  const podmanFolder = await pullFolder(workplace, 'podman');
  const options = { workplace, folder: podmanFolder, mirror: registry.name };
  const byPodman = await podman(reference, options);
  succeeded(byPodman);
  t.is(byPodman.digest, image.digest);

  await using containerd = await EngineProcess.containerd(workplace, 'containerd');
  const pulled = await ctr(containerd, reference, { workplace, folder, mirror: registry.name });
  succeeded(pulled);
  t.is(pulled.digest, image.digest);

  for (const store of ['classic', 'containerd'] as const) {
    const mirror = registry.url;
    await using dockerd = await EngineProcess.dockerd(workplace, {
      name: `docker-${store}`,
      store,
      mirror,
      hub: registry,
    });
    // As an image of Docker Hub: a mirror stands for nothing else.
    const got = await docker(dockerd, 'lab/app:v1', { workplace, folder });
    succeeded(got);
    t.is(got.digest, image.digest);
    t.is(got.layers.length, image.layers.length);
  }
});

for (const auth of ['basic', 'token'] as const) {
  test(`a registry with ${auth} authentication lets its user in and nobody else`, async (t) => {
    await using lab = await open(auth);
    const { workplace, registry, image } = lab;
    const reference = `${registry.name}/lab/app:v1`;
    for (const credentials of [undefined, `${USER}:wrong`, `mallory:${PASSWORD}`]) {
      const folder = await pullFolder(workplace, `refused-${credentials ?? 'nobody'}`);
      const { exitCode } = await skopeo(reference, { workplace, folder, credentials });
      t.not(exitCode, 0);
    }
    t.is(registry.recorder.blobBytes(image.config.digest), 0);
    const folder = await pullFolder(workplace, 'allowed');
    succeeded(await skopeo(reference, { workplace, folder, credentials: `${USER}:${PASSWORD}` }));
    t.deepEqual(await faultsOfFolder(folder, image), []);
  });
}
