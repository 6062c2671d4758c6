import { createHash } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const content = { seed: 5, length: 8 * MIB } as const;

async function digestOf(path: string): Promise<string> {
  return `sha256:${createHash('sha256')
    .update(await readFile(path))
    .digest('hex')}`;
}

/** Changes bytes in the middle of every piece of 256 KiB. */
async function alter(path: string): Promise<void> {
  const file = await open(path, 'r+');
  const pieces = Array.from({ length: content.length / (256 * 1024) }, (_unused, piece) => piece);
  for (const piece of pieces)
    await file.write(Buffer.from('altered'), 0, 7, piece * 256 * 1024 + 99);
  await file.close();
}

test('a host whose stored pieces were edited in place withdraws them before one is sent', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  const bad = await swarm.host('bad');
  const first = doneOf(await swarm.download(bad, { url }));
  await alter(first.path ?? '');

  const child = await swarm.host('child');
  const done = doneOf(await swarm.download(child, { url }));

  t.is(await digestOf(done.path ?? ''), await contentDigest(content));
  t.is(swarm.origin.stats('/f').bodyBytes, content.length);
  t.is(done.fromPeers, 0);
  await until(() => bad.store.find(first.task)?.pieces.count === 0);
});

test('a host that sends wrong bytes is dropped, named in the log, the API and the explanation', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  const liar = await swarm.host('liar');
  const first = doneOf(await swarm.download(liar, { url }));
  const stored = liar.store.find(first.task);
  if (stored === undefined) throw new Error('not stored');
  await alter(first.path ?? '');
  // The liar believes its file: it is sealed again as it is now.
  await stored.complete();
  await liar.pool.putTask(stored);

  const child = await swarm.host('child');
  const done = doneOf(await swarm.download(child, { url }));

  t.is(await digestOf(done.path ?? ''), await contentDigest(content));
  const named = done.explain?.sources.find(({ source }) => source === liar.key.peerId);
  t.true((named?.wrongPieces ?? 0) >= 1);
  t.true(
    swarm.log.some(
      ({ who, message, facts }) =>
        who === 'child' && message.startsWith('wrong piece') && facts['peer'] === liar.key.peerId,
    ),
  );
  child.tasks.flush();
  await until(() => swarm.supernode.table.hosts.get(liar.key.peerId)?.accusers.size === 1);
  // The accused hashes what it offers again and withdraws what is wrong.
  await until(() => liar.store.find(first.task)?.pieces.count === 0);
});
