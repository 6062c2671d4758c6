import { createHash } from 'node:crypto';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { contentDigest, seededBytes } from '../../bench/origin/content.ts';
import { FLAG_LAST, frameTypes } from '../../core/net/link/frame.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { sealManifest } from '../../core/swarm/manifest.ts';
import type { Registered } from '../../core/wire/messages.ts';
import { Rogue } from '../support/rogue.ts';
import type { RogueFrame, RogueLink } from '../support/rogue.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const PIECE = 256 * 1024;
const content = { seed: 8, length: 4 * MIB } as const;
const PIECES = content.length / PIECE;

/** How a parent behaves on one link. */
type Manners = (link: RogueLink) => void;

/** Answers OPEN with every piece, and what else comes as told. */
function hasAll(onOther: (frame: RogueFrame, link: RogueLink) => void): Manners {
  return (link) => {
    link.answer = (frame) => {
      const { type, channel } = frame.header;
      if (type === frameTypes.open) {
        const all = Buffer.alloc(PIECES / 8, 0xff);
        link.send({ type: frameTypes.opened, channel, a: PIECES, b: PIECE }, all);
      } else onOther(frame, link);
    };
  };
}

function onRequest(answer: (frame: RogueFrame, link: RogueLink) => void): Manners {
  return hasAll((frame, link) => {
    if (frame.header.type === frameTypes.request) answer(frame, link);
  });
}

function bytesOf(piece: number, end = PIECE): Buffer {
  return seededBytes(content.seed, piece * PIECE, piece * PIECE + end);
}

/** A child downloads while a parent with these manners says that it has everything. */
async function withParent(
  t: ExecutionContext,
  manners: Manners,
  options: { readonly isMute?: boolean } = {},
): Promise<void> {
  t.timeout(300_000);
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  await using rogue = await Rogue.member(swarm.supernode);
  const { port, links } = await rogue.listen(manners, options);
  const control = await rogue.control(`127.0.0.1:${swarm.supernode.meshPort}`, {
    addresses: [`127.0.0.1:${port}`],
  });
  const { task, shape } = await register(swarm, url);
  const had = Array.from({ length: PIECES }, (_unused, piece) => piece);
  control.say({
    type: 'announce',
    task,
    shape,
    holding: { version: shape.version },
    manifest: [],
    active: false,
  });
  control.say({
    type: 'report',
    tasks: [{ task, version: shape.version, had, complete: true, active: false }],
  });
  t.true(await control.synced());

  const child = await swarm.host('child');
  const done = doneOf(await swarm.download(child, { url }));
  t.is(done.digest, await contentDigest(content));
  t.true(links.length > 0, 'the parent was never dialled');
  t.is(swarm.origin.stats('/f').bodyBytes, content.length);
  t.log(`${done.seconds.toFixed(1)} s, ${JSON.stringify(done.explain?.waits)}`);
}

/** What the supernode says of a URL, asked by a member that leaves again. */
async function register(swarm: TestSwarm, url: string): Promise<Registered> {
  await using asker = await Rogue.member(swarm.supernode);
  const control = await asker.control(`127.0.0.1:${swarm.supernode.meshPort}`);
  control.say({ type: 'register', id: 1, task: taskIdOf({ url }), spec: { url } });
  const reply = await control.next('registered');
  if (reply === undefined) throw new Error('the session ended');
  return reply as Registered;
}

test('a parent that accepts and never says a word does not hold a download up', async (t) => {
  await withParent(t, () => undefined, { isMute: true });
});

test('a parent that never answers OPEN does not hold a download up', async (t) => {
  await withParent(t, (link) => (link.answer = () => undefined));
});

test('a parent that answers pings and no request does not hold a download up', async (t) => {
  await withParent(
    t,
    onRequest(() => undefined),
  );
});

test('a parent that stops in the middle of each piece does not hold a download up', async (t) => {
  const half: Manners = onRequest(({ header }, link) => {
    const { channel, a } = header;
    link.send({ type: frameTypes.data, channel, a, b: 0 }, bytesOf(a, PIECE / 2));
  });
  await withParent(t, half);
});

test('a parent that closes in the middle of each piece does not hold a download up', async (t) => {
  const half: Manners = onRequest(({ header }, link) => {
    const { channel, a } = header;
    link.send({ type: frameTypes.data, channel, a, b: 0 }, bytesOf(a, PIECE / 2));
    link.socket.end();
  });
  await withParent(t, half);
});

test('a parent that resets the connection at each request does not hold a download up', async (t) => {
  await withParent(
    t,
    onRequest((_frame, link) => link.socket.resetAndDestroy()),
  );
});

test('a parent that says it lacks whatever it is asked for does not hold a download up', async (t) => {
  const miss: Manners = onRequest(({ header }, link) => {
    link.send({ type: frameTypes.miss, channel: header.channel, a: header.a }, 'ERR_NOT_FOUND');
  });
  await withParent(t, miss);
});

test('a parent that is for ever busy does not hold a download up', async (t) => {
  const busy: Manners = onRequest(({ header }, link) => {
    link.send({ type: frameTypes.busy, channel: header.channel, a: header.a, b: 4_000_000_000 });
  });
  await withParent(t, busy);
});

test('a parent that sends more than it was asked for is dropped', async (t) => {
  const more: Manners = onRequest(({ header }, link) => {
    const { channel, a } = header;
    link.send({ type: frameTypes.data, channel, a, b: 0 }, bytesOf(a));
    link.send({ type: frameTypes.data, flags: FLAG_LAST, channel, a, b: PIECE }, bytesOf(a));
  });
  await withParent(t, more);
});

test('a parent that sends other bytes than the right ones is dropped', async (t) => {
  const wrong: Manners = onRequest(({ header }, link) => {
    const { channel, a } = header;
    const bytes = Buffer.alloc(PIECE, 7);
    link.send({ type: frameTypes.data, flags: FLAG_LAST, channel, a, b: 0 }, bytes);
  });
  await withParent(t, wrong);
});

test('a parent that states digests of its own while the supernode is alive is not believed', async (t) => {
  await using swarm = await TestSwarm.start({ bytesPerSecond: 2 * MIB });
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  await using rogue = await Rogue.member(swarm.supernode);
  const wrong = Buffer.alloc(PIECE, 9);
  const digest = createHash('sha256').update(wrong).digest('hex');
  const { port, links } = await rogue.listen(
    onRequest(({ header }, link) => {
      const { channel, a } = header;
      link.send({ type: frameTypes.data, flags: FLAG_LAST, channel, a, b: 0 }, wrong);
    }),
  );
  const control = await rogue.control(`127.0.0.1:${swarm.supernode.meshPort}`, {
    addresses: [`127.0.0.1:${port}`],
  });
  const { task, shape } = await register(swarm, url);
  const { version } = shape;
  const announce = { type: 'announce', task, shape, holding: { version }, manifest: [] };
  control.say({ ...announce, active: false });
  t.true(await control.synced());

  const child = await swarm.host('child');
  const downloading = swarm.download(child, { url });
  const subject = { task, version, pieceLength: PIECE };
  const digests = Array.from({ length: PIECES }, () => digest);
  const kinds = ['provisional', 'manifest'] as const;
  const batches = kinds.flatMap((kind) => [
    sealManifest(kind, { ...subject, start: 0, digests }, rogue.key),
    sealManifest(kind, { ...subject, start: 0, digests, length: content.length }, rogue.key),
  ]);
  await until(() => links.length > 0);
  const channels = links.map((link) => ({ link, channel: 1 }));
  for (const { link, channel } of channels) {
    await until(() => link.isReady);
    for (const batch of batches) link.send({ type: frameTypes.manifest, channel }, batch);
  }
  const done = doneOf(await downloading);
  t.is(done.digest, await contentDigest(content));
  const held = child.store.find(task)?.manifest() ?? [];
  t.false(held.some((batch) => batches.includes(batch)));
});
