// The mesh broken in the middle of a pull: the engine gets the right bytes from us, or goes to the registry.
import { open, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { eventually } from '../../bench/cluster/eventually.ts';
import { Tmpfs } from '../support/tmpfs.ts';
import { ctr, docker, faultsOfFolder, podman, skopeo, succeeded } from './clients.ts';
import { EngineProcess } from './engines.ts';
import type { Image } from '../../bench/registry/image.ts';
import { MirrorLab } from './mirror-lab.ts';

const MIB = 1024 * 1024;
const layers = [
  { kind: 'random', bytes: 20 * MIB },
  { kind: 'random', bytes: 300_000 },
] as const;

async function withLab(
  t: ExecutionContext,
  options: Parameters<typeof MirrorLab.start>[0],
  body: (lab: MirrorLab) => Promise<void>,
): Promise<void> {
  t.timeout(300_000);
  await using lab = await MirrorLab.start(options);
  try {
    await body(lab);
  } catch (error) {
    t.log(lab.cluster.lastLogs());
    throw error;
  }
}

async function pullBySkopeo(
  lab: MirrorLab,
  host: number,
  image: Image,
): Promise<readonly string[]> {
  const options = await lab.pull();
  succeeded(await skopeo(`${lab.mirror(host)}/lab/app:v1`, options));
  return faultsOfFolder(options.folder, image);
}

test('the supernode is killed in the middle of a first pull, and later hosts pull without it', async (t) => {
  await withLab(t, { hosts: 2 }, async (lab) => {
    const image = await lab.push('app', layers);
    const gate = lab.registry.recorder.gate();
    const pulling = pullBySkopeo(lab, 1, image);
    await gate.reached;
    await lab.cluster.supernode.kill('SIGKILL');
    gate.open();
    t.deepEqual(await pulling, []);
    t.deepEqual(await pullBySkopeo(lab, 2, image), []);
  });
});

test('all parents and the supernode are killed in the middle of a pull', async (t) => {
  const slow = ['--upload-limit', '4MiB/s'];
  const options = { hosts: 3, supernodeArgs: slow, daemonArgs: () => slow };
  await withLab(t, options, async (lab) => {
    const image = await lab.push('app', layers);
    t.deepEqual(await pullBySkopeo(lab, 1, image), []);
    const pulling = pullBySkopeo(lab, 3, image);
    const child = lab.cluster.host(3);
    await eventually('bytes from parents', async () =>
      (await child.status()).traffic.linkReceivedBytes > MIB ? true : undefined,
    );
    const parents = [lab.cluster.supernode, ...[1, 2].map((host) => lab.cluster.host(host).daemon)];
    await Promise.all(parents.map(async (parent) => parent.kill('SIGKILL')));
    t.deepEqual(await pulling, []);
  });
});

/** Changes a few bytes of every piece that a host keeps, and sets the file's times back: a disk that rots. */
async function poison(folder: string): Promise<number> {
  let poisoned = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || (await stat(path)).size < MIB) continue;
    const { size, atime, mtime } = await stat(path);
    const file = await open(path, 'r+');
    for (let at = 99; at < size; at += 64 * 1024)
      await file.write(Buffer.from('altered'), 0, 7, at);
    await file.close();
    await utimes(path, atime, mtime);
    poisoned += 1;
  }
  return poisoned;
}

test('pieces that were poisoned on the disk of a host reach no engine, neither there nor elsewhere', async (t) => {
  await withLab(t, { hosts: 2 }, async (lab) => {
    const image = await lab.push('app', layers);
    t.deepEqual(await pullBySkopeo(lab, 1, image), []);
    const store = join(lab.cluster.host(1).folder, 'data', 'store');
    t.true((await poison(store)) >= 1);
    t.deepEqual(await pullBySkopeo(lab, 2, image), [], 'elsewhere');
    t.deepEqual(await pullBySkopeo(lab, 1, image), [], 'there');
  });
});

test('a host whose disk is too small for an image still serves it', async (t) => {
  await using parent = await Tmpfs.mount(`/tmp/odonata-compat-${process.pid}`, { mib: 12 });
  const daemonArgs = (host: number): readonly string[] =>
    host === 1 ? ['--data-dir', join(parent.path, 'data')] : [];
  await withLab(t, { hosts: 2, daemonArgs }, async (lab) => {
    const image = await lab.push('app', layers);
    for (const host of [1, 2, 1]) t.deepEqual(await pullBySkopeo(lab, host, image), [], `${host}`);
  });
});

type Pulled = Awaited<ReturnType<typeof podman>>;

/** The digest of what was pulled, or all that the client said. */
function outcomeOf({ exitCode, digest, stdout, stderr }: Pulled): string {
  return exitCode === 0 ? digest : stdout + stderr;
}

/** Podman, ctr and dockerd pull `lab/app` at once by the mirror of host 1, or by what they have besides. */
async function byEngines(lab: MirrorLab, name: string): Promise<readonly Pulled[]> {
  const { workplace, registry } = lab;
  const mirror = lab.mirror(1);
  const reference = `${registry.name}/lab/app:v1`;
  await using containerd = await EngineProcess.containerd(workplace, `containerd-${name}`);
  await using dockerd = await EngineProcess.dockerd(workplace, {
    name: `dockerd-${name}`,
    store: 'classic',
    mirror: `http://${mirror}`,
    hub: registry,
  });
  // Awaited here: the engines are gone as soon as this returns.
  const pulled = await Promise.all([
    podman(reference, { ...(await lab.pull()), mirror }),
    ctr(containerd, reference, { ...(await lab.pull()), mirror }),
    docker(dockerd, 'lab/app:v1', await lab.pull()),
  ]);
  return pulled;
}

test('dfdaemon is killed in the middle of pulls and started again: ctr and dockerd finish, podman comes again', async (t) => {
  await withLab(t, { hosts: 1 }, async (lab) => {
    const image = await lab.push('app', layers);
    const { daemon } = lab.cluster.host(1);
    const gate = lab.registry.recorder.gate();
    const pulling = byEngines(lab, 'first');
    await gate.reached;
    await daemon.kill('SIGKILL');
    gate.open();
    await daemon.start();
    const [podmanFirst, ...others] = await pulling;
    // This podman takes a connection that ends in the middle of a blob for final; what it says it has must be right.
    t.true(podmanFirst?.exitCode !== 0 || podmanFirst.digest === image.digest);
    for (const pulled of others) t.is(outcomeOf(pulled), image.digest);
    for (const pulled of await byEngines(lab, 'again')) t.is(outcomeOf(pulled), image.digest);
  });
});

test('with no dfdaemon at all podman, ctr and dockerd go to the registry', async (t) => {
  await withLab(t, { hosts: 1 }, async (lab) => {
    const image = await lab.push('app', layers);
    await lab.cluster.host(1).daemon.kill('SIGKILL');
    for (const pulled of await byEngines(lab, 'without')) {
      t.is(outcomeOf(pulled), image.digest);
    }
    t.is(lab.registry.recorder.allBlobBytes, 3 * image.blobBytes, 'each took all of it itself');
  });
});
