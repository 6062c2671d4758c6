import { createHash } from 'node:crypto';
import { lstat, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import { runCommand } from '../../bench/cluster/command.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import type { ProgramName } from '../../bench/cluster/installation.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const content = { seed: 40, length: 1024 * 1024 } as const;

/** Runs a program that must not come up; its exit code and the first line of its complaint. */
async function refusal(
  cluster: Cluster,
  program: ProgramName,
  args: readonly string[],
): Promise<{ readonly exitCode: number | undefined; readonly stderr: string }> {
  const { installation, guard, env } = cluster.workplace;
  // One that comes up after all is ended, and has no exit code then.
  const deadline = new AbortController();
  const argv = ['/usr/bin/timeout', '-s', 'KILL', '40', ...installation(program), ...args];
  const { exitCode, stderr } = await runCommand(argv, { guard, env, signal: deadline.signal });
  return { exitCode, stderr: stderr.trim() };
}

/** Everything below a folder: names, modes, lengths, bytes; sockets by their name alone. */
async function snapshot(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { mode, size, mtimeMs } = await lstat(path);
    const facts = entry.isDirectory() ? [mode] : [mode, size, mtimeMs];
    const bytes = entry.isFile() ? await readFile(path) : '';
    const digest = createHash('sha256').update(bytes).digest('hex');
    found[path.slice(folder.length)] = [...facts, digest].join(' ');
  }
  return found;
}

/** Arguments of a second dfdaemon, all places its own but for those given. */
async function daemonArgs(
  cluster: Cluster,
  own: { readonly data?: string; readonly socket?: string; readonly link?: number; proxy?: number },
): Promise<string[]> {
  const [link = 0, proxy = 0] = await freePorts('127.0.0.1', 2);
  const folder = await cluster.workplace.subfolder(`second-${link}`);
  const args = ['--data-dir', own.data ?? join(folder, 'data'), '--listen', '127.0.0.1'];
  args.push('--socket', own.socket ?? join(folder, 'd.sock'));
  args.push('--link-port', `${own.link ?? link}`, '--proxy-port', `${own.proxy ?? proxy}`);
  return args;
}

async function stillServes(host: ClusterHost, url: string): Promise<boolean> {
  const { exitCode } = await host.dfget(url);
  return exitCode === 0 && (await fileDigest(host.output)) === (await contentDigest(content));
}

test('a second dfdaemon on a data folder, socket or port that is taken says so, and the first goes on', async (t) => {
  await using origin = await startOrigin({ routes: { '/f': { content } } });
  await using taken = createServer().listen(0, '127.0.0.1');
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const host = cluster.host(1);
    t.true(await stillServes(host, origin.url('/f')));
    const { port } = taken.address() as AddressInfo;
    const file = join(cluster.workplace.folder, 'not-a-socket');
    await writeFile(file, 'precious');
    const data = join(host.folder, 'data');
    const token = join(cluster.workplace.folder, 'join-token');
    const cases = [
      { own: { data }, exitCode: 10, says: /--data-dir: another process uses .*host-1.data/ },
      {
        own: { socket: host.socket },
        exitCode: 1,
        says: /--socket: .* answers on .*dfdaemon\.sock/,
      },
      {
        own: { socket: file },
        exitCode: 1,
        says: /--socket: .*not-a-socket exists and is no socket/,
      },
      { own: { link: port }, exitCode: 1, says: new RegExp(`--link-port: .*${port}`) },
      { own: { proxy: port }, exitCode: 1, says: new RegExp(`--proxy-port: .*${port}`) },
    ];
    for (const { own, exitCode, says } of cases) {
      const supernode = ['--supernode', '127.0.0.1:9', '--join-token', `@${token}`];
      const args = [...(await daemonArgs(cluster, own)), ...supernode];
      const result = await refusal(cluster, 'dfdaemon', args);
      t.is(result.exitCode, exitCode, result.stderr);
      t.regex(result.stderr, says);
      t.true(await stillServes(host, origin.url('/f')), String(says));
    }
    t.is(await readFile(file, 'utf8'), 'precious');
  });
});

test('a second supernode on a data folder or port that is taken says so, and the first goes on', async (t) => {
  await using origin = await startOrigin({ routes: { '/f': { content } } });
  await using taken = createServer().listen(0, '127.0.0.1');
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const { port } = taken.address() as AddressInfo;
    const first = join(cluster.workplace.folder, 'supernode');
    const cases = [
      { own: { data: first }, says: /supernode/ },
      { own: { mesh: port }, says: new RegExp(`--mesh-port: .*${port}`) },
      { own: { link: port }, says: new RegExp(`--link-port: .*${port}`) },
      { own: { http: port }, says: new RegExp(`--http-port: .*${port}`) },
    ];
    for (const { own, says } of cases) {
      const [mesh = 0, link = 0, http = 0] = await freePorts('127.0.0.1', 3);
      const places = { data: await cluster.workplace.subfolder(`other-${mesh}`), mesh, link, http };
      const all = { ...places, ...own };
      const args = ['--data-dir', all.data, '--listen', '127.0.0.1'];
      args.push('--mesh-port', `${all.mesh}`, '--link-port', `${all.link}`);
      args.push('--http-port', `${all.http}`);
      const result = await refusal(cluster, 'supernode', args);
      t.true(result.exitCode === 1 || result.exitCode === 10, result.stderr);
      t.regex(result.stderr, says);
      t.notRegex(result.stderr, /\n\s+at /, 'no stack for what an operator can mend');
    }
    t.true(await stillServes(cluster.host(1), origin.url('/f')));
  });
});

test('data folders of a newer version are refused by every program, and left as they were', async (t) => {
  await using origin = await startOrigin({ routes: { '/f': { content } } });
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const host = cluster.host(1);
    const own = join(cluster.workplace.folder, 'dfget-data');
    t.true(await stillServes(host, origin.url('/f')));
    const output = join(host.folder, 'output');
    const dfget = [origin.url('/f'), '-O', output, '--overwrite', '--no-daemon', '--data-dir', own];
    t.is((await refusal(cluster, 'dfget', dfget)).exitCode, 0);
    await host.daemon.kill('SIGTERM');
    await cluster.supernode.kill('SIGTERM');

    const daemon = join(host.folder, 'data');
    const supernode = join(cluster.workplace.folder, 'supernode');
    const [mesh = 0, link = 0, http = 0] = await freePorts('127.0.0.1', 3);
    const ports = ['--mesh-port', `${mesh}`, '--link-port', `${link}`, '--http-port', `${http}`];
    const listen = ['--data-dir', supernode, '--listen', '127.0.0.1', ...ports];
    const cases = [
      {
        program: 'dfdaemon',
        data: daemon,
        part: 'store',
        args: await daemonArgs(cluster, { data: daemon }),
      },
      { program: 'supernode', data: supernode, part: 'store', args: listen },
      { program: 'supernode', data: supernode, part: 'state', args: listen },
      { program: 'dfget', data: own, part: 'store', args: dfget },
    ] as const;
    for (const { program, data, part, args } of cases) {
      await writeFile(join(data, part, 'FORMAT'), '3\n');
      const before = await snapshot(data);
      const result = await refusal(cluster, program, args);
      t.is(result.exitCode, 10, `${program}: ${result.stderr}`);
      t.regex(result.stderr, /another version/, program);
      t.deepEqual(await snapshot(data), before, program);
      await writeFile(join(data, part, 'FORMAT'), '1\n');
    }
  });
});

test('dfdaemon takes a socket that a killed one left behind', async (t) => {
  await using origin = await startOrigin({ routes: { '/f': { content } } });
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const host = cluster.host(1);
    await host.daemon.kill('SIGKILL');
    t.true((await lstat(host.socket)).isSocket());
    await host.daemon.start();
    t.true(await stillServes(host, origin.url('/f')));
  });
});

test('dfget without a daemon works beside another that holds its data folder, and beside no folder at all', async (t) => {
  const rate = 1024 * 1024;
  await using origin = await startOrigin({
    routes: { '/f': { content }, '/slow': { content, bytesPerSecond: rate } },
  });
  await withCluster(t, { hosts: 0 }, async (cluster) => {
    const { folder } = cluster.workplace;
    const data = join(folder, 'deep', 'data');
    const args = (path: string, output: string): string[] => {
      const url = origin.url(path);
      return [url, '-O', join(folder, output), '--no-daemon', '--data-dir', data];
    };
    const slow = refusal(cluster, 'dfget', args('/slow', 'slow'));
    const quick = await refusal(cluster, 'dfget', args('/f', 'quick'));
    t.is(quick.exitCode, 0, quick.stderr);
    t.is((await slow).exitCode, 0);
    for (const output of ['slow', 'quick']) {
      t.is(await fileDigest(join(folder, output)), await contentDigest(content));
    }
    await mkdir(join(folder, 'file'), { recursive: true });
    await writeFile(join(folder, 'file', 'data'), '');
    const blocked = [...args('/f', 'blocked').slice(0, -1), join(folder, 'file', 'data', 'x')];
    const result = await refusal(cluster, 'dfget', blocked);
    t.not(result.exitCode, 0);
    t.regex(result.stderr, /--data-dir/);
  });
});
