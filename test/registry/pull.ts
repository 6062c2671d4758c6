// What a client reads of the mirror of a host.
import { createHash } from 'node:crypto';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import { askJson } from '../../bench/cluster/local-api.ts';

/** One answer, its body hashed as it came. */
export interface Pulled {
  readonly status: number;
  readonly headers: Headers;
  /** `sha256:HEX` of the body. */
  readonly digest: string;
  readonly length: number;
  readonly seconds: number;
}

/** Base of the mirror of a host, without a slash at the end. */
export async function mirrorOf(host: ClusterHost): Promise<string> {
  const status = (await askJson({ socketPath: host.socket }, '/v1/status')) as {
    proxyPort: number;
  };
  return `http://${host.address}:${status.proxyPort}`;
}

/** Pulls and hashes; never holds more than what is on its way. */
export async function pull(url: string, init: RequestInit = {}): Promise<Pulled> {
  const startMs = performance.now();
  const answer = await fetch(url, init);
  const hash = createHash('sha256');
  let length = 0;
  for await (const chunk of answer.body ?? []) {
    const bytes = chunk as Uint8Array;
    hash.update(bytes);
    length += bytes.length;
  }
  const digest = `sha256:${hash.digest('hex')}`;
  const seconds = (performance.now() - startMs) / 1000;
  return { status: answer.status, headers: answer.headers, digest, length, seconds };
}

/** One of the counters at `/metrics`; 0 where it has no sample. */
export async function counted(base: string, sample: string): Promise<number> {
  const text = await (await fetch(`${base}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`odonata_dfdaemon_${sample} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}
