import { watch } from 'node:fs';
import { readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Cluster } from '../../bench/cluster/cluster.ts';
import type { ClusterHost, DfgetOptions } from '../../bench/cluster/cluster-host.ts';
import type { DfgetRun } from '../../bench/cluster/dfget-run.ts';
import { startDfget } from '../../bench/cluster/dfget-run.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { SocketRelay } from '../support/socket-relay.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
const content = { seed: 71, length: 16 * MIB } as const;
const HALF = content.length / 2;

interface Place {
  readonly host: ClusterHost;
  readonly relay: SocketRelay;
  /** Where the output goes; nothing else is in its folder. */
  readonly output: string;
  readonly folder: string;
}

/** A host whose dfgets take content over the socket, and a folder for their outputs. */
async function placeIn(cluster: Cluster): Promise<Place & AsyncDisposable> {
  const host = cluster.host(1);
  const folder = await cluster.workplace.subfolder('outputs');
  const relay = await SocketRelay.start(join(host.folder, 'relay.sock'), host.socket);
  const dispose = async (): Promise<void> => relay[Symbol.asyncDispose]();
  return { host, relay, folder, output: join(folder, 'f'), [Symbol.asyncDispose]: dispose };
}

async function dfgetAt(place: Place, url: string, options: DfgetOptions = {}): Promise<DfgetRun> {
  const { args = [] } = options;
  // The last one counts.
  const words = ['--socket', place.relay.path, ...args];
  return place.host.startDfget(url, { output: place.output, args: words });
}

/** Starts a dfget and resolves when half of its output is written, and no more will be for now. */
async function halfWritten(
  place: Place,
  url: string,
): Promise<{ readonly run: DfgetRun; readonly goOn: () => void }> {
  const passed = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  place.relay.hold = { afterBytes: HALF, passed: passed.resolve, until: goOn.promise };
  const run = await dfgetAt(place, url);
  const first = await Promise.race([passed.promise, run.result]);
  if (first !== undefined) throw new Error(`dfget ended too early: ${first.stderr}`);
  await eventually('half of the output', async () => {
    for (const name of await readdir(place.folder)) {
      const { size } = await stat(join(place.folder, name));
      if (name.endsWith('.part') && size >= HALF / 2 && size < content.length) return true;
    }
    return undefined;
  });
  return { run, goOn: goOn.resolve };
}

test.serial(
  'dfget killed while it writes an output leaves no half of it under its name, and the next one cleans up',
  async (t) => {
    await using origin = await startOrigin({ routes: { '/f': { content } } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      await using place = await placeIn(cluster);
      const { output, folder } = place;
      for (const before of [undefined, 'what was there before']) {
        if (before !== undefined) await writeFile(output, before);
        const { run } = await halfWritten(place, origin.url('/f'));
        run.kill('SIGKILL');
        await run.result;
        const names = await readdir(folder);
        t.is(names.filter((name) => name.endsWith('.part')).length, 1, 'it was half-written');
        t.is(names.includes('f'), before !== undefined);
        if (before !== undefined) t.is(await readFile(output, 'utf8'), before);

        const again = await (await dfgetAt(place, origin.url('/f'))).result;
        t.is(again.exitCode, 0, again.stderr);
        t.is(await fileDigest(output), await contentDigest(content));
        t.is(again.done?.fromCache, content.length);
        t.deepEqual(await readdir(folder), ['f']);
        await rm(output);
      }
      t.is(origin.stats('/f').bodyBytes, content.length);
    });
  },
);

test.serial('dfget leaves alone what another one is still writing beside its output', async (t) => {
  await using origin = await startOrigin({ routes: { '/f': { content } } });
  await withCluster(t, { hosts: 1 }, async (cluster) => {
    await using place = await placeIn(cluster);
    const { run, goOn } = await halfWritten(place, origin.url('/f'));
    const beside = join(place.folder, 'beside');
    const other = await place.host.dfget(origin.url('/f'), { output: beside });
    t.is(other.exitCode, 0, other.stderr);
    goOn();
    const first = await run.result;
    t.is(first.exitCode, 0, first.stderr);
    t.deepEqual((await readdir(place.folder)).toSorted(), ['beside', 'f']);
    for (const path of [beside, place.output]) {
      t.is(await fileDigest(path), await contentDigest(content));
    }
  });
});

test.serial(
  'dfdaemon killed while dfget writes its content: no half of it is left, and dfget finishes all the same',
  async (t) => {
    await using origin = await startOrigin({ routes: { '/f': { content } } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      await using place = await placeIn(cluster);
      const { host, folder, output } = place;
      const { run, goOn } = await halfWritten(place, origin.url('/f'));
      await host.daemon.kill('SIGKILL');
      goOn();
      t.false((await readdir(folder)).includes('f'));
      await host.daemon.start();
      const { exitCode, stderr } = await run.result;
      t.is(exitCode, 0, stderr);
      t.is(await fileDigest(output), await contentDigest(content));
      t.deepEqual(await readdir(folder), ['f']);

      // And once more with one that does not come back: dfget does it by itself.
      await rm(output);
      const second = await halfWritten(place, origin.url('/f'));
      await host.daemon.kill('SIGKILL');
      second.goOn();
      const alone = await second.run.result;
      t.is(alone.exitCode, 0, alone.stderr);
      t.is(await fileDigest(output), await contentDigest(content));
      t.deepEqual(await readdir(folder), ['f']);
    });
  },
);

test.serial(
  'dfget killed at whatever moment leaves the whole output or none, with dfdaemon and without',
  async (t) => {
    await using origin = await startOrigin({ routes: { '/f': { content } } });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      await using place = await placeIn(cluster);
      const { folder, output, host } = place;
      const { installation, guard, env } = cluster.workplace;
      const expected = await contentDigest(content);
      const alone = [origin.url('/f'), '-O', output, '--overwrite', '--no-daemon'];
      alone.push('--data-dir', join(cluster.workplace.folder, 'own', 'data'));
      const starts = [
        async () => host.startDfget(origin.url('/f'), { output }),
        async () => dfgetAt(place, origin.url('/f')),
        async () => startDfget([...installation('dfget'), ...alone], { guard, env }),
      ];
      const found = { whole: 0, none: 0 };
      for (const start of starts) {
        for (let round = 0; round < 3; round += 1) {
          await rm(output, { force: true });
          // The first thing that happens in the folder is the end of that dfget.
          const run = Promise.withResolvers<DfgetRun>();
          const watcher = watch(folder, () => void run.promise.then((r) => r.kill('SIGKILL')));
          run.resolve(await start());
          await (
            await run.promise
          ).result;
          watcher.close();
          const isThere = (await readdir(folder)).includes('f');
          found[isThere ? 'whole' : 'none'] += 1;
          if (isThere) t.is(await fileDigest(output), expected);
        }
        const last = await (await start()).result;
        t.is(last.exitCode, 0, last.stderr);
        t.is(await fileDigest(output), expected);
        t.deepEqual(await readdir(folder), ['f']);
      }
      t.log(found);
    });
  },
);
