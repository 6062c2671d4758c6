import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { runCommand } from '../../bench/cluster/command.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { withCluster } from '../support/with-cluster.ts';
import { TestRegistry, user } from './test-registry.ts';

const KIB = 1024;

async function dfops(
  { workplace, apiUrl }: Cluster,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  const argv = [process.execPath, join(checkout, 'ops', 'cli', 'main.ts'), 'preheat', ...words];
  const { guard } = workplace;
  const all = { ...workplace.env, ODONATA_API: apiUrl, ...env };
  return runCommand(argv, { guard, env: all });
}

test.serial(
  'dfops preheat brings an image and a URL, waits for them, and tells how it went',
  async (t) => {
    await using registry = await TestRegistry.start('basic');
    const image = registry.add('lab/app', 'v1', {
      'linux/amd64': [400 * KIB],
      'linux/arm64': [10],
    });
    await withCluster(t, { hosts: 2 }, async (cluster) => {
      const login = join(cluster.workplace.folder, 'login');
      await writeFile(login, `${user.username}:${user.password}\n`, { mode: 0o600 });
      const wish = ['image', image.reference, '--to', 'all', '--wait'];
      const brought = await dfops(cluster, [...wish, '--credentials', `@${login}`]);
      t.is(brought.exitCode, 0, brought.stderr);
      t.regex(brought.stdout, /^\d+ done: .* to all: 2 of 2 hosts, 4 contents, /);

      const [, layer] = [image.configs[0], image.layers[0]];
      const url = `${registry.url}/v2/lab/app/blobs/${layer?.digest}`;
      const basic = `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`;
      const headers = join(cluster.workplace.folder, 'headers');
      await writeFile(headers, `Authorization: ${basic}\n`, { mode: 0o600 });
      const header = ['-H', `@${headers}`, '--digest', layer?.digest ?? ''];
      const json = await dfops(cluster, [
        'url',
        url,
        ...header,
        '--to',
        'idc=default',
        '--wait',
        '--json',
      ]);
      t.is(json.exitCode, 0, json.stderr);
      const shown = JSON.parse(json.stdout.trimEnd().split('\n').at(-1) ?? '');
      t.like(shown, { state: 'done', hosts: { total: 2, done: 2 }, bytes: { fromOrigin: 0 } });
      t.is(shown.results.length, 2);

      const logins = join(cluster.workplace.folder, 'auth.json');
      const auths = { [new URL(registry.url).host]: { auth: basic.slice('Basic '.length) } };
      await writeFile(logins, JSON.stringify({ auths }), { mode: 0o600 });
      const filed = await dfops(cluster, [...wish, '--registry-logins', logins]);
      t.is(filed.exitCode, 0, filed.stderr);
      const other = ['image', 'other.test/lab/app', '--to', 'all', '--registry-logins', logins];
      const unknown = await dfops(cluster, other);
      t.is(unknown.exitCode, 1);
      t.regex(unknown.stderr, /ERR_CONFIG: .*auth\.json: has no login for other\.test/);

      const refused = await dfops(cluster, wish);
      t.is(refused.exitCode, 2, 'the exit code of what the registry said');
      t.regex(refused.stderr, /ERR_ORIGIN_REFUSED/);

      const listed = await dfops(cluster, ['list', '--json']);
      const jobs = listed.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      t.deepEqual(
        jobs.map(({ state }) => state),
        ['done', 'done', 'done', 'failed'],
      );
      const one = await dfops(cluster, ['show', jobs[0].id]);
      t.regex(one.stdout, /from the seed|from peers/);
      t.is((await dfops(cluster, ['cancel', jobs[0].id])).exitCode, 0);
      t.is((await dfops(cluster, ['show', '12'])).exitCode, 1);
      for (const { stdout, stderr } of [brought, json, filed, refused, listed, one]) {
        t.false(`${stdout}${stderr}`.includes(user.password));
      }
    });
  },
);

test.serial(
  'dfops takes its key from a file or the environment, never from the command line',
  async (t) => {
    const key = 'a-key-of-a-test';
    await withCluster(t, { hosts: 0 }, async (cluster) => {
      const file = join(cluster.workplace.folder, 'key');
      await writeFile(file, `${key}\n`, { mode: 0o600 });
      t.is((await dfops(cluster, ['list'])).exitCode, 0, 'no key is asked for on this machine');
      t.is((await dfops(cluster, ['list', '--api-key', `@${file}`])).exitCode, 0);
      t.is((await dfops(cluster, ['list'], { ODONATA_API_KEY: key })).exitCode, 0);
      const told = await dfops(cluster, ['list', '--api-key', key]);
      t.is(told.exitCode, 1);
      t.regex(told.stderr, /ERR_USAGE: --api-key/);
      t.false(told.stderr.includes(key));
      await cluster.supernode.kill('SIGTERM');
      const gone = await dfops(cluster, ['list']);
      t.is(gone.exitCode, 7);
      t.regex(gone.stderr, /no supernode answers/);
    });
  },
);
