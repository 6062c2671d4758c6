// A registry with passwords behind the mirror, and other registries that would like to know what it has.
import { readFile } from 'node:fs/promises';
import test from 'ava';
import { skopeo, succeeded } from './clients.ts';
import { labOf } from './mirror-lab.ts';
import { OtherRegistry, sayYes } from './other-registry.ts';
import { RIGHT, get, keepsPrivate } from './strangers.ts';

const MIB = 1024 * 1024;
const layers = [
  { kind: 'random', bytes: 8 * MIB },
  { kind: 'random', bytes: 20_000 },
] as const;
const labOfAll = labOf(test, () => ({ hosts: 3, auth: 'basic' }));

test('passwords: the user pulls; others get the 401 of the registry itself, whatever is cached where', async (t) => {
  const lab = labOfAll();
  await keepsPrivate(t, lab, await lab.push('secret', layers));
});

test('a registry that says yes to the digest of another one gets none of its bytes', async (t) => {
  const lab = labOfAll();
  const image = await lab.push('other', layers);
  succeeded(await skopeo(`${lab.mirror(1)}/lab/other:v1`, await lab.pull(RIGHT)));
  for (const blob of image.layers) {
    const bytes = await readFile(blob.path);
    await using evil = await OtherRegistry.start(sayYes(blob.size));
    for (const host of [1, 2]) {
      for (const headers of [{}, { range: 'bytes=0-' }, { range: 'bytes=512-1535' }]) {
        const ways = [
          `http://${lab.mirror(host)}/v2/${evil.name}/lab/other/blobs/${blob.digest}`,
          `http://${lab.mirror(host)}/v2/lab/other/blobs/${blob.digest}?ns=${evil.name}`,
        ];
        for (const url of ways) {
          const { body } = await get(url, { headers });
          const samples = [16, 600, 9000, 65_536 + 700, MIB + 16, 5 * MIB].filter(
            (at) => at + 64 <= bytes.length,
          );
          const told = samples.filter((at) => body.includes(bytes.subarray(at, at + 64)));
          t.deepEqual(told, [], `host ${host}: ${url} ${JSON.stringify(headers)}`);
        }
      }
    }
    t.true(evil.connections > 0, 'it was asked at all');
  }
});

test('credentials for one registry are shown to no other that it sends us to', async (t) => {
  const lab = labOfAll();
  const image = await lab.push('redirected', layers);
  const [layer] = image.layers;
  await using elsewhere = await OtherRegistry.start(sayYes(layer?.size ?? 0));
  await using redirecting = await OtherRegistry.start((request, response) => {
    response.writeHead(307, { location: `http://${elsewhere.name}${request.url ?? ''}` });
    response.end();
  });
  const base = `http://${lab.mirror(1)}/v2/${redirecting.name}/lab/x`;
  for (const path of [
    `blobs/${layer?.digest ?? ''}`,
    `manifests/${image.digest}`,
    'manifests/v1',
  ]) {
    await get(`${base}/${path}`, { credentials: RIGHT });
  }
  t.true(redirecting.seen.some(({ authorization }) => authorization !== undefined));
  t.true(elsewhere.seen.every(({ authorization }) => authorization === undefined));
});
