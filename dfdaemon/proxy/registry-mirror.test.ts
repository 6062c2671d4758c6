import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { openEngine } from '../../core/swarm/engine.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { LabRegistry, basic } from '../../test/registry/lab-registry.ts';
import { ProxyAccess } from './access.ts';
import { BodyStreams } from './body-stream.ts';
import { RegistryCounts } from './registry-counts.ts';
import { RegistryMirror } from './registry-mirror.ts';
import { Upstreams } from './registry-upstreams.ts';
import type { UpstreamOptions } from './registry-upstreams.ts';

const MIB = 1024 * 1024;
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

interface Lab {
  readonly registry: LabRegistry;
  readonly counts: RegistryCounts;
  readonly engine: Engine;
  /** Of the mirror, without a slash at the end. */
  readonly base: string;
  /** What the mirror's paths begin with for this registry. */
  readonly path: string;
}

/** A registry, and a mirror on an engine without supernode: real sockets, workers and files. */
async function withMirror(
  t: ExecutionContext,
  body: (lab: Lab) => Promise<void>,
  options: UpstreamOptions & { readonly originAllow?: readonly string[] } = {},
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'odonata-mirror-'));
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const registry = stack.use(await LabRegistry.start());
  const { originAllow = ['127.0.0.0/8'], ...upstreams } = options;
  const engine = stack.use(
    await openEngine({ dataDir: directory, supernodes: [], originAllow, workers: 1 }),
  );
  const clock = new SystemClock();
  const counts = new RegistryCounts();
  const mirror = stack.use(
    new RegistryMirror({
      upstreams: new Upstreams(upstreams),
      engine,
      counts,
      bodies: new BodyStreams({ clock, random: new SystemRandom(), log: silentLog }),
      access: new ProxyAccess({ allow: [], originAllow }),
      via: 'test',
      clock,
      log: silentLog,
    }),
  );
  const server = createServer((request, response) => void mirror.handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await body({ registry, counts, engine, base, path: `${base}/v2/${registry.name}` });
  t.pass();
}

test('RegistryMirror gives a blob with what clients read of it, and asks the registry for its bytes once', async (t) => {
  await withMirror(t, async ({ registry, base, path, counts }) => {
    const bytes = randomBytes(3 * MIB + 5);
    const digest = registry.blob('lab/app', bytes);
    const first = await fetch(`${path}/lab/app/blobs/${digest}`);
    t.is(first.status, 200);
    t.true(bytes.equals(Buffer.from(await first.arrayBuffer())));
    t.is(first.headers.get('content-length'), `${bytes.length}`);
    t.is(first.headers.get('content-type'), 'application/octet-stream');
    t.is(first.headers.get('docker-content-digest'), digest);
    t.is(first.headers.get('etag'), `"${digest}"`);
    t.is(first.headers.get('accept-ranges'), 'bytes');
    t.is(first.headers.get('docker-distribution-api-version'), 'registry/2.0');

    const byNs = await fetch(
      `${base}/v2/lab/app/blobs/${digest}?ns=${encodeURIComponent(registry.name)}`,
    );
    t.is(byNs.headers.get('oci-namespace'), registry.name);
    t.true(bytes.equals(Buffer.from(await byNs.arrayBuffer())));
    t.is(registry.sent.get(`/v2/lab/app/blobs/${digest}`), bytes.length);
    t.like(counts.all(), [
      { kind: 'blob', source: 'mesh', answers: 1, bytes: bytes.length },
      { kind: 'blob', source: 'cache', answers: 1, bytes: bytes.length },
    ]);
  });
});

test('RegistryMirror passes the answer of the registry on when there is no blob, or no right to it', async (t) => {
  await withMirror(t, async ({ registry, path }) => {
    const digest = registry.blob('lab/app', randomBytes(MIB));
    const url = `${path}/lab/app/blobs/${digest}`;
    const missing = await fetch(`${path}/lab/app/blobs/sha256:${'0'.repeat(64)}`);
    t.is(missing.status, 404);
    t.deepEqual(await missing.json(), { errors: [{ code: 'UNKNOWN', message: 'not here' }] });

    registry.access = { kind: 'basic', user: 'alice', password: 'secret' };
    const authorization = basic('alice', 'secret');
    t.is((await fetch(url, { headers: { authorization } })).status, 200);
    // It is complete here now, and nobody else gets it for that.
    for (const headers of [{}, { authorization: basic('alice', 'wrong') }]) {
      const refused = await fetch(url, { headers });
      t.is(refused.status, 401);
      t.is(refused.headers.get('www-authenticate'), 'Basic realm="lab"');
      t.like(await refused.json(), { errors: [{ code: 'UNAUTHORIZED' }] });
    }
  });
});

test('RegistryMirror keeps a manifest by its digest, and asks the registry each time whether a client may have it', async (t) => {
  await withMirror(t, async ({ registry, path }) => {
    const bytes = Buffer.from('{"schemaVersion":2}');
    const digest = registry.manifest('lab/app', bytes, { type: OCI_MANIFEST, tag: 'v1' });
    registry.access = { kind: 'bearer', tokens: new Set(['one', 'two']) };
    const url = `${path}/lab/app/manifests/${digest}`;
    const headers = { accept: OCI_MANIFEST, authorization: 'Bearer one' };
    const first = await fetch(url, { headers });
    t.is(await first.text(), bytes.toString());
    t.is(first.headers.get('content-type'), OCI_MANIFEST);
    t.is(first.headers.get('docker-content-digest'), digest);
    t.is(first.headers.get('content-length'), `${bytes.length}`);

    registry.requests.length = 0;
    t.is(await (await fetch(url, { headers })).text(), bytes.toString());
    t.deepEqual(registry.asked('/v2/'), []);
    const other = await fetch(url, { headers: { ...headers, authorization: 'Bearer two' } });
    t.is(await other.text(), bytes.toString());
    t.deepEqual(registry.asked('/v2/'), [`HEAD /v2/lab/app/manifests/${digest}`]);
    const refused = await fetch(url, { headers: { ...headers, authorization: 'Bearer three' } });
    t.is(refused.status, 401);
    t.is(refused.headers.get('www-authenticate'), 'Bearer realm="http://token.test/"');

    registry.requests.length = 0;
    for (const method of ['HEAD', 'GET', 'GET']) {
      const tag = await fetch(`${path}/lab/app/manifests/v1`, { method, headers });
      t.is(tag.status, 200);
      t.is(tag.headers.get('docker-content-digest'), digest);
    }
    t.is(registry.requests.length, 3);
  });
});
