import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock, SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { LabRegistry, basic } from '../../test/registry/lab-registry.ts';
import { ProxyAccess } from './access.ts';
import type { AdmittedUser } from './access.ts';
import { BodyStreams } from './body-stream.ts';
import { LoginFile } from './login-file.ts';
import { RegistryCounts } from './registry-counts.ts';
import { RegistryMirror } from './registry-mirror.ts';
import { Upstreams } from './registry-upstreams.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

interface Lab {
  readonly registry: LabRegistry;
  /** Status of a request for a path below `/v2/` of the registry. */
  readonly get: (path: string, headers?: Readonly<Record<string, string>>) => Promise<number>;
  /** From now on a user of this kind asks. */
  readonly become: (user: AdmittedUser) => void;
  /** The file has these logins for the registry. */
  readonly write: (login: object, options?: { readonly mode?: number }) => Promise<void>;
  /** Long enough for the file to be looked at again, and for what failed to be tried again. */
  readonly later: (ms?: number) => void;
}

/** A mirror that signs in, without a mesh: every request goes to the registry. */
async function withMirror(t: ExecutionContext, body: (lab: Lab) => Promise<void>): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'odonata-sign-in-'));
  stack.defer(async () => rm(folder, { recursive: true }));
  const registry = stack.use(await LabRegistry.start());
  const path = join(folder, 'auth.json');
  const write: Lab['write'] = async (login, { mode = 0o600 } = {}) => {
    await writeFile(path, JSON.stringify({ auths: { [registry.name]: login } }), { mode: 0o600 });
    await chmod(path, mode);
  };
  await write({ auth: Buffer.from('puller:secret').toString('base64') });
  const [clock, ageing] = [new SystemClock(), new ManualClock()];
  // What is kept since the time 0 never ends, for the cache that it is kept in.
  ageing.advance(1);
  const access = new ProxyAccess({ allow: [], originAllow: ['127.0.0.0/8'] });
  let user: AdmittedUser = 'local';
  const mirror = stack.use(
    new RegistryMirror({
      upstreams: new Upstreams(),
      engine: {
        openContent: async () => {
          throw new CodedError('ERR_MESH_UNAVAILABLE', 'there is none');
        },
        store: { find: () => undefined },
      },
      counts: new RegistryCounts(),
      bodies: new BodyStreams({ clock, random: new SystemRandom(), log: silentLog }),
      access: { admit: () => user, checkFor: () => access.checkFor('local') },
      via: 'test',
      logins: await LoginFile.open(path, { clock: ageing, log: silentLog }),
      clock: Object.assign(new SystemClock(), { monotonic: () => ageing.monotonic() }),
      log: silentLog,
    }),
  );
  const server = createServer((asked, answer) => void mirror.handle(asked, answer));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as AddressInfo;
  await body({
    registry,
    write,
    become: (who) => (user = who),
    later: (ms = 20_000) => ageing.advance(ms),
    get: async (asked, headers = {}) => {
      const place = { host: '127.0.0.1', port, path: `/v2/${registry.name}/${asked}`, headers };
      const outgoing = request(place).end();
      const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
      for await (const _ of answer);
      return answer.statusCode ?? 0;
    },
  });
  t.pass();
}

test('RegistrySignIn signs for programs on this host that have no login, and for nobody else', async (t) => {
  await withMirror(t, async ({ registry, get, become }) => {
    registry.access = { kind: 'basic', user: 'puller', password: 'secret' };
    const blob = `lab/app/blobs/${registry.blob('lab/app', randomBytes(1000))}`;
    const manifest = Buffer.from('{"schemaVersion":2}');
    registry.manifest('lab/app', manifest, { type: MANIFEST, tag: 'v1' });
    const accept = { accept: MANIFEST };
    t.is(await get(blob), 200);
    t.is(await get('lab/app/manifests/v1', accept), 200);
    t.deepEqual(registry.asked('/v2/'), [
      'GET /v2/',
      `GET /v2/${blob}`,
      'GET /v2/lab/app/manifests/v1',
    ]);
    // With a login of his own he is who he says he is.
    t.is(await get(blob, { authorization: basic('puller', 'wrong') }), 401);
    // A name that leads here is no sign that the client is a program on this host.
    t.is(await get(blob, { host: 'page.test:65001' }), 401);
    t.is(await get(blob, { host: 'localhost:65001' }), 200);
    become('admitted');
    t.is(await get(blob), 401);
    t.is(await get('lab/app/manifests/v1', accept), 401);
  });
});

test('RegistrySignIn asks for a token once for each repository, and anew when it ends or is refused', async (t) => {
  await withMirror(t, async ({ registry, get, later }) => {
    const asked: string[] = [];
    const tokens = new Set<string>();
    registry.access = { kind: 'bearer', tokens, realm: `http://${registry.name}/token?x=1` };
    registry.fault = ({ url = '', headers }, response) => {
      if (!url.startsWith('/token')) return false;
      const { searchParams } = new URL(url, 'http://x');
      asked.push(`${searchParams.get('scope') ?? ''} ${headers.authorization ?? ''}`);
      tokens.add(`t${asked.length}`);
      response.end(JSON.stringify({ token: `t${asked.length}`, expires_in: 100 }));
      return true;
    };
    const one = `one/blobs/${registry.blob('one', randomBytes(10))}`;
    const two = `two/blobs/${registry.blob('two', randomBytes(11))}`;
    t.deepEqual(await Promise.all([get(one), get(one), get(two)]), [200, 200, 200]);
    t.is(await get(one), 200);
    const as = basic('puller', 'secret');
    t.deepEqual(asked.toSorted(), [`repository:one:pull ${as}`, `repository:two:pull ${as}`]);
    later(81_000);
    t.is(await get(one), 200);
    t.is(asked.length, 3, 'a token is renewed before its time is over');
    tokens.clear();
    t.is(await get(one), 401);
    t.is(await get(one), 200);
    t.is(asked.length, 4);
  });
});

test('RegistrySignIn follows the file, and has no login while that is not fit', async (t) => {
  await withMirror(t, async ({ registry, get, write, later }) => {
    registry.access = { kind: 'basic', user: 'puller', password: 'new' };
    const blob = `lab/app/blobs/${registry.blob('lab/app', randomBytes(10))}`;
    t.is(await get(blob), 401);
    await write({ username: 'puller', password: 'new' });
    later();
    t.is(await get(blob), 200);
    await write({ username: 'puller', password: 'new' }, { mode: 0o644 });
    later();
    t.is(await get(blob), 401);
    await write({ username: 'puller', password: 'new' });
    later();
    t.is(await get(blob), 200);
  });
});

test('RegistrySignIn passes the own answer of a registry on that it cannot sign in to', async (t) => {
  await withMirror(t, async ({ registry, get, later }) => {
    registry.access = { kind: 'bearer', tokens: new Set(['x']), realm: 'ftp://nowhere' };
    const blob = `lab/app/blobs/${registry.blob('lab/app', randomBytes(10))}`;
    t.is(await get(blob), 401);
    t.is(await get(blob), 401);
    t.is(registry.asked('/v2/').filter((line) => line === 'GET /v2/').length, 1);
    registry.access = { kind: 'open' };
    later();
    t.is(await get(blob), 200);
  });
});
