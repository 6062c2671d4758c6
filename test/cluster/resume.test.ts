import { join } from 'node:path';
import test from 'ava';
import { startDfget } from '../../bench/cluster/dfget-run.ts';
import type { DfgetRun } from '../../bench/cluster/dfget-run.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { DownloadEvent } from '../../core/swarm/download-events.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
/** The length of a piece of a content this small. */
const PIECE = 256 * 1024;
const content = { seed: 6, length: 64 * MIB };
/** Slow enough that half of it is a place where one can be stopped. */
const RATE = 16 * MIB;
/** Pieces that may be under way at a time: what is lost of them is fetched again. */
const IN_FLIGHT = 16 * PIECE;

/** Watches one dfget come to its half. */
class Progress {
  readonly #half = Promise.withResolvers<number>();

  readonly onEvent = (event: DownloadEvent): void => {
    if (event.type === 'progress' && event.received >= content.length / 2) {
      this.#half.resolve(event.received);
    }
  };

  /** Bytes received when half of them were; throws when dfget ends before. */
  async untilHalf(run: DfgetRun): Promise<number> {
    const received = await Promise.race([this.#half.promise, run.result]);
    if (typeof received === 'number') return received;
    throw new Error(`dfget ended too early: ${received.stderr}`);
  }
}

test.serial(
  'dfdaemon killed at half fetches the missing pieces after its restart, and no others',
  async (t) => {
    await using origin = await startOrigin({ bytesPerSecond: RATE, routes: { '/f': { content } } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const progress = new Progress();
      const run = await host.startDfget(origin.url('/f'), { onEvent: progress.onEvent });
      const received = await progress.untilHalf(run);
      run.kill('SIGKILL');
      await host.daemon.kill('SIGKILL');
      await run.result;

      await host.daemon.start();
      await cluster.connected(host);
      const { exitCode, done, stderr } = await host.dfget(origin.url('/f'));
      t.is(exitCode, 0, stderr);
      t.is(await fileDigest(host.output), await contentDigest(content));
      const fetched = (done?.fromPeers ?? 0) + (done?.fromSeed ?? 0) + (done?.fromOrigin ?? 0);
      t.log({ received, fetched, fromCache: done?.fromCache });
      t.is(fetched + (done?.fromCache ?? 0), content.length);
      t.true(fetched <= content.length - received + IN_FLIGHT);
      // Counted on the wire since the restart, not by the one who is being tested.
      const { traffic } = await host.status();
      t.true(traffic.linkReceivedBytes + traffic.originReceivedBytes <= fetched + IN_FLIGHT);
      t.is(origin.stats('/f').bodyBytes, content.length);
    });
  },
);

test.serial(
  'dfget without dfdaemon, killed at half, asks the origin for the missing pieces alone',
  async (t) => {
    t.timeout(300_000);
    await using origin = await startOrigin({ bytesPerSecond: RATE, routes: { '/f': { content } } });
    await using workplace = await Workplace.open();
    const { installation, guard, env, folder } = workplace;
    const output = join(folder, 'output');
    const argv = [...installation('dfget'), origin.url('/f'), '-O', output, '--no-daemon'];
    argv.push('--data-dir', join(folder, 'data'));

    const progress = new Progress();
    const run = await startDfget(argv, { guard, env, onEvent: progress.onEvent });
    const received = await progress.untilHalf(run);
    run.kill('SIGKILL');
    await run.result;
    const sentBefore = origin.stats('/f').bodyBytes;

    const again = await startDfget(argv, { guard, env });
    const { exitCode, done, stderr } = await again.result;
    t.is(exitCode, 0, stderr);
    t.is(await fileDigest(output), await contentDigest(content));
    const sentAfter = origin.stats('/f').bodyBytes - sentBefore;
    t.log({ received, sentBefore, sentAfter, fromCache: done?.fromCache });
    t.true((done?.fromCache ?? 0) >= received - IN_FLIGHT);
    t.true(sentAfter <= content.length - received + IN_FLIGHT);
  },
);
