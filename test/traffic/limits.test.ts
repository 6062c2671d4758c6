import { join } from 'node:path';
import test from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { outputOf } from '../../bench/cluster/command.ts';
import { checkout } from '../../bench/cluster/installation.ts';
import { askJson } from '../../bench/cluster/local-api.ts';
import { OriginProcess } from '../../bench/cluster/origin-process.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { withCluster } from '../support/with-cluster.ts';

const MB = 1_000_000;
const SIZE = 400 * MB;
const clock = new SystemClock();

interface Traffic {
  readonly download: number;
  readonly origin: number;
}

async function trafficOf(host: ClusterHost): Promise<Traffic> {
  const { linkReceivedBytes, originReceivedBytes } = (await host.status()).traffic;
  return { download: linkReceivedBytes, origin: originReceivedBytes };
}

/** What a limit lets pass must not be more than it; how much less it is a machine decides that has little time for us. */
function least(rate: number): number {
  return Math.min(0.3 * rate, 1.5 * MB);
}

/** Begins a download that goes on until the signal. */
function begin(
  host: ClusterHost,
  url: string,
  { signal, pattern = 'source' }: { signal: AbortSignal; pattern?: 'source' | 'p2p' },
): void {
  void (async () => {
    try {
      for await (const event of host.download({ url, pattern }, { signal })) {
        if (event.type === 'failed') return;
      }
    } catch {
      // The test is over.
    }
  })();
}

/** Bytes a second that `read` counts, over a window that begins when `settleMs` have passed. */
async function rateOf(
  read: () => Promise<number>,
  { settleMs = 3_000, windowMs = 5_000 } = {},
): Promise<number> {
  await clock.sleep(settleMs);
  const [bytes, ms] = [await read(), clock.monotonic()];
  await clock.sleep(windowMs);
  return ((await read()) - bytes) / ((clock.monotonic() - ms) / 1_000);
}

async function dfdaemonLimits(
  cluster: Cluster,
  host: ClusterHost,
  words: string[],
): Promise<string> {
  const { installation, guard, env } = cluster.workplace;
  const argv = [...installation('dfdaemon'), 'limits', '--socket', host.socket, ...words];
  return outputOf(argv, { guard, env });
}

async function dfops(cluster: Cluster, words: string[]): Promise<string> {
  const { guard, env } = cluster.workplace;
  const main = join(checkout, 'ops', 'cli', 'main.ts');
  return outputOf([process.execPath, main, 'limits', ...words, '--api', cluster.apiUrl], {
    guard,
    env,
  });
}

test.serial(
  'limits of a host are set while it downloads, from 1 to 10 MB/s and back, by the CLI',
  async (t) => {
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      await using origin = await OriginProcess.start(cluster.workplace, { size: SIZE });
      const host = cluster.host(1);
      const controller = new AbortController();
      try {
        begin(host, `${origin.url}?a`, { signal: controller.signal });
        for (const [limit, rate] of [
          ['1000000', MB],
          ['10000000', 10 * MB],
          ['1000000', MB],
        ] as const) {
          t.regex(await dfdaemonLimits(cluster, host, ['--origin', limit]), /^origin +.*own /m);
          const measured = await rateOf(async () => (await trafficOf(host)).origin);
          t.log(`origin: set ${rate}, measured ${Math.round(measured)}`);
          t.true(measured > least(rate) && measured < 1.3 * rate, String(measured));
        }
        // What comes of another host passes its limit part by part, not piece by piece.
        const content = { size: 20 * MB };
        await using small = await OriginProcess.start(cluster.workplace, content, {
          name: 'small',
        });
        t.regex(
          await dfdaemonLimits(cluster, host, ['--download', '1000000']),
          /^download +.*own /m,
        );
        begin(host, small.url, { signal: controller.signal, pattern: 'p2p' });
        const read = async (): Promise<number> => (await trafficOf(host)).download;
        await eventually('it comes', async () => ((await read()) > MB ? true : undefined));
        const taken = await rateOf(read, { settleMs: 0, windowMs: 3_000 });
        t.log(`download: set ${MB}, measured ${Math.round(taken)}`);
        t.true(taken > least(MB) && taken < 1.3 * MB, String(taken));
        await dfdaemonLimits(cluster, host, ['--download', '0']);
        const shown = await askJson({ socketPath: host.socket }, '/v1/limits');
        t.like(shown, { own: { download: 0, upload: 0, origin: MB }, inForce: { origin: MB } });
      } finally {
        controller.abort();
      }
    });
  },
);

test.serial(
  'a budget of the cell holds for four hosts together, and what idle ones leave is used',
  async (t) => {
    await withCluster(t, { hosts: 4 }, async (cluster) => {
      await using origin = await OriginProcess.start(cluster.workplace, { size: SIZE });
      const budget = 4 * MB;
      const ofHost = `127.0.0.1=${budget}`;
      const set = await dfops(cluster, ['set', '--origin-host', ofHost]);
      t.regex(set, /^origin:127\.0\.0\.1 +4000000/m);
      const controllers = cluster.hosts.map(() => new AbortController());
      const moved = async (): Promise<number[]> =>
        Promise.all(cluster.hosts.map(async (host) => (await trafficOf(host)).origin));
      const sum = async (): Promise<number> => (await moved()).reduce((all, one) => all + one, 0);
      try {
        for (const [at, host] of cluster.hosts.entries()) {
          const signal = controllers[at]?.signal ?? AbortSignal.abort();
          begin(host, `${origin.url}?${at}`, { signal });
        }
        const together = await rateOf(sum, { settleMs: 6_000 });
        const each = await moved();
        t.log(`four hosts, ${ofHost}: ${Math.round(together)}, bytes ${each.join(' ')}`);
        t.true(together < 1.1 * budget, String(together));
        t.true(together > least(budget), String(together));
        t.regex(await dfops(cluster, ['get']), /origin:127\.0\.0\.1 .*wants more/);
        // From now on the same for all origins together.
        const total = ['set', '--origin', String(budget), '--origin-host', '127.0.0.1=0'];
        t.regex(await dfops(cluster, total), /^download +no limit\norigin +4000000$/);
        for (const controller of controllers.slice(1)) controller.abort();
        const [first] = cluster.hosts;
        if (first === undefined) throw new TypeError('no host');
        await eventually(
          'the shares of idle hosts are used',
          async () => {
            const { inForce } = (await askJson({ socketPath: first.socket }, '/v1/limits')) as {
              inForce: { origin: number };
            };
            return inForce.origin > 0.9 * budget ? true : undefined;
          },
          { withinMs: 30_000 },
        );
        const alone = await rateOf(async () => (await trafficOf(first)).origin, {
          settleMs: 1_000,
        });
        t.log(`one of four: measured ${Math.round(alone)}`);
        t.true(alone > least(budget) && alone < 1.1 * budget, String(alone));
        t.regex(await dfops(cluster, ['get']), /wants more/);
      } finally {
        for (const controller of controllers) controller.abort();
      }
    });
  },
);
