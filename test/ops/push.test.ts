import { randomBytes } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { create } from 'tar';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { runCommand } from '../../bench/cluster/command.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const KEY = 'a-key-of-the-test-and-of-nobody-else';
const BYTES = 3_000_000;

async function dfops(
  cluster: Cluster,
  words: readonly string[],
  key = KEY,
): Promise<CommandResult> {
  const argv = [process.execPath, join(checkout, 'ops', 'cli', 'main.ts'), ...words];
  const { guard, env } = cluster.workplace;
  const all = { ...env, ODONATA_API: cluster.apiUrl, ODONATA_API_KEY: key };
  return runCommand(argv, { guard, env: all });
}

async function upload(
  cluster: Cluster,
  digest: string,
  { content, key = KEY }: { readonly content: Uint8Array; readonly key?: string },
): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await fetch(`${cluster.apiUrl}/api/v1/blobs/${digest}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${key}` },
    body: Buffer.from(content),
  });
  return { status: response.status, body: await response.json() };
}

test.serial('a file is uploaded, fetched through the mesh, and put on hosts', async (t) => {
  await using files = await Workplace.open();
  const keys = join(files.folder, 'keys');
  await writeFile(keys, `${KEY}\n`, { mode: 0o600 });
  const web = async (number: number): Promise<string> => files.subfolder(`web-${number}`);
  const rules = await Promise.all(
    [1, 2].map(async (number) => {
      const rule = join(files.folder, `commands-${number}.yaml`);
      const runAs = userInfo().username;
      const entry = { folder: await web(number), runAs };
      const map = { files: [entry], scripts: { runAs }, refuse: ['\\bmkfs'] };
      await writeFile(rule, JSON.stringify(map), { mode: 0o600 });
      return rule;
    }),
  );
  const options = {
    hosts: 2,
    supernodeArgs: ['--api-key-file', keys],
    daemonArgs: (number: number) => ['--call-commands', rules[number - 1] ?? ''],
  };
  await withCluster(t, options, async (cluster) => {
    const file = join(files.folder, 'content');
    await writeFile(file, randomBytes(BYTES));
    const digest = await fileDigest(file);
    const content = await readFile(file);
    await uploads(t, cluster, { digest, content });

    // One host by itself, and the other when it is pushed to both: the origin is read once.
    const url = `http://blobs.odonata.invalid/${digest}`;
    const first = cluster.host(1);
    const got = await first.dfget(url, { args: ['--digest', digest] });
    t.is(got.exitCode, 0, got.stderr);
    t.is(await fileDigest(first.output), digest);
    for (const number of [1, 2]) {
      const path = join(await web(number), 'index.html');
      const peer = (await cluster.host(number).status()).peer;
      const words = ['push', file, '--to', `host=${peer}`, '--path', path, '--mode', '0640'];
      const pushed = await dfops(cluster, words);
      t.is(pushed.exitCode, 0, pushed.stdout + pushed.stderr);
      t.is(await fileDigest(path), digest);
      t.is((await stat(path)).mode & 0o777, 0o640);
    }
    const task = await fetch(`${cluster.apiUrl}/api/v1/tasks/${taskIdOf({ url, digest })}`, {
      headers: { authorization: `Bearer ${KEY}` },
    });
    t.like(await task.json(), { versions: [{ seed: { originBytes: BYTES } }] });

    const empty = join(files.folder, 'empty');
    await writeFile(empty, '');
    const emptied = join(await web(2), 'empty');
    const nothing = await dfops(cluster, ['push', empty, '--to', 'all', '--path', emptied]);
    t.regex(nothing.stdout, /: ok after/, nothing.stdout + nothing.stderr);
    t.is((await stat(emptied)).size, 0);

    // No host lets it be put there, and all are asked.
    const elsewhere = join(files.folder, 'elsewhere');
    const refused = await dfops(cluster, ['push', file, '--to', 'all', '--path', elsewhere]);
    t.not(refused.exitCode, 0);
    t.regex(refused.stdout, /refused .*ERR_FORBIDDEN/);
    await t.throwsAsync(stat(elsewhere), { code: 'ENOENT' });

    await withoutRights(t, cluster, { digest, content });
    await packages(t, cluster, files);
    await scripts(t, cluster, files);
  });
});

/** A script runs on all hosts with its arguments, unless a host or a policy finds in it what it does not let pass. */
async function scripts(t: ExecutionContext, cluster: Cluster, files: Workplace): Promise<void> {
  const script = join(files.folder, 'script');
  const run = async (text: string, words: readonly string[], key?: string) => {
    await writeFile(script, `#!/bin/sh\n${text}\n`);
    return dfops(cluster, ['script', script, '--on', 'all', ...words], key);
  };
  const ran = await run('printf "%s|" "$@"', ['--', '$(id)', 'a b']);
  t.is(ran.exitCode, 0, ran.stderr);
  t.is(ran.stdout.match(/\$\(id\)\|a b\|/g)?.length, 2, ran.stdout);
  const refused = await run('true || mkfs /dev/sda', []);
  t.regex(refused.stdout + refused.stderr, /this host refuses line 2 of the script/);
  const made = await dfops(cluster, ['keys', 'create', 'ann']);
  const put = async (name: string, policy: object): Promise<void> => {
    const file = join(files.folder, `${name}.json`);
    await writeFile(file, JSON.stringify({ principals: ['ann'], ...policy }));
    const done = await dfops(cluster, ['policies', 'put', name, '--file', file]);
    t.is(done.exitCode, 0, done.stderr);
  };
  await put('may', { effect: 'allow', verbs: ['call.run', 'blob.put'] });
  await put('not', { effect: 'forbid', verbs: ['call.run'], lines: ['\\breboot'] });
  const denied = await run('echo now; reboot', [], made.stdout.trim());
  t.regex(denied.stderr, /ERR_DENIED: .*policy not forbids it/);
}

/** What is uploaded is what it says it is, or nothing. */
async function uploads(
  t: ExecutionContext,
  cluster: Cluster,
  { digest, content }: { readonly digest: string; readonly content: Uint8Array },
): Promise<void> {
  const other = `sha256:${'0'.repeat(64)}`;
  t.like(await upload(cluster, other, { content }), {
    body: { error: { code: 'ERR_DIGEST_MISMATCH' } },
  });
  t.is((await cluster.host(1).dfget(`http://blobs.odonata.invalid/${other}`)).exitCode, 2);
  t.like(await upload(cluster, digest, { content }), { status: 201, body: { digest } });
  // On the host itself the name leads nowhere, whatever its name servers say.
  const without = await cluster.host(1).dfget(`http://blobs.odonata.invalid/${digest}`, {
    args: ['--no-daemon'],
  });
  t.like(without.failed, { code: 'ERR_ORIGIN_FORBIDDEN' });
}

/** Neither content nor packages come from a principal whom no policy lets. */
async function withoutRights(
  t: ExecutionContext,
  cluster: Cluster,
  { digest, content }: { readonly digest: string; readonly content: Uint8Array },
): Promise<void> {
  const made = await dfops(cluster, ['keys', 'create', 'bot']);
  t.is(made.exitCode, 0, made.stderr);
  const key = made.stdout.trim();
  t.like(await upload(cluster, digest, { content, key }), {
    status: 403,
    body: { error: { code: 'ERR_DENIED' } },
  });
  const listed = await dfops(cluster, ['packages', 'list'], key);
  t.regex(listed.stderr, /ERR_DENIED/);
}

/** A version is published once, and never becomes another. */
async function packages(t: ExecutionContext, cluster: Cluster, files: Workplace): Promise<void> {
  const folder = await files.subfolder('package');
  await mkdir(join(folder, 'bin'));
  await writeFile(join(folder, 'package.yaml'), 'name: web\nversion: 1.4.2\nstart: [bin/web]\n');
  const pack = async (text: string): Promise<string> => {
    await writeFile(join(folder, 'bin', 'web'), text, { mode: 0o755 });
    const file = join(files.folder, 'web.tgz');
    await create({ cwd: folder, file, gzip: true }, ['package.yaml', 'bin']);
    return file;
  };
  const file = await pack('#!/bin/sh\n');
  const published = await dfops(cluster, ['packages', 'publish', file, '--json']);
  t.is(published.exitCode, 0, published.stderr);
  const digest = await fileDigest(file);
  t.like(JSON.parse(published.stdout), {
    name: 'web',
    version: '1.4.2',
    digest,
    url: `http://blobs.odonata.invalid/${digest}`,
    publishedBy: 'operator',
  });
  const again = await dfops(cluster, ['packages', 'publish', file, '--json']);
  t.is(again.stdout, published.stdout, 'the same is no change');
  const other = await dfops(cluster, ['packages', 'publish', await pack('#!/bin/sh\nexit 1\n')]);
  t.regex(other.stderr, /ERR_CONFLICT: web 1\.4\.2 is published already/);
  const listed = await dfops(cluster, ['packages', 'list', 'web', '--json']);
  t.is(listed.stdout, published.stdout);
}
