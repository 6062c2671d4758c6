import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock, abortable } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { openEngine } from '../../core/swarm/engine.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { LabRegistry, basic } from '../../test/registry/lab-registry.ts';
import { until } from '../../test/support/until.ts';
import { ProxyAccess } from './access.ts';
import type { AdmittedUser } from './access.ts';
import { BodyStreams } from './body-stream.ts';
import type { ContentEngine } from './registry-blobs.ts';
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
  options: UpstreamOptions & {
    readonly originAllow?: readonly string[];
    readonly mesh?: ContentEngine;
    readonly user?: AdmittedUser;
  } = {},
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'odonata-mirror-'));
  stack.defer(async () => rm(directory, { recursive: true, force: true }));
  const registry = stack.use(await LabRegistry.start());
  const { originAllow = ['127.0.0.0/8'], mesh, user = 'local', ...upstreams } = options;
  const engine = stack.use(
    await openEngine({ dataDir: directory, supernodes: [], originAllow, workers: 1 }),
  );
  const clock = new SystemClock();
  const access = new ProxyAccess({ allow: [], originAllow });
  const counts = new RegistryCounts();
  const mirror = stack.use(
    new RegistryMirror({
      upstreams: new Upstreams(upstreams),
      engine: mesh ?? engine,
      counts,
      bodies: new BodyStreams({ clock, random: new SystemRandom(), log: silentLog }),
      access: {
        admit: () => user,
        checkFor: (who) => access.checkFor(who),
      },
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
    // An answer is counted when it is over, which its reader may know first.
    const counted = (): number => counts.all().reduce((sum, { bytes: some }) => sum + some, 0);
    await until(() => counted() === 2 * bytes.length);
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

test('RegistryMirror answers ranges as registries do: one, several, open, suffix, past the end', async (t) => {
  await withMirror(t, async ({ registry, path }) => {
    const bytes = randomBytes(MIB + 100);
    const url = `${path}/lab/app/blobs/${registry.blob('lab/app', bytes)}`;
    const cases: [string, number, number][] = [
      ['bytes=500-1499', 500, 1500],
      [`bytes=${MIB}-`, MIB, bytes.length],
      ['bytes=-100', bytes.length - 100, bytes.length],
      [`bytes=${MIB}-${10 * MIB}`, MIB, bytes.length],
    ];
    for (const [range, start, end] of cases) {
      const part = await fetch(url, { headers: { range } });
      t.is(part.status, 206, range);
      t.is(part.headers.get('content-range'), `bytes ${start}-${end - 1}/${bytes.length}`);
      t.is(part.headers.get('content-length'), `${end - start}`);
      t.true(bytes.subarray(start, end).equals(Buffer.from(await part.arrayBuffer())), range);
    }
    const several = await fetch(url, { headers: { range: `bytes=0-9,${MIB}-${MIB + 9}` } });
    t.is(several.status, 206);
    t.regex(several.headers.get('content-type') ?? '', /^multipart\/byteranges; boundary=/);
    const body = Buffer.from(await several.arrayBuffer());
    t.is(several.headers.get('content-length'), `${body.length}`);
    t.true(body.includes(bytes.subarray(0, 10)));
    t.true(body.includes(bytes.subarray(MIB, MIB + 10)));

    const outside = await fetch(url, { headers: { range: `bytes=${bytes.length}-` } });
    t.is(outside.status, 416);
    t.is(outside.headers.get('content-range'), `bytes */${bytes.length}`);
    t.is(await outside.text(), '');
    const known = await fetch(url, { headers: { 'if-none-match': `"${url.split('/').at(-1)}"` } });
    t.is(known.status, 304);
    const head = await fetch(url, { method: 'HEAD' });
    t.is(head.headers.get('content-length'), `${bytes.length}`);
  });
});

test('RegistryMirror passes on in time what a registry says that has no time, and gives up on one that says nothing', async (t) => {
  t.timeout(300_000);
  await withMirror(t, async ({ registry, path }) => {
    const digest = registry.blob('lab/app', randomBytes(MIB));
    for (const status of [429, 503]) {
      registry.fault = (_request, response) => {
        response.writeHead(status, { 'retry-after': '30' }).end('{"errors":[]}');
        return true;
      };
      for (const what of [`blobs/${digest}`, 'manifests/v1', `manifests/${digest}`]) {
        const answer = await fetch(`${path}/lab/app/${what}`);
        t.is(answer.status, status, what);
        t.is(answer.headers.get('retry-after'), '30');
        t.is(await answer.text(), '{"errors":[]}');
      }
    }
    registry.fault = () => true;
    for (const what of [`blobs/${digest}`, 'manifests/v1']) {
      const answer = await fetch(`${path}/lab/app/${what}`);
      t.is(answer.status, 504, what);
      t.like(await answer.json(), { errors: [{ code: 'UNKNOWN' }] });
    }
  });
});

test('RegistryMirror follows a registry to where its content is, and leaves credentials behind', async (t) => {
  await withMirror(t, async ({ registry, path }) => {
    await using elsewhere = await LabRegistry.start();
    const bytes = randomBytes(MIB);
    const digest = elsewhere.blob('lab/app', bytes);
    registry.fault = ({ url, headers }, response) => {
      const isLet = headers.authorization === 'Bearer one';
      const location = `http://${elsewhere.name}${url}?signature=1`;
      response.writeHead(isLet ? 307 : 401, isLet ? { location } : {}).end();
      return true;
    };
    elsewhere.document('/v2/lab/app/tags/list', { tags: [] });
    const headers = { authorization: 'Bearer one', cookie: 'a=b' };
    const blob = await fetch(`${path}/lab/app/blobs/${digest}`, { headers });
    t.true(bytes.equals(Buffer.from(await blob.arrayBuffer())));
    t.is((await fetch(`${path}/lab/app/tags/list`, { headers })).status, 200);
    t.is((await fetch(`${path}/lab/app/blobs/${digest}`)).status, 401);
    t.true(elsewhere.requests.length >= 2);
    for (const request of elsewhere.requests) {
      t.is(request.headers.authorization, undefined);
      t.is(request.headers.cookie, undefined);
    }
  });
});

test('RegistryMirror connects to nothing that origin-allow forbids', async (t) => {
  const options = { originAllow: [] };
  const body = async ({ registry, path, base }: Lab): Promise<void> => {
    const digest = registry.blob('lab/app', randomBytes(10));
    const { port } = new URL(`http://${registry.name}`);
    for (const what of [`blobs/${digest}`, 'manifests/v1', 'tags/list']) {
      const byName = `${base}/v2/lab/app/${what}?ns=localhost:${port}`;
      for (const url of [`${path}/lab/app/${what}`, byName]) {
        const refused = await fetch(url);
        t.is(refused.status, 403);
        t.like(await refused.json(), { errors: [{ code: 'DENIED' }] });
      }
    }
    t.deepEqual(registry.requests, []);
  };
  await withMirror(t, body, options);
  // What is opened for programs of this host is not for those of others, through the mesh neither.
  await withMirror(t, body, { user: 'admitted' });
});

test('RegistryMirror refuses pushes, and says what is malformed or missing, in the words of the protocol', async (t) => {
  await withMirror(t, async ({ registry, base, path }) => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const refused = await fetch(`${path}/lab/app/blobs/uploads/`, { method });
      t.is(refused.status, 405);
      t.is(refused.headers.get('allow'), 'GET, HEAD');
      t.like(await refused.json(), { errors: [{ code: 'UNSUPPORTED' }] });
    }
    t.deepEqual(registry.requests, []);
    const ping = await fetch(`${base}/v2/`);
    t.is(ping.status, 200);
    t.is(ping.headers.get('docker-distribution-api-version'), 'registry/2.0');
    const unnamed = await fetch(`${base}/v2/lab/app/manifests/v1`);
    t.is(unnamed.status, 404);
    t.like(await unnamed.json(), { errors: [{ detail: { code: 'ERR_NOT_FOUND' } }] });
    const malformed = await fetch(`${base}/v2/lab/app/manifests/v1?ns=a/b`);
    t.is(malformed.status, 400);
    t.like(await malformed.json(), { errors: [{ code: 'NAME_INVALID' }] });
  });
});

test('RegistryMirror sends no manifest that lacks its digest, and keeps none', async (t) => {
  await withMirror(t, async ({ registry, path }) => {
    const right = Buffer.from('{"right":true}');
    const digest = registry.manifest('lab/app', right, { type: OCI_MANIFEST });
    const url = `${path}/lab/app/manifests/${digest}`;
    const headers = { accept: OCI_MANIFEST };
    registry.fault = (_request, response) => {
      response.writeHead(200, { 'content-type': OCI_MANIFEST }).end('{"right":nope}');
      return true;
    };
    t.is((await fetch(url, { headers })).status, 502);
    registry.fault = () => false;
    t.is(await (await fetch(url, { headers })).text(), right.toString());
  });
});

test('RegistryMirror lets every word of the client reach the registry, and its paths come back to the mirror', async (t) => {
  await withMirror(t, async ({ registry, path }) => {
    registry.fault = ({ url }, response) => {
      if (url?.startsWith('/v2/lab/app/tags/list') !== true) return false;
      response.setHeader('link', '</v2/lab/app/tags/list?last=b&n=2>; rel="next"');
      response.end('{}');
      return true;
    };
    const headers = new Headers({
      'user-agent': 'docker/20 UpstreamClient(x \\(y\\))',
      range: 'x',
    });
    headers.append('accept', 'a/b');
    headers.append('accept', 'c/d;q=0.5');
    const tags = await fetch(`${path}/lab/app/tags/list?n=2`, { headers });
    t.is(
      tags.headers.get('link'),
      `</v2/${registry.name}/lab/app/tags/list?last=b&n=2>; rel="next"`,
    );
    const [seen] = registry.requests;
    t.is(seen?.url, '/v2/lab/app/tags/list?n=2');
    t.is(seen?.headers.accept, 'a/b, c/d;q=0.5');
    t.is(seen?.headers['user-agent'], 'docker/20 UpstreamClient(x \\(y\\))');
    t.is(seen?.headers['accept-encoding'], 'identity');
    t.is(seen?.headers.host, registry.name);
  });
});

test('RegistryMirror takes clients that hang up early as a matter of course', async (t) => {
  await withMirror(t, async ({ registry, path }) => {
    const bytes = randomBytes(8 * MIB);
    const url = `${path}/lab/app/blobs/${registry.blob('lab/app', bytes)}`;
    for (const start of [0, 3 * MIB, 6 * MIB]) {
      const part = await fetch(url, { headers: { range: `bytes=${start}-` } });
      const first = await part.body?.getReader().read();
      const got = Buffer.from(first?.value ?? []);
      t.true(got.length > 0);
      t.true(bytes.subarray(start, start + got.length).equals(got));
    }
    const whole = await fetch(url);
    t.true(bytes.equals(Buffer.from(await whole.arrayBuffer())));
  });
});

test('RegistryMirror lets the registry serve what a mesh that hangs does not', async (t) => {
  t.timeout(300_000);
  const mesh: ContentEngine = {
    store: { find: () => undefined },
    openContent: async (_request, { signal }) => abortable(new Promise<never>(() => {}), signal),
  };
  const body = async ({ registry, path, counts }: Lab): Promise<void> => {
    // Of registries that do not answer HEAD for blobs, too.
    registry.fault = ({ method }, response) => {
      if (method === 'HEAD') response.writeHead(405).end();
      return method === 'HEAD';
    };
    const bytes = randomBytes(MIB);
    const url = `${path}/lab/app/blobs/${registry.blob('lab/app', bytes)}`;
    for (const [range, part] of [
      ['bytes=0-', bytes],
      ['bytes=10-19', bytes.subarray(10, 20)],
    ] as const) {
      const answer = await fetch(url, { headers: { range } });
      t.is(answer.status, 206);
      t.true(part.equals(Buffer.from(await answer.arrayBuffer())));
    }
    t.like(counts.all(), [{ kind: 'blob', source: 'direct', answers: 2, bytes: MIB + 10 }]);
  };
  await withMirror(t, body, { mesh });
});

test('RegistryMirror tells the mesh where a range begins before anything is fetched', async (t) => {
  const begun: (number | undefined)[] = [];
  const mesh: ContentEngine = {
    store: { find: () => undefined },
    openContent: async (_request, { readFrom }) => {
      begun.push(readFrom);
      throw new CodedError('ERR_MESH_UNAVAILABLE', 'there is no mesh');
    },
  };
  const body = async ({ registry, path }: Lab): Promise<void> => {
    const url = `${path}/lab/app/blobs/${registry.blob('lab/app', randomBytes(1000))}`;
    for (const range of ['bytes=700-799', 'bytes=-10', '']) {
      const headers = range === '' ? {} : { range };
      t.true((await fetch(url, { headers })).ok);
    }
  };
  await withMirror(t, body, { mesh });
  t.deepEqual(begun, [700, 0, 0]);
});

test('RegistryMirror does not take a registry for gone that answers others meanwhile', async (t) => {
  t.timeout(300_000);
  const mesh: ContentEngine = {
    store: { find: () => undefined },
    openContent: async (_request, { signal }) => abortable(new Promise<never>(() => {}), signal),
  };
  const body = async ({ registry, path }: Lab): Promise<void> => {
    const digests = [1, 2].map(() => registry.blob('lab/app', randomBytes(1000)));
    // As one in a long line: its turn to be asked about does not come in time.
    registry.fault = ({ method, url = '' }) => method === 'HEAD' && url.endsWith(digests[1] ?? '');
    const pulls = digests.map(async (digest) => fetch(`${path}/lab/app/blobs/${digest}`));
    const answers = await Promise.all(pulls);
    t.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    );
  };
  await withMirror(t, body, { mesh });
});
