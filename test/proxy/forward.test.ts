// Real programs and the real curl: what comes through the proxy port is what the origin has, and goes through the mesh
// where it may.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import { askJson } from '../../bench/cluster/local-api.ts';
import { runCommand } from '../../bench/cluster/command.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
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

test('a package file crosses from the origin once, whoever asks for it, whole or in part', async (t) => {
  await using origin = await startOrigin();
  const content = { seed: 7, length: 40 * MIB + 11 } as const;
  const path = '/pool/main/h/hello/hello_2.10-3_amd64.deb';
  origin.set(path, {
    content,
    headers: { 'content-type': 'application/vnd.debian.binary-package' },
  });
  const url = origin.url(path);
  await withCluster(t, { hosts: 3 }, async (cluster) => {
    for (const number of [1, 2, 3]) {
      const got = await curl(cluster, cluster.host(number), [url]);
      t.deepEqual([got.exitCode, got.status, got.bytes], [0, 200, content.length]);
      t.is(await fileDigest(got.file), await contentDigest(content));
    }
    const sent = origin.stats(path).bodyBytes;
    t.true(sent < content.length * 1.1, `the origin sent ${sent} bytes`);
    const part = await curl(cluster, cluster.host(2), ['--range', '20971520-20971619', url]);
    t.deepEqual([part.status, part.bytes], [206, 100]);
    const whole = await curl(cluster, cluster.host(2), [url]);
    const bytes = await readFile(whole.file);
    t.deepEqual(await readFile(part.file), bytes.subarray(20_971_520, 20_971_620));
    t.is(origin.stats(path).bodyBytes, sent);
  });
});
