// Real programs, real sockets: images of a registry pulled through the mirrors of several hosts.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import test from 'ava';
import { withCluster } from '../support/with-cluster.ts';
import { LabRegistry, basic, digestOf } from './lab-registry.ts';
import { counted, mirrorOf, pull } from './pull.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
/** Twice so much has to be free on the disk; docs/registry-mirror.md has the figures for 30. */
const BIG_BLOB_GIB = Number(process.env['TEST_BIG_BLOB_GIB'] ?? 0.5);
/** What one program may have resident at most, whatever the length of a blob. */
const MOST_MIB = 300;
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

test.serial('the layers of an image leave the registry once, whoever pulls them', async (t) => {
  await using registry = await LabRegistry.start();
  const sizes = [0, 700, 100 * KIB, 300 * KIB, 3 * MIB + 1, 12 * MIB];
  const layers = sizes.map((size) => ({
    size,
    digest: registry.blob('lab/app', randomBytes(size)),
  }));
  const config = Buffer.from(JSON.stringify({ layers }));
  const manifest = registry.manifest('lab/app', config, { type: OCI_MANIFEST, tag: 'v1' });
  const pullImage = async (base: string): Promise<void> => {
    const path = `${base}/v2/${registry.name}/lab/app`;
    const headers = { accept: OCI_MANIFEST };
    const tag = await pull(`${path}/manifests/v1`, { method: 'HEAD', headers });
    t.is(tag.headers.get('docker-content-digest'), manifest);
    t.is((await pull(`${path}/manifests/${manifest}`, { headers })).digest, manifest);
    const pulled = await Promise.all(
      layers.map(async ({ digest }) => pull(`${path}/blobs/${digest}`)),
    );
    for (const [at, { status, digest, length }] of pulled.entries()) {
      t.is(status, 200);
      t.like({ length, digest }, { length: layers[at]?.size, digest: layers[at]?.digest });
    }
  };
  await withCluster(t, { hosts: 4 }, async (cluster) => {
    const bases = await Promise.all(cluster.hosts.map(mirrorOf));
    const copies = sizes.reduce((sum, size) => sum + size, 0);
    for (let round = 0; round < 2; round += 1) {
      await Promise.all(bases.map(pullImage));
      const sample = 'registry_sent_bytes_total{kind="blob",source="direct"}';
      const direct = await Promise.all(bases.map(async (base) => counted(base, sample)));
      // A machine that is busy with other things may bring the mirror to go around the mesh; it says so.
      t.is(registry.bytesOf('/v2/lab/app/blobs/'), copies + direct.reduce((a, b) => a + b, 0));
    }
  });
});

test.serial("a blob that is here and there is still the registry's to give", async (t) => {
  await using registry = await LabRegistry.start();
  registry.access = { kind: 'basic', user: 'alice', password: 'secret' };
  const digest = registry.blob('lab/private', randomBytes(3 * MIB));
  const manifest = registry.manifest('lab/private', Buffer.from('{"private":1}'), {
    type: OCI_MANIFEST,
  });
  await using evil = await LabRegistry.start();
  const lie = Buffer.from('nothing of what you want');
  evil.fault = (request, response) => {
    response.writeHead(200, { 'content-length': lie.length, 'content-type': OCI_MANIFEST });
    response.end(request.method === 'HEAD' ? undefined : lie);
    return true;
  };
  await withCluster(t, { hosts: 2 }, async (cluster) => {
    const bases = await Promise.all(cluster.hosts.map(mirrorOf));
    const right = { accept: OCI_MANIFEST, authorization: basic('alice', 'secret') };
    const wrong = { accept: OCI_MANIFEST, authorization: basic('alice', 'guess') };
    for (const base of bases) {
      const path = `${base}/v2/${registry.name}/lab/private`;
      const blob = `${path}/blobs/${digest}`;
      // Before it is here, and after.
      for (let round = 0; round < 2; round += 1) {
        for (const headers of [wrong, { accept: OCI_MANIFEST }]) {
          for (const url of [blob, `${path}/manifests/${manifest}`]) {
            const refused = await pull(url, { headers });
            t.is(refused.status, 401, url);
            t.is(refused.headers.get('www-authenticate'), 'Basic realm="lab"');
          }
        }
        t.is((await pull(blob, { headers: right })).digest, digest);
        t.is((await pull(`${path}/manifests/${manifest}`, { headers: right })).digest, manifest);
      }
      // Who runs a registry that has everything gets what he sent, and no more.
      const stolen = `${base}/v2/${evil.name}/lab/private`;
      t.is((await pull(`${stolen}/blobs/${digest}`)).digest, digestOf(lie));
      t.is((await pull(`${stolen}/manifests/${manifest}`, { headers: right })).status, 502);
      t.is((await pull(`${stolen}/blobs/${digest}`, { method: 'HEAD' })).length, 0);
    }
    // The second host asked whether its user may have it, and took the bytes from the mesh.
    t.is(registry.asked(`/v2/lab/private/manifests/${manifest}`).length > 2, true);
  });
});

test.serial('a pull goes on when the supernode dies in the middle of it', async (t) => {
  await using registry = await LabRegistry.start();
  const digest = registry.blob('lab/app', randomBytes(24 * MIB));
  await withCluster(t, { hosts: 2 }, async (cluster) => {
    const base = await mirrorOf(cluster.host(1));
    const url = `${base}/v2/${registry.name}/lab/app/blobs/${digest}`;
    const answer = await fetch(url);
    const reader = answer.body?.getReader();
    const first = await reader?.read();
    await cluster.supernode.kill('SIGKILL');
    const chunks = [first?.value ?? new Uint8Array(0)];
    for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
      chunks.push(next.value);
    }
    t.is(digestOf(Buffer.concat(chunks)), digest);
    // And without it.
    const other = `${await mirrorOf(cluster.host(2))}/v2/${registry.name}/lab/app/blobs/${digest}`;
    t.is((await pull(other)).digest, digest);
  });
});

test.serial('a thousand small blobs are pulled from one host at a time', async (t) => {
  await using registry = await LabRegistry.start();
  const digests = Array.from({ length: 1000 }, (_item, at) =>
    registry.blob('lab/many', randomBytes(1 + (at % 40) * KIB)),
  );
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const path = `${await mirrorOf(cluster.host(1))}/v2/${registry.name}/lab/many/blobs`;
    const pulled = await Promise.all(digests.map(async (digest) => pull(`${path}/${digest}`)));
    t.deepEqual(
      pulled.map(({ status, digest }) => `${status} ${digest}`),
      digests.map((digest) => `200 ${digest}`),
    );
  });
});

test.serial('a long blob passes in flat memory, however slowly it is read', async (t) => {
  await using registry = await LabRegistry.start();
  const bytes = BIG_BLOB_GIB * 1024 * MIB;
  const digest = await registry.longBlob('lab/big', bytes);
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    t.timeout(300_000 * BIG_BLOB_GIB);
    const host = cluster.host(1);
    const base = await mirrorOf(host);
    const url = `${base}/v2/${registry.name}/lab/big/blobs/${digest}`;
    // One who does not read, and one who does.
    const slow = await fetch(url);
    const pulled = await pull(url);
    t.like(pulled, { digest, length: bytes });
    await slow.body?.cancel();
    const peaks: Record<string, number> = {};
    for (const [name, pid] of Object.entries(cluster.pids)) {
      peaks[name] = await peakMiB(pid);
      t.true(peaks[name] < MOST_MIB, `${name}: ${peaks[name]} MiB`);
    }
    const direct = await counted(base, 'registry_sent_bytes_total{kind="blob",source="direct"}');
    const { seconds } = pulled;
    t.log({
      gibibytes: BIG_BLOB_GIB,
      seconds,
      peaks,
      direct,
      left: registry.bytesOf('/v2/lab/big/'),
    });
  });
});

/** Most memory that a process had resident, MiB. */
async function peakMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
}
