import test from 'ava';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AllowMap } from '../allow-map.ts';
import { parseManifest } from './package-manifest.ts';

const docs = join(import.meta.dirname, '../../../docs');
const head = 'name: web\nversion: 1.10\n';

async function shownIn(page: string): Promise<string[]> {
  const text = await readFile(join(docs, page), 'utf8');
  return [...text.matchAll(/```yaml\n([^`]*)```/g)].map(([, shown = '']) => shown);
}

test('parseManifest() takes the package.yaml that docs/packages.md shows', async (t) => {
  const shown = (await shownIn('packages.md')).find((text) => text.includes('install:')) ?? '';
  t.deepEqual(await parseManifest(shown, '/opt/web/versions/x'), {
    name: 'web',
    version: '1.4.2',
    install: ['/opt/web/versions/x/bin/prepare'],
    start: ['/opt/web/versions/x/bin/web', '--port', '8080'],
    stop: ['/opt/web/versions/x/bin/stop'],
    stopTimeoutMs: 10_000,
    health: {
      how: { argv: ['/opt/web/versions/x/bin/check'] },
      intervalMs: 500,
      timeoutMs: 30_000,
    },
    env: { PORT: '8080' },
  });
});

test('the file of a host may have what docs/calls-on-hosts.md and docs/packages.md show of packages', async (t) => {
  const shown = [...(await shownIn('calls-on-hosts.md')), ...(await shownIn('packages.md'))];
  const files = shown.filter((text) => /^packages:/m.test(text));
  t.is(files.length, 2);
  const { parse } = await import('yaml');
  for (const text of files) {
    const map = new AllowMap(parse(text), { defaultUser: 'nobody', socket: '/s' });
    t.true(map.names.includes('package.switch'));
  }
});

test('parseManifest() reads every value as a text', async (t) => {
  const manifest = await parseManifest(
    `${head}start: [run, 1e3, true, 0x10]\nenv: { A: 010 }`,
    '/p',
  );
  t.is(manifest.version, '1.10');
  t.deepEqual(manifest.start, ['/p/run', '1e3', 'true', '0x10']);
  t.deepEqual(manifest.env, { A: '010' });
  t.is(manifest.health, undefined);
});

test('parseManifest() names the field that is wrong', async (t) => {
  const cases: [string, RegExp][] = [
    ['', /^package\.yaml: /],
    ['- a', /^package\.yaml: \/: expected object/],
    ['name: web', /\/version: is missing/],
    ['name: Web\nversion: 1', /\/name: /],
    ['name: web\nversion: none', /\/version: /],
    [`${head}start: run --fast`, /\/start: expected array/],
    [`${head}start: []`, /\/start: /],
    [`${head}start: [../run]`, /\/start\/0: is no program of the package/],
    [`${head}start: [.]`, /\/start\/0: is no program of the package/],
    [`${head}start: [a/../..]`, /\/start\/0: is no program of the package/],
    [`${head}restart: [run]`, /\/restart: is not known/],
    [`${head}health: {}`, /\/health: needs exactly one/],
    [`${head}health: { command: [a], http: 'http://x/' }`, /\/health: needs exactly one/],
    [`${head}health: { http: 'https://x/' }`, /\/health\/http: /],
    [`${head}health: { command: [a], interval: 0s }`, /\/health\/interval: is no duration/],
    [`${head}health: { command: [a], timeout: 2h }`, /\/health\/timeout: is above/],
    [`${head}stopTimeout: 1h`, /\/stopTimeout: is above/],
    [`${head}env: { 'A=B': c }`, /\/env\/A=B: is no name/],
    [`${head}name: again`, /package\.yaml: Map keys must be unique/],
    [`${head}env: {`, /package\.yaml: /],
  ];
  for (const [text, message] of cases) {
    await t.throwsAsync(parseManifest(text, '/p'), { code: 'ERR_CONFIG', message }, text);
  }
});
