import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import { Command } from '../../bench/cluster/command.ts';
import { startDfget } from '../../bench/cluster/dfget-run.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { askJson } from '../../bench/cluster/local-api.ts';
import { Workplace } from '../../bench/cluster/workplace.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { startGatedOrigin } from '../support/gated-origin.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
const content = { seed: 72, length: 40 * MIB } as const;
/** Slow enough that a part of it is a place where one can be stopped. */
const RATE = 8 * MIB;
const PART = content.length / 4;
/** Pieces of 256 KiB that may be under way at a time: what is lost of them is fetched again. */
const IN_FLIGHT = 4 * MIB;
const INTERRUPTED = 9;

/** What a host has of the one task that it knows. */
async function receivedBytes(host: ClusterHost): Promise<number> {
  const listed = (await askJson({ socketPath: host.socket }, '/v1/tasks')) as {
    tasks: { receivedBytes: number }[];
  };
  return listed.tasks[0]?.receivedBytes ?? 0;
}

test.serial(
  'dfget stopped by Ctrl-C says that it resumes; dfdaemon stops too, keeps what it has, and fetches only the rest',
  async (t) => {
    await using origin = await startOrigin({ bytesPerSecond: RATE, routes: { '/f': { content } } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const { installation, guard, env } = cluster.workplace;
      const folder = await cluster.workplace.subfolder('outputs');
      const output = join(folder, 'f');
      const argv = [...installation('dfget'), origin.url('/f'), '-O', output];
      argv.push('--socket', host.socket);
      const command = await Command.start(argv, { guard, env });
      await eventually('a part of it on the host', async () =>
        (await receivedBytes(host)) >= PART ? true : undefined,
      );
      command.kill('SIGINT');
      const { exitCode, stdout, stderr } = await command.result;
      t.is(exitCode, INTERRUPTED, stderr);
      t.regex(stdout, /^download FAIL\(9\) .*length:41943040 reason:ERR_INTERRUPTED/m);
      t.regex(
        stderr,
        /ERR_INTERRUPTED: stopped by SIGINT\n +Run the same command again; it resumes/,
      );
      t.deepEqual(await readdir(folder), []);
      await eventually('nothing under way', async () =>
        (await host.status()).downloads.active === 0 ? true : undefined,
      );
      const received = await receivedBytes(host);
      t.true(received < content.length);

      const again = await host.dfget(origin.url('/f'), { output });
      t.is(again.exitCode, 0, again.stderr);
      t.is(await fileDigest(output), await contentDigest(content));
      const { fromCache = 0, fromPeers = 0, fromSeed = 0, fromOrigin = 0 } = again.done ?? {};
      t.true(fromCache >= received, `${fromCache} of ${received}`);
      t.is(fromCache + fromPeers + fromSeed + fromOrigin, content.length);
      // Counted on the wire, both downloads together.
      const { traffic } = await host.status();
      const taken = traffic.linkReceivedBytes + traffic.originReceivedBytes;
      t.log({ received, fromCache, taken, origin: origin.stats('/f').bodyBytes });
      t.true(taken <= content.length + IN_FLIGHT, `${taken} bytes`);
      t.true(origin.stats('/f').bodyBytes <= content.length + IN_FLIGHT);
      t.deepEqual(await readdir(folder), ['f']);
    });
  },
);

test.serial(
  'dfget stopped by Ctrl-C while others on its host want the same leaves them their download',
  async (t) => {
    await using gated = await startGatedOrigin({ '/f': { content } });
    const { origin } = gated;
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const outputs = ['stopped', 'goes-on'].map((name) => join(host.folder, name));
      const [stopped, other] = await Promise.all(
        outputs.map(async (output) => host.startDfget(origin.url('/f'), { output })),
      );
      await eventually('both under way', async () =>
        (await host.status()).downloads.active === 2 ? true : undefined,
      );
      stopped?.kill('SIGINT');
      t.is((await stopped?.result)?.exitCode, INTERRUPTED);
      gated.open();
      const result = await other?.result;
      t.is(result?.exitCode, 0, result?.stderr);
      t.false(existsSync(outputs[0] ?? ''));
      t.is(await fileDigest(outputs[1] ?? ''), await contentDigest(content));
      t.is(origin.stats('/f').bodyBytes, content.length);
    });
  },
);

test.serial(
  'dfget without dfdaemon, stopped by Ctrl-C, resumes with the missing pieces alone',
  async (t) => {
    t.timeout(300_000);
    await using origin = await startOrigin({ bytesPerSecond: RATE, routes: { '/f': { content } } });
    await using workplace = await Workplace.open();
    const { installation, guard, env } = workplace;
    const folder = await workplace.subfolder('outputs');
    const output = join(folder, 'f');
    const argv = [...installation('dfget'), origin.url('/f'), '-O', output, '--no-daemon'];
    argv.push('--data-dir', join(workplace.folder, 'data'));

    let received = 0;
    const part = Promise.withResolvers<void>();
    const run = await startDfget(argv, {
      guard,
      env,
      onEvent: (event) => {
        if (event.type === 'progress') ({ received } = event);
        if (received >= PART) part.resolve();
      },
    });
    await Promise.race([part.promise, run.result]);
    run.kill('SIGINT');
    const { exitCode, failed, stderr } = await run.result;
    t.is(exitCode, INTERRUPTED, stderr);
    t.is(failed?.code, 'ERR_INTERRUPTED');
    t.true(failed?.retryable);
    t.deepEqual(await readdir(folder), []);
    const sentBefore = origin.stats('/f').bodyBytes;

    const again = await (await startDfget(argv, { guard, env })).result;
    t.is(again.exitCode, 0, again.stderr);
    t.is(await fileDigest(output), await contentDigest(content));
    const sentAfter = origin.stats('/f').bodyBytes - sentBefore;
    const { fromCache = 0, fromOrigin = 0 } = again.done ?? {};
    t.log({ received, sentBefore, sentAfter, fromCache });
    t.true(fromCache >= received, `${fromCache} of ${received}`);
    t.is(fromCache + fromOrigin, content.length);
    t.true(sentAfter <= content.length - received + IN_FLIGHT);
    t.deepEqual(await readdir(folder), ['f']);
  },
);

test.serial(
  'dfget that waits for an origin without an answer is stopped by Ctrl-C at once, and says so',
  async (t) => {
    t.timeout(300_000);
    await using origin = await startOrigin({
      routes: { '/f': { content, hang: { where: 'before-head' } } },
    });
    await using workplace = await Workplace.open();
    const { installation, guard, env, folder } = workplace;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const output = join(folder, 'output');
      const argv = [...installation('dfget'), origin.url('/f'), '-O', output, '--no-daemon'];
      argv.push('--data-dir', join(folder, 'data'));
      const asked = origin.stats('/f').requests;
      const command = await Command.start(argv, { guard, env });
      await eventually('a request', () => (origin.stats('/f').requests > asked ? true : undefined));
      command.kill(signal);
      const { exitCode, stderr } = await command.result;
      t.is(exitCode, INTERRUPTED, stderr);
      t.regex(stderr, new RegExp(`stopped by ${signal}\\n +Run the same command again`));
      t.false(existsSync(output));
    }
  },
);
