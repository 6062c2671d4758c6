// A registry with a token server behind the mirror.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { podman, succeeded } from './clients.ts';
import { labOf } from './mirror-lab.ts';
import { RIGHT, get, keepsPrivate } from './strangers.ts';

const folder = await mkdtemp(join(tmpdir(), 'odonata-logins-'));
const logins = join(folder, 'auth.json');
await writeFile(logins, '{}', { mode: 0o600 });
test.after.always(async () => rm(folder, { recursive: true }));

/** The last host has logins of its own. */
const SIGNED_IN = 4;
const labOfAll = labOf(test, () => ({
  hosts: SIGNED_IN,
  auth: 'token',
  daemonArgs: (host) => (host === SIGNED_IN ? ['--registry-logins', logins] : []),
}));

test('tokens: the user pulls; others get the 401 of the registry itself, whatever is cached where', async (t) => {
  const lab = labOfAll();
  const image = await lab.push('secret', [
    { kind: 'random', bytes: 8 * 1024 * 1024 },
    { kind: 'random', bytes: 20_000 },
  ]);
  await keepsPrivate(t, lab, image);
});

test('podman, which knows no login for a mirror, pulls a private image where the mirror has one', async (t) => {
  const lab = labOfAll();
  const image = await lab.push('signed', [{ kind: 'random', bytes: 3_000_000 }]);
  const reference = `${lab.registry.name}/lab/signed:v1`;
  const pull = async (host: number): ReturnType<typeof podman> =>
    podman(reference, { ...(await lab.pull()), mirror: lab.mirror(host) });
  t.not((await pull(1)).exitCode, 0);
  t.not((await pull(SIGNED_IN)).exitCode, 0, 'there is nothing in the file yet');
  const auths = { [lab.registry.name]: { auth: Buffer.from(RIGHT).toString('base64') } };
  await writeFile(logins, JSON.stringify({ auths }));
  const url = `http://${lab.mirror(SIGNED_IN)}/v2/${lab.registry.name}/lab/signed/manifests/v1`;
  while ((await get(url)).status === 401);
  const pulled = await pull(SIGNED_IN);
  succeeded(pulled);
  t.is(pulled.digest, image.digest);
  t.deepEqual(lab.sentOtherThanOnce(image), []);
  t.false(lab.cluster.lastLogs().includes(RIGHT.split(':')[1] ?? ''));
});
