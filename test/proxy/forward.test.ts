// Real programs and the real curl: what comes through the proxy port is what the origin has, and goes through the mesh
// where it may.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import { askJson } from '../../bench/cluster/local-api.ts';
import { outputOf, runCommand } from '../../bench/cluster/command.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;

/** What curl says of one transfer. */
interface Transfer {
  readonly exitCode: number | undefined;
  readonly status: number;
  readonly bytes: number;
  readonly file: string;
}

async function proxyOf(host: ClusterHost): Promise<string> {
  const status = (await askJson({ socketPath: host.socket }, '/v1/status')) as {
    proxyPort: number;
  };
  return `http://${host.address}:${status.proxyPort}`;
}

let files = 0;

async function curl(
  cluster: Cluster,
  host: ClusterHost,
  args: readonly string[],
): Promise<Transfer> {
  const { guard, env } = cluster.workplace;
  files += 1;
  const file = join(host.folder, `curl-${files}`);
  const words = ['--silent', '--show-error', '--max-time', '100', '--noproxy', ''];
  words.push('--proxy', await proxyOf(host), '--output', file);
  words.push('--write-out', '%{http_code} %{size_download}', ...args);
  const { exitCode, stdout } = await runCommand(['curl', ...words], { guard, env });
  const [status = '0', bytes = '0'] = stdout.trim().split(' ');
  return { exitCode, status: Number(status), bytes: Number(bytes), file };
}

/** The file of the CA of a host's proxy, as its operator finds it. */
async function caOf({ workplace }: Cluster, host: ClusterHost): Promise<string> {
  const { guard, env, installation } = workplace;
  const words = ['proxy', 'ca', '--data-dir', join(host.folder, 'data')];
  return outputOf([...installation('dfdaemon'), ...words], { guard, env });
}

/**
 * Lets hosts fetch a file, another one at most three times, until its origin has sent no more than one copy; its path. On a
 * machine that stands still for seconds the proxy goes to the origin, as it should, so one try says nothing.
 */
async function sentOnce(
  t: ExecutionContext,
  origin: Pick<FaultOrigin, 'stats'>,
  fetched: (revision: number) => Promise<{ readonly path: string; readonly length: number }>,
): Promise<string> {
  for (let revision = 1; ; revision += 1) {
    const { path, length } = await fetched(revision);
    const { bodyBytes } = origin.stats(path);
    if (bodyBytes < length * 1.1) return path;
    t.log(`the origin sent ${bodyBytes} bytes of ${length}`);
    if (revision === 3) t.fail('the origin sent more than one copy each time');
    if (revision === 3) return path;
  }
}

test.serial(
  'a package file crosses from the origin once, whoever asks for it, whole or in part',
  async (t) => {
    await using origin = await startOrigin();
    await withCluster(t, { hosts: 3 }, async (cluster) => {
      const path = await sentOnce(t, origin, async (revision) => {
        const content = { seed: 70 + revision, length: 40 * MIB + 11 } as const;
        const file = `/pool/main/h/hello/hello_2.10-${revision}_amd64.deb`;
        const headers = {
          'content-type': 'application/vnd.debian.binary-package',
          'cache-control': 'public, max-age=600',
        };
        origin.set(file, { content, headers });
        for (const number of [1, 2, 3]) {
          const got = await curl(cluster, cluster.host(number), [origin.url(file)]);
          t.deepEqual([got.exitCode, got.status, got.bytes], [0, 200, content.length]);
          t.is(await fileDigest(got.file), await contentDigest(content));
        }
        return { path: file, length: content.length };
      });
      const url = origin.url(path);
      const { bodyBytes: sent, heads } = origin.stats(path);
      const part = await curl(cluster, cluster.host(2), ['--range', '20971520-20971619', url]);
      t.deepEqual([part.status, part.bytes], [206, 100]);
      const whole = await curl(cluster, cluster.host(2), [url]);
      const bytes = await readFile(whole.file);
      t.deepEqual(await readFile(part.file), bytes.subarray(20_971_520, 20_971_620));
      t.is(origin.stats(path).bodyBytes, sent);
      t.is(origin.stats(path).heads, heads, 'the origin allows what it said to be used again');
      await curl(cluster, cluster.host(2), ['--header', 'Cache-Control: no-cache', url]);
      t.is(origin.stats(path).heads, heads + 1);
    });
  },
);

test.serial(
  'what is for one client alone goes to its origin each time and is kept nowhere',
  async (t) => {
    await using origin = await startOrigin();
    const content = { seed: 8, length: MIB } as const;
    const path = '/packages/secret-1.0.whl';
    origin.set(path, { content, authorization: 'Bearer mine' });
    origin.set('/cookie.whl', { content, headers: { 'set-cookie': 'a=1' } });
    origin.set('/own.whl', { content, headers: { 'cache-control': 'private' } });
    origin.set('/varies.whl', { content, headers: { vary: 'Cookie' } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      for (const times of [1, 2]) {
        const mine = await curl(cluster, host, [
          '--header',
          'Authorization: Bearer mine',
          origin.url(path),
        ]);
        t.is(await fileDigest(mine.file), await contentDigest(content));
        t.is(origin.stats(path).statuses['200'], times);
        for (const other of ['/cookie.whl', '/own.whl', '/varies.whl']) {
          const got = await curl(cluster, host, [origin.url(other)]);
          t.is(await fileDigest(got.file), await contentDigest(content), other);
          t.is(origin.stats(other).bodyBytes, times * content.length);
        }
      }
      t.is((await curl(cluster, host, [origin.url(path)])).status, 401);
      t.deepEqual(await host.tasks(), []);
    });
  },
);

test.serial('a supernode that dies in mid-transfer is not noticed by the client', async (t) => {
  await using origin = await startOrigin();
  const content = { seed: 9, length: 24 * MIB } as const;
  const path = '/pool/main/b/big/big_1.0_amd64.deb';
  origin.set(path, { content, bytesPerSecond: 6 * MIB });
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const transfer = curl(cluster, cluster.host(1), [origin.url(path)]);
    await eventually('the origin is asked', async () =>
      origin.stats(path).bodyBytes > 4 * MIB ? true : undefined,
    );
    await cluster.supernode.kill('SIGKILL');
    const got = await transfer;
    t.deepEqual([got.exitCode, got.status, got.bytes], [0, 200, content.length]);
    t.is(await fileDigest(got.file), await contentDigest(content));
  });
});

test.serial(
  'https of hosts that are named goes through the mesh, for clients that trust the CA',
  async (t) => {
    const { key, cert, file: trusted } = await originCertificate(t);
    await using origin = await startOrigin({ tls: { key, cert } });
    const daemonArgs = (): string[] => [
      '--proxy-intercept',
      '127.0.0.1',
      '--proxy-connect-port',
      String(origin.port),
    ];
    // Programs of this test trust the origin's certificate; the clients of the proxy do not know it.
    process.env['NODE_EXTRA_CA_CERTS'] = trusted;
    t.teardown(() => delete process.env['NODE_EXTRA_CA_CERTS']);
    await withCluster(t, { hosts: 2, daemonArgs }, async (cluster) => {
      const path = await sentOnce(t, origin, async (revision) => {
        const content = { seed: 100 + revision, length: 30 * MIB } as const;
        const file = `/left-pad/-/left-pad-1.3.${revision}.tgz`;
        origin.set(file, { content });
        for (const number of [1, 2]) {
          const host = cluster.host(number);
          const ca = await caOf(cluster, host);
          const got = await curl(cluster, host, ['--cacert', ca, origin.url(file)]);
          t.deepEqual([got.exitCode, got.status, got.bytes], [0, 200, content.length]);
          t.is(await fileDigest(got.file), await contentDigest(content));
        }
        return { path: file, length: content.length };
      });
      // Who does not trust the CA sees that somebody is in the way.
      t.is(
        (await curl(cluster, cluster.host(1), ['--cacert', trusted, origin.url(path)])).exitCode,
        60,
      );
    });
  },
);

test.serial(
  "a blob at a registry's own URL goes the way of the mirror, in opened tunnels too",
  async (t) => {
    const { key, cert, file: trusted } = await originCertificate(t);
    await using secure = await startOrigin({ tls: { key, cert } });
    await using plain = await startOrigin();
    const content = { seed: 11, length: 5 * MIB } as const;
    const digest = await contentDigest(content);
    const path = `/v2/lab/app/blobs/${digest}`;
    const authorization = 'Bearer mine';
    secure.set(path, { content, authorization });
    plain.set(path, { content, authorization: 'Bearer other' });
    const daemonArgs = (): string[] => {
      const rule = { url: '/v2/.+/blobs/sha256:', to: 'mesh' };
      const words = ['--proxy-rules', JSON.stringify(rule), '--proxy-intercept', '127.0.0.1'];
      return [...words, '--proxy-connect-port', String(secure.port)];
    };
    process.env['NODE_EXTRA_CA_CERTS'] = trusted;
    t.teardown(() => delete process.env['NODE_EXTRA_CA_CERTS']);
    await withCluster(t, { hosts: 2, daemonArgs }, async (cluster) => {
      for (const number of [1, 2]) {
        const host = cluster.host(number);
        const ca = await caOf(cluster, host);
        const get = async (url: string, token: string): Promise<Transfer> =>
          curl(cluster, host, ['--cacert', ca, '--header', `Authorization: ${token}`, url]);
        const got = await get(secure.url(path), authorization);
        t.deepEqual([got.exitCode, got.status, got.bytes], [0, 200, content.length]);
        t.is(await fileDigest(got.file), digest);
        // It is here now, and is still for those whom a registry lets have it.
        t.is((await get(secure.url(path), 'Bearer wrong')).status, 403);
        t.is((await get(plain.url(path), authorization)).status, 403);
        const other = await get(plain.url(path), 'Bearer other');
        t.is(await fileDigest(other.file), digest);
      }
      const sent = secure.stats(path).bodyBytes;
      t.true(sent < content.length * 1.1, `the registry sent ${sent} bytes`);
      const proof = plain.stats(path).bodyBytes;
      t.true(proof < content.length * 0.1, `a registry sent ${proof} bytes of what was here`);
    });
  },
);

test.serial(
  'a dfdaemon that is told to stop ends while tunnels and transfers are open',
  async (t) => {
    await using origin = await startOrigin();
    origin.set('/endless', { content: { seed: 1, length: 64 * MIB }, bytesPerSecond: MIB });
    const daemonArgs = (): string[] => ['--proxy-connect-port', String(origin.port)];
    await withCluster(t, { hosts: 1, daemonArgs }, async (cluster) => {
      const host = cluster.host(1);
      const through = curl(cluster, host, ['--proxytunnel', origin.url('/endless')]);
      const direct = curl(cluster, host, [origin.url('/endless')]);
      await eventually('both are under way', async () =>
        origin.stats('/endless').requests === 2 ? true : undefined,
      );
      await host.daemon.kill('SIGTERM');
      t.false(host.daemon.isRunning);
      t.not((await through).exitCode, 0);
      t.not((await direct).exitCode, 0);
      const log = await readFile(host.daemon.logFile, 'utf8');
      // Not by the last resort, which ends the program without a word.
      t.regex(log, /dfdaemon stopped/);
    });
  },
);

/** A certificate of loopback, and the file it is in. */
async function originCertificate(
  t: ExecutionContext,
): Promise<{ key: string; cert: string; file: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'odonata-origin-'));
  t.teardown(async () => rm(folder, { recursive: true }));
  const [key, file] = [join(folder, 'key'), join(folder, 'cert')];
  const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  words.push('-days', '2', '-subj', '/CN=origin', '-addext', 'subjectAltName=IP:127.0.0.1');
  await promisify(execFile)('openssl', [...words, '-keyout', key, '-out', file]);
  return { key: await readFile(key, 'utf8'), cert: await readFile(file, 'utf8'), file };
}
