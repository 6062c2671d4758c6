import {
  chmod,
  link,
  lstat,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import { startDfget } from '../../bench/cluster/dfget-run.ts';
import type { DfgetRun } from '../../bench/cluster/dfget-run.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import type { ErrorCode } from '../../core/base/error-codes.ts';
import { startGatedOrigin } from '../support/gated-origin.ts';
import { Tmpfs, cannotMount } from '../support/tmpfs.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
const content = { seed: 73, length: 4 * MIB } as const;
const PRECIOUS = 'what was there before';
const OUTPUT = 8;

/** A dfget on the first host with these arguments and no others, so without `--overwrite`. */
async function start(cluster: Cluster, args: readonly string[]): Promise<DfgetRun> {
  const { installation, guard, env } = cluster.workplace;
  const argv = [...installation('dfget'), ...args, '--socket', cluster.host(1).socket];
  return startDfget(argv, { guard, env });
}

/** A folder that nobody may make a file in; root may in any that is not read-only. */
async function readOnlyFolder(path: string): Promise<AsyncDisposable | undefined> {
  if (process.getuid?.() !== 0) {
    await mkdir(path, { mode: 0o555 });
    return { [Symbol.asyncDispose]: async () => chmod(path, 0o755) };
  }
  return cannotMount === undefined ? Tmpfs.mount(path, { mib: 1, readOnly: true }) : undefined;
}

async function refused(
  t: ExecutionContext,
  run: DfgetRun,
  expected: { readonly code: ErrorCode; readonly output: string },
): Promise<void> {
  const { code, output } = expected;
  const { exitCode, failed, stderr } = await run.result;
  t.is(exitCode, OUTPUT, `${output}: ${failed?.message ?? stderr}`);
  t.is(failed?.code, code);
  t.true(failed?.message.includes(output), failed?.message);
}

test.serial(
  'dfget refuses an output that cannot be written before anything is fetched, and names it',
  async (t) => {
    await using origin = await startOrigin({ routes: { '/f': { content } } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const folder = await cluster.workplace.subfolder('outputs');
      const at = (...names: string[]): string => join(folder, ...names);
      await writeFile(at('file'), PRECIOUS);
      await mkdir(at('folder'));
      await symlink(at('nothing'), at('dangling'));
      await using readOnly = await readOnlyFolder(at('read-only'));
      const before = await readdir(folder);

      const unwritable = [at('none', 'f'), at('file', 'f'), at('folder'), `${at('new')}/`];
      unwritable.push(at('n'.repeat(300)));
      if (readOnly !== undefined) unwritable.push(at('read-only', 'f'));
      for (const output of unwritable) {
        const run = await start(cluster, [origin.url('/f'), '-O', output, '--overwrite']);
        await refused(t, run, { code: 'ERR_OUTPUT_UNWRITABLE', output });
      }
      for (const output of [at('file'), at('dangling')]) {
        const run = await start(cluster, [origin.url('/f'), '-O', output]);
        await refused(t, run, { code: 'ERR_OUTPUT_EXISTS', output });
      }
      t.deepEqual(await readdir(folder), before);
      t.is(await readFile(at('file'), 'utf8'), PRECIOUS);
      t.is(origin.total.requests, 0);
    });
  },
);

/** Starts a dfget and resolves when the origin was asked, which answers when its gate is opened. */
async function startAndAsk(
  cluster: Cluster,
  origin: FaultOrigin,
  output: string,
): Promise<DfgetRun> {
  const run = await start(cluster, [origin.url('/f'), '-O', output]);
  await eventually('a request', () => (origin.stats('/f').requests > 0 ? true : undefined));
  return run;
}

test.serial(
  'an output whose folder goes away is told at the end, and what was fetched is kept for another place',
  async (t) => {
    await using gated = await startGatedOrigin({ '/f': { content } });
    const { origin } = gated;
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const folder = await cluster.workplace.subfolder('outputs');
      const output = join(folder, 'f');
      const run = await startAndAsk(cluster, origin, output);
      await rename(folder, `${folder}-elsewhere`);
      gated.open();
      await refused(t, run, { code: 'ERR_OUTPUT_UNWRITABLE', output });
      t.deepEqual(await readdir(`${folder}-elsewhere`), []);

      const other = await host.dfget(origin.url('/f'));
      t.is(other.exitCode, 0, other.stderr);
      t.is(other.done?.fromCache, content.length);
      t.is(await fileDigest(host.output), await contentDigest(content));
      t.is(origin.stats('/f').bodyBytes, content.length);
    });
  },
);

test.serial('an output that appears while it is downloaded is left as it is', async (t) => {
  await using gated = await startGatedOrigin({ '/f': { content } });
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    const folder = await cluster.workplace.subfolder('outputs');
    const output = join(folder, 'f');
    const run = await startAndAsk(cluster, gated.origin, output);
    await writeFile(output, PRECIOUS);
    gated.open();
    await refused(t, run, { code: 'ERR_OUTPUT_EXISTS', output });
    t.is(await readFile(output, 'utf8'), PRECIOUS);
    t.deepEqual(await readdir(folder), ['f']);
  });
});

test.serial(
  'dfget leaves an existing output as it is, unless it is told to overwrite and the new content is whole',
  async (t) => {
    await using origin = await startOrigin({
      routes: { '/f': { content }, '/tiny': { content: { seed: 75, length: 10 } } },
    });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const folder = await cluster.workplace.subfolder('outputs');
      const [output, kept, link1] = ['f', 'kept', 'link'].map((name) => join(folder, name)) as [
        string,
        string,
        string,
      ];
      await writeFile(output, PRECIOUS);
      const before = await stat(output);
      await refused(t, await start(cluster, [origin.url('/f'), '-O', output]), {
        code: 'ERR_OUTPUT_EXISTS',
        output,
      });
      const wrong = `sha256:${'0'.repeat(64)}`;
      const failures = [
        { args: [origin.url('/none')], exitCode: 2 },
        { args: [origin.url('/f'), '--digest', wrong], exitCode: 4 },
        { args: [origin.url('/tiny'), '--digest', wrong], exitCode: 4 },
      ];
      for (const { args, exitCode } of failures) {
        const run = await start(cluster, [...args, '-O', output, '--overwrite']);
        t.is((await run.result).exitCode, exitCode, args.join(' '));
      }
      const after = await stat(output);
      t.deepEqual(
        [after.ino, after.mtimeMs, after.size],
        [before.ino, before.mtimeMs, before.size],
      );
      t.is(await readFile(output, 'utf8'), PRECIOUS);
      t.deepEqual(await readdir(folder), ['f']);

      // Whoever has the old file open, or another name for it, keeps it: it is replaced, not written into.
      await link(output, kept);
      await symlink(basename(output), link1);
      for (const [path, url] of [
        [output, '/f'],
        [link1, '/tiny'],
        [link1, '/f'],
      ] as const) {
        const run = await start(cluster, [origin.url(url), '-O', path, '--overwrite']);
        const { exitCode, stderr } = await run.result;
        t.is(exitCode, 0, stderr);
        const expected = url === '/f' ? content : { seed: 75, length: 10 };
        t.is(await fileDigest(output), await contentDigest(expected));
      }
      t.true((await lstat(link1)).isSymbolicLink());
      t.is(await readFile(kept, 'utf8'), PRECIOUS);
      t.deepEqual((await readdir(dirname(output))).toSorted(), ['f', 'kept', 'link']);
      await rm(link1);
    });
  },
);
