import { createHash } from 'node:crypto';
import { open, readFile, rm, stat, truncate, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { eventually } from '../../bench/cluster/eventually.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { exportFile } from '../../core/store/output.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
const PIECE = 256 * 1024;
const content = { seed: 31, length: 4 * MIB } as const;
const PIECES = content.length / PIECE;
const MARK = Buffer.from('edited by its user');

/** Overwrites a few bytes of these pieces in place, as an editor or `dd conv=notrunc` does. */
async function edit(path: string, pieces: readonly number[]): Promise<void> {
  await using file = await open(path, 'r+');
  for (const piece of pieces) await file.write(MARK, 0, MARK.length, piece * PIECE + 1000);
}

const every = Array.from({ length: PIECES }, (_unused, piece) => piece);

async function digestOf(path: string): Promise<string> {
  return `sha256:${createHash('sha256')
    .update(await readFile(path))
    .digest('hex')}`;
}

/** Downloads and makes an output as dfget does for the user of the daemon: another name of the stored file. */
async function linked(
  swarm: TestSwarm,
  host: Engine,
  url: string,
): Promise<{ readonly output: string; readonly task: string }> {
  const { path = '', task } = doneOf(await swarm.download(host, { url }));
  const output = join(swarm.directory, `output-of-${host.key.peerId}`);
  const { signal } = new AbortController();
  await exportFile(path, output, { overwrite: true, allowHardLink: true, signal });
  return { output, task };
}

async function isShared(output: string, host: Engine, task: string): Promise<boolean> {
  const [one, other] = [await stat(output), await stat(host.store.find(task)?.path ?? '')];
  return one.ino === other.ino;
}

/** What a user may do to his file, while its other name is served. */
const edits: Readonly<Record<string, (output: string) => Promise<void>>> = {
  'some pieces': async (output) => edit(output, [0, 5, PIECES - 1]),
  'every piece': async (output) => edit(output, every),
  'every piece, and its time set back': async (output) => {
    const { atime, mtime } = await stat(output);
    await edit(output, every);
    await utimes(output, atime, mtime);
  },
  'its length, to nothing': async (output) => truncate(output, 0),
  'its length, to half': async (output) => truncate(output, content.length / 2),
  'its length, to more': async (output) => truncate(output, content.length + 1),
};

for (const [what, change] of Object.entries(edits)) {
  test(`a user who edits ${what} of an output keeps his edit, and no other host gets it`, async (t) => {
    // Slow enough at the seed that the second host asks the first one too.
    await using swarm = await TestSwarm.start({ supernode: { uploadRate: 4 * MIB } });
    swarm.origin.set('/f', { content });
    const url = swarm.origin.url('/f');
    const digest = await contentDigest(content);
    const first = await swarm.host('first');
    const { output, task } = await linked(swarm, first, url);
    t.true(await isShared(output, first, task), 'a reflink or a copy would prove nothing');

    await change(output);
    const edited = await digestOf(output);

    const second = await swarm.host('second');
    const done = doneOf(await swarm.download(second, { url }));
    t.is(await digestOf(done.path ?? ''), digest);
    t.is(done.digest, digest);
    // The host finds out for itself, or is told by the one it sent a wrong piece to.
    const again = doneOf(await swarm.download(first, { url }));
    t.is(await digestOf(again.path ?? ''), digest, 'the store heals');
    t.is(await digestOf(output), edited, 'the edit of the user stays');
    t.false(await isShared(output, first, task));
    t.is(swarm.origin.stats('/f').bodyBytes, content.length);
  });
}

test('a user who goes on editing while hosts download gets none of it to them', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  const digest = await contentDigest(content);
  const first = await swarm.host('first');
  const { output } = await linked(swarm, first, url);
  const names = ['second', 'third', 'fourth'];
  const hosts = await Promise.all(names.map(async (name) => swarm.host(name)));
  let isDone = false;
  const editing = (async () => {
    for (let round = 0; !isDone; round += 1) await edit(output, [round % PIECES]);
  })();
  const runs = await Promise.all(hosts.map(async (host) => swarm.download(host, { url })));
  isDone = true;
  await editing;
  for (const run of runs) t.is(await digestOf(doneOf(run).path ?? ''), digest);
  t.is(doneOf(await swarm.download(first, { url })).digest, digest);
});

test('dfget gives an output that shares the inode of the store, and heals what its user did to it', async (t) => {
  await using origin = await startOrigin({ routes: { '/f': { content } } });
  const url = origin.url('/f');
  const digest = await contentDigest(content);
  await withCluster(t, { hosts: 2 }, async (cluster) => {
    const [first, second] = [cluster.host(1), cluster.host(2)];
    const { done, stderr } = await first.dfget(url);
    t.is(done?.length, content.length, stderr);
    t.is((await stat(first.output)).nlink, 2, 'a reflink or a copy would prove nothing');
    await edit(first.output, every);
    const edited = await fileDigest(first.output);

    const other = await second.dfget(url);
    t.is(other.exitCode, 0, other.stderr);
    t.is(await fileDigest(second.output), digest);

    const output = join(first.folder, 'again');
    const again = await first.dfget(url, { output });
    t.is(again.exitCode, 0, again.stderr);
    t.is(await fileDigest(output), digest);
    t.is(await fileDigest(first.output), edited);
    t.is(origin.stats('/f').bodyBytes, content.length);

    // A user who removes his name of the file takes nothing from the store.
    await rm(output);
    const once = await first.dfget(url, { output });
    t.is(once.done?.fromCache, content.length);
    t.is(await fileDigest(output), digest);
    await eventually('both hosts whole', async () => {
      const versions = await cluster.versions(done?.task ?? '');
      return versions.some(({ completeHosts }) => completeHosts === 2) ? true : undefined;
    });
  });
});
