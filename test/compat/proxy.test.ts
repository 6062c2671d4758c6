// apt, npm, curl, pip's way of asking, and git through the forward proxy of real daemons.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { Cluster } from '../../bench/cluster/cluster.ts';
import type { CommandResult } from '../../bench/cluster/command.ts';
import { freePorts } from '../../bench/cluster/free-ports.ts';
import { seededBytes } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import { makeCertificate } from './certificate.ts';
import { runClient, succeeded } from './clients.ts';
import { makeDebianRepository, privateApt } from './debian-repository.ts';
import { makeGitRepository } from './git-repository.ts';
import { makeNpmPackage } from './npm-registry.ts';

const MIB = 1024 * 1024;

interface ProxyLab {
  readonly cluster: Cluster;
  readonly origin: FaultOrigin;
  /** Where a tunnel may lead to. */
  readonly tlsPort: number;
  /** `ADDRESS:PORT` of the proxy of a host. */
  readonly proxy: (host: number) => Promise<string>;
  /** A folder of its own. */
  readonly folder: () => Promise<string>;
  /** Runs a client that knows no proxy but by its arguments. */
  readonly run: (
    argv: readonly string[],
    more?: { env?: NodeJS.ProcessEnv; cwd?: string },
  ) => Promise<CommandResult>;
}

let proxies: ProxyLab | undefined;
const stack = new AsyncDisposableStack();

test.serial.before(async (t) => {
  t.timeout(300_000);
  const origin = stack.use(await startOrigin());
  const [tlsPort = 0] = await freePorts('127.0.0.1', 1);
  const daemonArgs = (): string[] => ['--proxy-connect-port', `${tlsPort}`];
  const cluster = stack.use(await Cluster.start({ hosts: 2, daemonArgs }));
  let folders = 0;
  const unset = Object.fromEntries(
    Object.keys(process.env)
      .filter((name) => /_proxy$|^(?:GIT|SSL|NPM_CONFIG|CURL)_/i.test(name))
      .map((name) => [name, undefined]),
  );
  proxies = {
    cluster,
    origin,
    tlsPort,
    proxy: async (host) => {
      const { address } = cluster.host(host);
      const { proxyPort } = (await cluster.host(host).status()) as { proxyPort?: number };
      return `${address}:${proxyPort ?? 0}`;
    },
    folder: async () => cluster.workplace.subfolder(`client-${(folders += 1)}`),
    run: async (argv, more = {}) =>
      runClient(argv, {
        workplace: cluster.workplace,
        ...more,
        env: { ...unset, ...more.env },
      }),
  };
});

test.afterEach.always((t) => {
  if (!t.passed && proxies !== undefined) t.log(proxies.cluster.lastLogs());
});

test.after.always(async () => stack.disposeAsync());

function lab(): ProxyLab {
  if (proxies === undefined) throw new TypeError('the lab was never started');
  return proxies;
}

function serve(origin: FaultOrigin, files: Readonly<Record<string, Buffer>>): void {
  for (const [path, bytes] of Object.entries(files)) {
    const encoded = path.replaceAll('+', '%2b');
    for (const name of new Set([path, encoded])) origin.set(name, { content: { bytes } });
  }
}

test('apt-get updates and installs through the proxies of two hosts; packages leave the origin once', async (t) => {
  const { cluster, origin, proxy, folder, run } = lab();
  const repository = await makeDebianRepository(cluster.workplace, {
    packages: 4,
    bytes: 3 * MIB,
  });
  serve(origin, repository.files);
  for (const host of [1, 2]) {
    const place = { repository: origin.url('/'), proxy: await proxy(host) };
    const { argv, root, config } = await privateApt(await folder(), place);
    const env = { APT_CONFIG: config, DEBIAN_FRONTEND: 'noninteractive' };
    succeeded(await run([...argv, 'update'], { env }));
    const [first = ''] = repository.packages;
    succeeded(await run([...argv, 'install', '-y', first], { env }));
    const got = await readFile(join(root, repository.installed.path));
    t.true(got.equals(repository.installed.content));
  }
  for (const path of Object.keys(repository.files).filter((name) => name.endsWith('.deb'))) {
    const sent = origin.stats(path.replaceAll('+', '%2b')).bodyBytes;
    t.is(sent, repository.files[path]?.length ?? 0, path);
  }
});

test('npm installs through the proxies of two hosts; the tarball leaves the registry once', async (t) => {
  const { cluster, origin, proxy, folder, run } = lab();
  const packed = await makeNpmPackage(cluster.workplace, 4 * MIB);
  serve(origin, {
    [`/${packed.name}`]: packed.document(origin.url('')),
    [packed.tarballPath]: packed.tarball,
  });
  for (const host of [1, 2]) {
    const cwd = await folder();
    const words = ['--registry', origin.url('/'), '--proxy', `http://${await proxy(host)}`];
    const quiet = [
      '--no-audit',
      '--no-fund',
      '--no-update-notifier',
      '--cache',
      join(cwd, 'cache'),
    ];
    succeeded(
      await run(['npm', 'install', packed.name, '--prefix', cwd, ...words, ...quiet], { cwd }),
    );
    const got = await readFile(join(cwd, 'node_modules', packed.name, 'data.bin'));
    t.true(got.equals(packed.data));
  }
  t.is(origin.stats(packed.tarballPath).bodyBytes, packed.tarball.length);
});

test('ranged downloads as pip and curl make them get the very bytes, of shared files and of others', async (t) => {
  const { origin, proxy, folder, run } = lab();
  const bytes = seededBytes(600, 0, 5 * MIB + 123);
  const paths = ['/packages/odonata_compat-1.0-py3-none-any.whl', '/plain/file.bin'];
  serve(origin, Object.fromEntries(paths.map((path) => [path, bytes])));
  const ranges: readonly (readonly [string, number, number])[] = [
    ['-10240', bytes.length - 10_240, bytes.length],
    ['0-0', 0, 1],
    ['65536-131071', 65_536, 131_072],
    [`${3 * MIB - 5}-${3 * MIB + 5}`, 3 * MIB - 5, 3 * MIB + 6],
    [`${5 * MIB}-`, 5 * MIB, bytes.length],
    [`${5 * MIB}-${9 * MIB}`, 5 * MIB, bytes.length],
  ];
  for (const host of [1, 2]) {
    for (const path of paths) {
      const cwd = await folder();
      const curl = ['curl', '-sS', '--noproxy', '', '-x', `http://${await proxy(host)}`];
      for (const [range, start, end] of ranges) {
        // The origin here knows no suffixes; only what the mesh holds can be cut so.
        if (range.startsWith('-') && path === '/plain/file.bin') continue;
        const head = ['-D', join(cwd, 'head'), '-o', join(cwd, 'body'), '-r', range];
        succeeded(await run([...curl, ...head, origin.url(path)]));
        const text = await readFile(join(cwd, 'head'), 'latin1');
        t.regex(text, /^HTTP\/1\.1 206/, `${path} ${range}`);
        t.regex(text, new RegExp(`content-range: bytes ${start}-${end - 1}/${bytes.length}`, 'i'));
        t.true((await readFile(join(cwd, 'body'))).equals(bytes.subarray(start, end)), range);
      }
      const beyond = [...curl, '-o', '/dev/null', '-w', '%{http_code}', '-r', `${9 * MIB}-`];
      t.is((await run([...beyond, origin.url(path)])).stdout, '416');
      const resumed = join(cwd, 'resumed');
      succeeded(await run([...curl, '-r', `0-${MIB - 1}`, '-o', resumed, origin.url(path)]));
      t.is((await stat(resumed)).size, MIB);
      succeeded(await run([...curl, '-C', '-', '-o', resumed, origin.url(path)]));
      t.true((await readFile(resumed)).equals(bytes));
    }
  }
});

test('git clones over HTTPS through a tunnel', async (t) => {
  const { cluster, proxy, folder, run, tlsPort: port } = lab();
  const repository = await makeGitRepository(cluster.workplace);
  const subject = 'IP:127.0.0.1';
  const made = await makeCertificate(cluster.workplace, { name: 'git-server', subject });
  const { keyFile, certificateFile: certificate } = made;
  const tls = { key: await readFile(keyFile, 'utf8'), cert: await readFile(certificate, 'utf8') };
  await using secure = await startOrigin({ tls, port });
  serve(secure, repository.files);
  const cwd = await folder();
  const url = secure.url('/repo.git');
  const trust = ['-c', `http.sslCAInfo=${certificate}`];
  const through = ['-c', `http.proxy=http://${await proxy(1)}`];
  succeeded(await run(['git', ...trust, ...through, 'clone', '-q', url, join(cwd, 'clone')]));
  const { stdout } = await run(['git', '-C', join(cwd, 'clone'), 'rev-parse', 'HEAD']);
  t.is(stdout.trim(), repository.head);
  t.is((await run(['git', '-C', join(cwd, 'clone'), 'fsck', '--full'])).exitCode, 0);

  // The tunnel is what git used: with the proxy gone it gets nowhere.
  await cluster.host(1).daemon.kill('SIGKILL');
  const again = await run(['git', ...trust, ...through, 'clone', '-q', url, join(cwd, 'again')]);
  t.not(again.exitCode, 0);
});
