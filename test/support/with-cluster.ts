// What tests of whole programs share: a cluster whose logs are shown when the test fails, and digests of files.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import type { ExecutionContext } from 'ava';
import { Cluster } from '../../bench/cluster/cluster.ts';
import type { ClusterOptions } from '../../bench/cluster/cluster.ts';

/** Runs `body` with a cluster of its own, which is gone afterwards; on failure the ends of all logs are shown. */
export async function withCluster(
  t: ExecutionContext,
  options: ClusterOptions,
  body: (cluster: Cluster) => Promise<void>,
): Promise<void> {
  t.timeout(600_000);
  await using cluster = await Cluster.start(options);
  try {
    await body(cluster);
  } catch (error) {
    t.log(cluster.lastLogs());
    throw error;
  }
}

/** `sha256:HEX` of a file. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash);
  return `sha256:${hash.digest('hex')}`;
}
