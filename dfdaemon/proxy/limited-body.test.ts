import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { RateLimiter } from '../../core/net/pacing.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { LabRegistry } from '../../test/registry/lab-registry.ts';
import { ProxyAccess } from './access.ts';
import { BodyStreams } from './body-stream.ts';
import { startProxy, viaProxy } from './proxy-fixture.contract.ts';
import { RegistryCounts } from './registry-counts.ts';
import { RegistryMirror } from './registry-mirror.ts';
import { Upstreams } from './registry-upstreams.ts';

const BYTES = 300_000;
/** Slow enough to be waited for. */
const RATE = 2_000_000;

test('what the forward proxy takes of an origin directly passes the limit of what comes from origins', async (t) => {
  await using origin = await startOrigin();
  origin.set('/f', { content: { seed: 1, length: BYTES } });
  const originLimiter = new RateLimiter(RATE, new SystemClock());
  await using proxy = await startProxy({}, { originLimiter });
  const { body } = await viaProxy(proxy.port, origin.url('/f'));
  t.is(body.length, BYTES);
  t.is(originLimiter.passedBytes, BYTES);
  t.true(originLimiter.heldBytes > 0);
});

test('a blob that the mirror takes of its registry directly passes the limit, a manifest does not', async (t) => {
  await using registry = await LabRegistry.start();
  const clock = new SystemClock();
  const originLimiter = new RateLimiter(RATE, clock);
  const access = new ProxyAccess({ allow: [], originAllow: ['127.0.0.0/8'] });
  await using mirror = new RegistryMirror({
    upstreams: new Upstreams(),
    engine: {
      openContent: async () => {
        throw new CodedError('ERR_MESH_UNAVAILABLE', 'there is none');
      },
      store: { find: () => undefined },
    },
    counts: new RegistryCounts(),
    bodies: new BodyStreams({ clock, random: new SystemRandom(), log: silentLog }),
    access,
    via: 'test',
    originLimiter,
    clock,
    log: silentLog,
  });
  const server = createServer((request, response) => void mirror.handle(request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const base = `http://127.0.0.1:${port}/v2/${registry.name}/lab/app`;
  const type = 'application/vnd.oci.image.manifest.v1+json';
  registry.manifest('lab/app', Buffer.from('{"schemaVersion":2}'), { type, tag: 'v1' });
  const manifest = await fetch(`${base}/manifests/v1`, { headers: { accept: type } });
  t.is(await manifest.text(), '{"schemaVersion":2}');
  t.is(originLimiter.passedBytes, 0);
  const bytes = randomBytes(BYTES);
  const blob = await fetch(`${base}/blobs/${registry.blob('lab/app', bytes)}`);
  t.true(bytes.equals(Buffer.from(await blob.arrayBuffer())));
  t.is(originLimiter.passedBytes, BYTES);
  t.true(originLimiter.heldBytes > 0);
});
