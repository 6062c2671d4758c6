import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { create } from 'tar';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { findUser, ownUser } from '../../ops/agent/local-user.ts';
import { FolderServer } from '../support/folder-server.ts';
import { until } from '../support/until.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';
import { operatorKey, runDfops } from '../support/dfops.ts';

/** How a call on the only host ended. */
interface Ended {
  readonly outcome: string;
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

async function call(cluster: Cluster, command: string, args: readonly string[]): Promise<Ended> {
  const words = ['call', command, '--on', 'all', '--wait', '--json', '--', ...args];
  const { stdout } = await runDfops(cluster, words);
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const result = lines.find(({ type }) => type === 'result');
  const written = (stream: string): string =>
    lines
      .filter((line) => line['type'] === 'output' && line['stream'] === stream)
      .map(({ data }) => Buffer.from(String(data), 'base64').toString())
      .join('');
  return {
    outcome: String(result?.['outcome']),
    exitCode: result?.['exitCode'] as number | undefined,
    stdout: written('stdout'),
    stderr: written('stderr'),
  };
}

/** A web service of this version; one that is not well answers 500. */
async function packed(
  folder: string,
  { version, port, status }: { version: string; port: number; status: number },
): Promise<string> {
  const root = join(folder, version);
  await mkdir(join(root, 'bin'), { recursive: true });
  await writeFile(
    join(root, 'package.yaml'),
    `name: web
version: ${version}
start: [bin/web, ${port}]
health: { http: 'http://127.0.0.1:${port}/', interval: 100ms }
`,
  );
  await writeFile(
    join(root, 'bin', 'web'),
    `#!${process.execPath}
process.getBuiltinModule('node:http').createServer((request, response) => {
  response.writeHead(${status}).end('${version}');
}).listen(Number(process.argv[2]), '127.0.0.1');
`,
    { mode: 0o755 },
  );
  const file = join(folder, `${version}.tgz`);
  await create({ file, cwd: root, gzip: true }, ['.']);
  return file;
}

/** Processes that work in `folder` or below it. */
function processesIn(folder: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => `${cwdOf(pid)}/`.startsWith(`${folder}/`));
}

function cwdOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    // It has ended.
    return '';
  }
}

test.serial(
  'a package is installed on a host, switched to, and a bad one is taken back',
  async (t) => {
    await using files = await Workplace.open();
    await chmod(files.folder, 0o755);
    const keys = join(files.folder, 'keys');
    await writeFile(keys, `${operatorKey}\n`, { mode: 0o600 });
    // As root the service is nobody's, who may not use the socket of the dfdaemon.
    const isRoot = process.getuid?.() === 0;
    const user = isRoot ? await findUser('nobody') : ownUser();
    const site = join(files.folder, 'site');
    const etc = join(files.folder, 'etc');
    for (const folder of [site, etc]) {
      await mkdir(folder, { mode: 0o755 });
      if (isRoot) await chown(folder, user.uid, user.gid);
    }
    const rules = join(files.folder, 'commands.yaml');
    await writeFile(
      rules,
      `packages:\n  web: { folder: ${site}, runAs: ${user.name} }\nfiles:\n  - { folder: ${etc}, runAs: ${user.name} }\n`,
      { mode: 0o600 },
    );
    const [port = 0] = await freePorts('127.0.0.1', 1);
    const packages = new Map<string, { path: string; digest: string }>();
    await using origin = await FolderServer.start();
    for (const [version, status] of [
      ['1.0', 200],
      ['2.0', 500],
    ] as const) {
      const file = await packed(files.folder, { version, port, status });
      origin.files.set(`/${version}.tgz`, await readFile(file));
      packages.set(version, { path: `/${version}.tgz`, digest: await fileDigest(file) });
    }
    const answer = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/`)).text();
    const options = {
      hosts: 1,
      supernodeArgs: ['--api-key-file', keys],
      daemonArgs: () => ['--call-commands', rules],
    };
    await withCluster(t, options, async (cluster) => {
      const install = async (version: string): Promise<Ended> => {
        const { path = '', digest = '' } = packages.get(version) ?? {};
        return call(cluster, 'package.install', ['web', version, origin.url(path), digest]);
      };
      const switchTo = async (version: string): Promise<Ended> =>
        call(cluster, 'package.switch', ['web', version, '10000']);
      try {
        const installed = await install('1.0');
        t.is(installed.outcome, 'ok', installed.stderr);
        t.deepEqual(JSON.parse(installed.stdout), { name: 'web', version: '1.0', current: null });
        t.deepEqual(processesIn(site), []);
        const switched = await switchTo('1.0');
        t.is(switched.outcome, 'ok', switched.stderr);
        t.deepEqual(JSON.parse(switched.stdout), { name: 'web', current: '1.0', former: null });
        t.is(await answer(), '1.0');
        const [pid = 0] = processesIn(site);
        t.regex(
          readFileSync(`/proc/${pid}/status`, 'utf8'),
          new RegExp(`^Uid:\\t${user.uid}\\t`, 'm'),
        );
        t.is((await lstat(join(site, 'current'))).uid, user.uid);

        // The host keeps it through the death of its dfdaemon.
        await cluster.host(1).daemon.kill('SIGKILL');
        await cluster.host(1).daemon.start();
        await cluster.connected(cluster.host(1));
        t.is(await answer(), '1.0');
        t.deepEqual(JSON.parse((await switchTo('1.0')).stdout), {
          name: 'web',
          current: '1.0',
          former: '1.0',
        });
        t.deepEqual(processesIn(site), [pid], 'what runs already is left alone');

        // As after a restart of the machine: what ran is started with the dfdaemon.
        await cluster.host(1).daemon.kill('SIGKILL');
        process.kill(pid, 'SIGKILL');
        await cluster.host(1).daemon.start();
        await eventually('the service', async () => answer().catch(() => undefined), {
          withinMs: 180_000,
        });
        t.is(await answer(), '1.0');
        await cluster.connected(cluster.host(1));

        const second = await install('2.0');
        t.deepEqual(JSON.parse(second.stdout), { name: 'web', version: '2.0', current: '1.0' });
        const failed = await switchTo('2.0');
        t.like(failed, { outcome: 'failed', exitCode: 3 }, failed.stderr);
        t.deepEqual(JSON.parse(failed.stdout), { name: 'web', current: '1.0', former: '1.0' });
        t.regex(failed.stderr, /web 2\.0: it was not healthy within 10000 ms: /);
        t.is(await answer(), '1.0');
        t.regex(await readlink(join(site, 'current')), /^versions\/1\.0-[0-9a-f]{12}$/);

        // The host dies while it waits for what never becomes healthy, and is told to go back when it is there again.
        const hanging = call(cluster, 'package.switch', ['web', '2.0', '3600000']);
        await until(() => processesIn(site).some((found) => cwdOf(found).includes('/2.0-')));
        await cluster.host(1).daemon.kill('SIGKILL');
        await cluster.host(1).daemon.start();
        await cluster.connected(cluster.host(1));
        t.is((await hanging).outcome, 'unknown');
        const back = await switchTo('1.0');
        t.is(back.outcome, 'ok', back.stderr);
        t.deepEqual(JSON.parse(back.stdout), { name: 'web', current: '1.0', former: '1.0' });
        t.is(await answer(), '1.0');
        t.is(processesIn(site).length, 1);

        const wrong = await call(cluster, 'package.install', [
          'web',
          '3.0',
          origin.url('/1.0.tgz'),
          `sha256:${'0'.repeat(64)}`,
        ]);
        t.is(wrong.outcome, 'failed');
        t.regex(wrong.stderr, /ERR_DIGEST_MISMATCH/);

        const put = await call(cluster, 'file.put', [
          origin.url('/1.0.tgz'),
          packages.get('1.0')?.digest ?? '',
          join(etc, 'app.bin'),
          '0640',
          '-',
        ]);
        t.is(put.outcome, 'ok', put.stderr);
        t.is(await fileDigest(join(etc, 'app.bin')), packages.get('1.0')?.digest ?? '');
        const { mode, uid } = await lstat(join(etc, 'app.bin'));
        t.deepEqual([mode & 0o7777, uid], [0o640, user.uid]);

        const none = await switchTo('none');
        t.deepEqual(JSON.parse(none.stdout), { name: 'web', current: null, former: '1.0' });
        t.deepEqual(processesIn(site), []);
      } finally {
        for (const pid of processesIn(site)) process.kill(pid, 'SIGKILL');
      }
    });
  },
);
