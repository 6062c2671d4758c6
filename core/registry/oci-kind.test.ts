import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { SeededRandom } from '../base/random.ts';
import { AddressGuard } from '../origin/address-guard.ts';
import { OriginConnections } from '../origin/origin-connections.ts';
import { TestRegistry, user } from '../../test/warm-up/test-registry.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { OciKind, parseOciUrl } from './oci-kind.ts';

const { signal } = new AbortController();

function kindOf(t: ExecutionContext, logins?: object): { kind: OciKind; notes: string[] } {
  const clock = new SystemClock();
  const connections = new OriginConnections({ guard: AddressGuard.open, clock });
  t.teardown(async () => connections.close());
  const notes: string[] = [];
  const note = (text: string): void => void notes.push(text);
  const parts = { connections, clock, random: new SeededRandom(1), log: silentLog, note };
  const path = join(temporaryFolder('oci'), 'config.json');
  if (logins !== undefined) writeFileSync(path, JSON.stringify(logins), { mode: 0o600 });
  return { kind: new OciKind({ defaultLoginsPath: path, isPlainHttp: false }, parts), notes };
}

function ociUrl(registry: TestRegistry, rest: string): string {
  return `${registry.url.replace('http:', 'oci:')}/${rest}`;
}

test('parseOciUrl() takes the first part for a registry, whatever it looks like', (t) => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const cases = [
    ['oci://hub/lab/app:v1', 'https://hub', 'lab/app', 'v1'],
    ['oci://r.example:5000/app', 'https://r.example:5000', 'app', 'latest'],
    [`oci://r.example/a/b@${digest}`, 'https://r.example', 'a/b', digest],
    [`oci://r.example/a/b:v1@${digest}`, 'https://r.example', 'a/b', digest],
    ['oci://127.0.0.1:5000/a:b', 'http://127.0.0.1:5000', 'a', 'b'],
    ['oci://docker.io/library/alpine:3', 'https://registry-1.docker.io', 'library/alpine', '3'],
  ];
  for (const [url = '', base, repository, reference] of cases) {
    t.deepEqual(parseOciUrl(url, { isPlainHttp: false }), { base, repository, reference }, url);
  }
  t.is(parseOciUrl('oci://hub/a', { isPlainHttp: true }).base, 'http://hub');
  for (const url of [
    'oci://hub',
    'oci://hub/',
    'oci://hub/A',
    'oci://hub/a:b:c',
    'oci://hub/a@x',
    'oci://u@h/a',
    'oci://hub/a?x',
  ]) {
    t.throws(() => parseOciUrl(url, { isPlainHttp: false }), { code: 'ERR_URL' }, url);
  }
});

test('OciKind finds the one layer of an artifact, or the layer that a digest names', async (t) => {
  await using registry = await TestRegistry.start();
  const { layers, digest } = registry.add('lab/app', 'v1', { 'linux/amd64': [10] });
  const { kind } = kindOf(t);
  const layer = layers[0]?.digest ?? '';
  const source = { url: `${registry.url}/v2/lab/app/blobs/${layer}`, headers: {}, digest: layer };
  for (const rest of ['lab/app:v1', `lab/app@${digest}`, `lab/app@${layer}`]) {
    t.deepEqual(await kind.locate(ociUrl(registry, rest), { signal }), source, rest);
  }
  await t.throwsAsync(kind.locate(ociUrl(registry, 'lab/app:v9'), { signal }), {
    code: 'ERR_ORIGIN_REFUSED',
  });
});

test('OciKind lists the layers of an artifact that has several', async (t) => {
  await using registry = await TestRegistry.start();
  const { layers } = registry.add('lab/app', 'v1', { 'linux/amd64': [10, 20] });
  registry.add('lab/both', 'both', { 'linux/amd64': [30], 'linux/arm64': [40] });
  const { kind } = kindOf(t);
  const url = ociUrl(registry, 'lab/app:v1');
  await t.throwsAsync(kind.locate(url, { signal }), { code: 'ERR_USAGE', message: /2 layers.*-r/ });
  const entries = await Array.fromAsync(kind.list(url, { signal }));
  t.deepEqual(
    entries.map((entry) => entry.path),
    layers.map(({ digest }) => digest.replace(':', '-')),
  );
  const [first] = entries;
  if (first?.kind !== 'file') throw new TypeError('no file');
  t.like(await kind.locateFile(first, { signal }), { digest: layers[0]?.digest });
  const variants = { code: 'ERR_USAGE', message: /2 variants; .*linux\/amd64/ } as const;
  await t.throwsAsync(kind.locate(ociUrl(registry, 'lab/both:both'), { signal }), variants);
});

test('OciKind brings the token of the user, and gives his password to the token server alone', async (t) => {
  await using registry = await TestRegistry.start('token');
  const { layers } = registry.add('lab/app', 'v1', { 'linux/amd64': [10] });
  const url = ociUrl(registry, 'lab/app:v1');
  const auth = Buffer.from(`${user.username}:${user.password}`).toString('base64');
  const { kind } = kindOf(t, { auths: { [new URL(registry.url).host]: { auth } } });
  const { headers = {}, digest } = await kind.locate(url, { signal });
  t.is(digest, layers[0]?.digest);
  t.regex(headers['authorization'] ?? '', /^Bearer /);
  t.false(JSON.stringify(headers).includes(auth));
  const stranger = kindOf(t, { auths: { 'other.example': { auth } } });
  await t.throwsAsync(stranger.kind.locate(url, { signal }), { code: 'ERR_ORIGIN_REFUSED' });
  const broken = kindOf(t, { auths: { [new URL(registry.url).host]: {} } });
  await t.throwsAsync(broken.kind.locate(url, { signal }), { code: 'ERR_ORIGIN_REFUSED' });
  t.regex(broken.notes[0] ?? '', /asking as everybody may/);
});
