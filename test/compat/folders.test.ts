// dfget against real servers of folders and artifacts: nginx, Apache, Python, one that speaks S3, and docker-registry.
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { Cluster } from '../../bench/cluster/cluster.ts';
import type { DfgetResult } from '../../bench/cluster/dfget-run.ts';
import { outputOf } from '../../bench/cluster/command.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { seededBytes } from '../../bench/origin/content.ts';
import { makeImage } from '../../bench/registry/image.ts';
import { pushImage, startRegistry } from '../../bench/registry/registry-process.ts';
import { presignedGet } from '../../core/origin/s3/presign.ts';
import { addressOf } from '../../core/origin/s3/s3-url.ts';
import { FolderServers, S3_KEYS } from './folder-servers.ts';

const big = Buffer.from(seededBytes(31, 0, 700_000));
const tree = {
  'big file.bin': big,
  'conf/app.conf': 'listen 80\n',
  "conf/a+b&c=d;e'f #1.txt": 'odd name',
  'conf/deep/er/empty': '',
  'ünïcode.txt': 'ü',
};

interface Summary {
  readonly type: string;
  readonly done: number;
  readonly unchanged: number;
  readonly failed: number;
  readonly firstError?: { readonly code: string; readonly message: string };
}

let cluster: Cluster;
let servers: FolderServers;
let outputs = 0;
let at: { nginx: string; apache: { index: string; dav: string }; python: string; s3: string };

test.serial.before(async (t) => {
  t.timeout(300_000);
  // All that could be told of a secret is told.
  const debug = ['--log-level', 'debug'];
  cluster = await Cluster.start({ hosts: 2, supernodeArgs: debug, daemonArgs: () => debug });
  servers = await FolderServers.open(cluster.workplace);
  await servers.put(
    'tree',
    Object.fromEntries(Object.entries(tree).map(([path, content]) => [`pub/${path}`, content])),
  );
  const [nginx, apache, python, s3] = await Promise.all([
    servers.nginx('tree'),
    servers.apache('tree'),
    servers.python('tree'),
    servers.s3('lab-bucket'),
  ]);
  at = { nginx, apache, python, s3 };
});
test.afterEach.always((t) => {
  if (!t.passed) t.log(cluster.lastLogs());
});
test.after.always(async () => {
  await servers?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

function output(): string {
  outputs += 1;
  return join(cluster.workplace.folder, `folder-${outputs}`);
}

async function fetchFolder(
  host: number,
  url: string,
  options: { readonly out?: string; readonly args?: readonly string[] } = {},
): Promise<DfgetResult & { summary: Summary; out: string }> {
  const { out = output(), args = [] } = options;
  const ran = await cluster.host(host).dfget(url, { output: out, args: ['-r', ...args] });
  const summary = ran.events.at(-1) as unknown as Summary | undefined;
  if (summary?.type !== 'summary') throw new Error(`no summary: ${ran.stdout} ${ran.stderr}`);
  return { ...ran, summary, out };
}

async function contentOf(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === '.dfget-folder') continue;
    const path = join(entry.parentPath, entry.name);
    found[path.slice(folder.length + 1)] = (await readFile(path)).toString('base64');
  }
  return found;
}

const expected = Object.fromEntries(
  Object.entries(tree).map(([path, content]) => [path, Buffer.from(content).toString('base64')]),
);

test('folders of nginx, Apache and Python come whole, and what two hosts want leaves nginx once', async (t) => {
  const { nginx, apache, python } = at;
  for (const base of [nginx, apache.index, python]) {
    const { summary, out, exitCode } = await fetchFolder(1, `${base}/pub/`);
    t.is(exitCode, 0, JSON.stringify(summary));
    t.deepEqual(await contentOf(out), expected, base);
  }
  const second = await fetchFolder(2, `${nginx}/pub`);
  t.deepEqual(await contentOf(second.out), expected);
  t.is(await servers.sentByNginx('/pub/big file.bin'), big.length);
  const again = await fetchFolder(2, `${nginx}/pub`, { out: second.out });
  t.like(again.summary, { done: 0, unchanged: Object.keys(tree).length, failed: 0 });
});

test('WebDAV of Apache behind a password', async (t) => {
  const { dav } = at.apache;
  const { summary, out, exitCode } = await fetchFolder(1, `${dav}/pub/`);
  t.is(exitCode, 0, JSON.stringify(summary));
  t.deepEqual(await contentOf(out), expected);
  const again = await fetchFolder(1, `${dav}/pub/`, { out });
  t.like(again.summary, { done: 0, unchanged: Object.keys(tree).length });
  const refused = await fetchFolder(1, `${dav.replace('secret', 'wrong')}/pub/`);
  t.is(refused.exitCode, 2);
});

test('S3: signed by dfget, refused to others, and no key is anywhere else', async (t) => {
  const endpoint = at.s3;
  const keys = join(servers.folder, 'keys');
  await writeFile(keys, S3_KEYS, { mode: 0o600 });
  const { guard, env } = cluster.workplace;
  for (const path of Object.keys(tree)) {
    const file = join(servers.folder, 'tree', 'pub', path);
    const url = `${endpoint}/lab-bucket/pub/${path.split('/').map(encodeURIComponent).join('/')}`;
    const words = [
      '-H',
      'x-amz-content-sha256: UNSIGNED-PAYLOAD',
      '--aws-sigv4',
      'aws:amz:us-east-1:s3',
      '--user',
      S3_KEYS,
      '-fsST',
      file,
      url,
    ];
    await outputOf(['curl', ...words], { guard, env });
  }
  const args = ['--s3-endpoint', endpoint, '--s3-credentials', `@${keys}`];
  const all = await fetchFolder(1, 's3://lab-bucket/pub', { args });
  t.is(all.exitCode, 0, JSON.stringify(all.summary));
  t.deepEqual(await contentOf(all.out), expected);
  const again = await fetchFolder(1, 's3://lab-bucket/pub/', { args, out: all.out });
  t.like(again.summary, { done: 0, unchanged: Object.keys(tree).length });

  const one = 's3://lab-bucket/pub/big file.bin';
  const second = await cluster.host(2).dfget(one, { output: output(), args });
  t.is(second.exitCode, 0, second.stderr);
  t.is(second.done?.fromOrigin, 0, 'from the mesh, after S3 said yes to this signature too');
  const wrongKeys = join(servers.folder, 'wrong');
  await writeFile(wrongKeys, 'NOBODY:wrong-secret', { mode: 0o600 });
  const wrong = ['--s3-endpoint', endpoint, '--s3-credentials', `@${wrongKeys}`];
  const refused = await cluster.host(2).dfget(one, { output: output(), args: wrong });
  t.is(refused.exitCode, 2, refused.stdout);

  const told = [all, again, second, refused].map(({ stdout, stderr }) => stdout + stderr);
  const logs = [cluster.supernode, cluster.host(1).daemon, cluster.host(2).daemon];
  const written = await Promise.all(logs.map(async ({ logFile }) => readFile(logFile, 'utf8')));
  for (const text of [...told, ...written])
    t.notRegex(text, /X-Amz-Signature|S3RVER:S3RVER|wrong-secret/);
});

function signatureOf(url: string): string | null {
  return new URL(url).searchParams.get('X-Amz-Signature');
}

const SIGN_BY_BOTOCORE = `
import datetime, json, sys
from unittest import mock
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
for case in json.load(open(sys.argv[1])):
    keys = Credentials(case['accessKey'], case['secretKey'], case.get('sessionToken'))
    auth = botocore.auth.S3SigV4QueryAuth(keys, 's3', case['region'], expires=case['validSeconds'])
    request = AWSRequest('GET', case['url'], headers=case['headers'])
    with mock.patch('botocore.auth.datetime') as clock:
        clock.datetime.utcnow.return_value = datetime.datetime.utcfromtimestamp(case['atMs'] / 1000)
        auth.add_auth(request)
    print(request.url)
`;

test('signatures are those that the library of Amazon makes', async (t) => {
  const keys = { accessKey: 'AKIDEXAMPLE', secretKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' };
  const use = {
    region: 'eu-west-1',
    atMs: Date.parse('2026-11-21T10:15:00Z'),
    validSeconds: 21_600,
  };
  const place = { region: use.region };
  const addresses = [
    addressOf({ bucket: 'lab', key: "a b/ü'(1)*!~+=&;,@$:[].txt" }, place),
    addressOf({ bucket: 'a.b', key: 'k//x', versionId: '3/L4kqtJlcpXro+=' }, place),
    addressOf({ bucket: 'lab', key: 'k' }, { ...place, endpoint: 'http://127.0.0.1:9000' }),
    new URL(
      'https://lab.s3.eu-west-1.amazonaws.com/?list-type=2&prefix=a%20b%2F&continuation-token=1%2F%2B%3D',
    ),
  ];
  const cases = addresses.flatMap(({ href }) => [
    { ...keys, ...use, url: href, headers: {} },
    {
      ...keys,
      ...use,
      url: href,
      headers: { 'x-amz-request-payer': 'requester' },
      sessionToken: 'tok/en+==',
    },
  ]);
  const file = join(servers.folder, 'cases.json');
  await writeFile(file, JSON.stringify(cases));
  const { guard, env } = cluster.workplace;
  const theirs = await outputOf(['/usr/bin/python3', '-c', SIGN_BY_BOTOCORE, file], { guard, env });
  const ours = cases.map(({ url, headers, ...facts }) => {
    const { accessKey, secretKey, region, atMs, validSeconds } = facts;
    const sessionToken = 'sessionToken' in facts ? facts.sessionToken : undefined;
    const credentials = { accessKey, secretKey, sessionToken };
    return presignedGet(new URL(url), { credentials, region, atMs, validSeconds, headers });
  });
  t.deepEqual(ours.map(signatureOf), theirs.trim().split('\n').map(signatureOf));
});

test('oci: a layer of an artifact, and all of them', async (t) => {
  const folder = await cluster.workplace.subfolder('oci');
  const [port = 0] = await freePorts('127.0.0.1', 1);
  await using registry = await startRegistry(cluster.workplace, { name: 'oci', folder, port });
  t.true(registry.isRunning);
  const layers = [
    { kind: 'random', bytes: 400_000 },
    { kind: 'random', bytes: 300_000 },
  ] as const;
  const image = await makeImage(folder, { seed: 3, layers });
  await pushImage(`http://127.0.0.1:${port}`, image, { repository: 'lab/model', tag: 'v1' });
  const url = `oci://127.0.0.1:${port}/lab/model`;
  const { out, exitCode, summary } = await fetchFolder(1, `${url}:v1`);
  t.is(exitCode, 0, JSON.stringify(summary));
  const names = (await readdir(out)).filter((name) => name !== '.dfget-folder').toSorted();
  t.deepEqual(names, image.layers.map(({ digest }) => digest.replace(':', '-')).toSorted());
  const digest = image.layers[0]?.digest ?? '';
  const one = await cluster.host(2).dfget(`${url}@${digest}`, { output: output() });
  t.is(one.done?.fromOrigin, 0, one.stdout);
  t.is(one.done?.digest, digest);
  const several = await cluster.host(2).dfget(`${url}:v1`, { output: output() });
  t.is(several.exitCode, 1);
});
