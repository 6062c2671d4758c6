// The mirror connects with the rights of dfdaemon, so it must not be talked into connecting to what is forbidden.
import test from 'ava';
import { skopeo, succeeded } from './clients.ts';
import { labOf } from './mirror-lab.ts';
import { OtherRegistry, ownAddress, sayYes } from './other-registry.ts';
import { get } from './strangers.ts';

const allowed = ownAddress();
const alsoAllowed = ['--origin-allow', `${allowed}/32`];
const labOfAll = labOf(test, () => ({
  hosts: 1,
  origins: (registry) => `${registry}/32`,
  supernodeArgs: alsoAllowed,
  daemonArgs: () => alsoAllowed,
}));

test('what origin.allow forbids is not reached through the mirror, by name, by address or by port', async (t) => {
  await using secret = await OtherRegistry.start(sayYes(1000));
  const lab = labOfAll();
  const image = await lab.push('open', [{ kind: 'random', bytes: 2_000_000 }]);
  succeeded(await skopeo(`${lab.mirror(1)}/lab/open:v1`, await lab.pull()));
  const digest = image.layers[0]?.digest ?? '';
  for (const name of [secret.name, '127.0.0.1', 'localhost', '169.254.169.254', lab.mirror(1)]) {
    for (const path of ['manifests/v1', `manifests/${digest}`, `blobs/${digest}`, 'tags/list']) {
      const urls = [
        `http://${lab.mirror(1)}/v2/${name}/lab/x/${path}`,
        `http://${lab.mirror(1)}/v2/lab/x/${path}?ns=${name}`,
      ];
      for (const url of urls) {
        const { status, body } = await get(url);
        t.true(status >= 400, `${url}: ${status}`);
        t.false(body.includes(Buffer.alloc(64)), url);
      }
    }
  }
  t.is(secret.connections, 0);
});

test('a registry that may be reached sends nobody to where origin.allow forbids', async (t) => {
  await using secret = await OtherRegistry.start(sayYes(1000));
  await using redirecting = await OtherRegistry.start((request, response) => {
    response.writeHead(307, { location: `http://${secret.name}${request.url ?? ''}` });
    response.end();
  }, allowed);
  const digest = `sha256:${'a'.repeat(64)}`;
  for (const path of ['manifests/v1', `manifests/${digest}`, `blobs/${digest}`, 'tags/list']) {
    const url = `http://${labOfAll().mirror(1)}/v2/${allowed}/lab/x/${path}`;
    const { status, body } = await get(url);
    t.true(status >= 300, `${url}: ${status}`);
    t.false(body.includes(Buffer.alloc(64)), url);
  }
  t.true(redirecting.connections > 0);
  t.is(secret.connections, 0);
});
