import { createHash } from 'node:crypto';
import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { TestSwarm, doneOf } from '../../test/support/swarm.ts';
import type { OpenContent } from './open-content.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const never = new AbortController().signal;

/** Digest and length of what a reader gives. */
async function drained(chunks: AsyncIterable<Uint8Array>): Promise<{
  readonly digest: string;
  readonly length: number;
}> {
  const hash = createHash('sha256');
  let length = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    length += chunk.length;
  }
  return { digest: `sha256:${hash.digest('hex')}`, length };
}

async function readAll(content: OpenContent): Promise<{ digest: string; length: number }> {
  return drained(content.read({ start: 0 }, { signal: never }));
}

test('content is given in order while it comes in', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 1, length: 8 * MIB };
  const { promise: until, resolve: release } = Promise.withResolvers<void>();
  swarm.origin.set('/f', { content, hold: { afterBytes: 4 * MIB, until } });
  const host = await swarm.host('host');
  await using open = await host.openContent({ url: swarm.origin.url('/f') }, { signal: never });
  t.is(open.length, content.length);
  const reader = open.read({ start: 0 }, { signal: never })[Symbol.asyncIterator]();
  const hash = createHash('sha256');
  let length = 0;
  for (;;) {
    const next = await reader.next();
    if (next.done === true) break;
    t.true(next.value.length <= 256 * KIB);
    hash.update(next.value);
    length += next.value.length;
    // The first bytes are given although the origin keeps the rest to itself.
    release();
  }
  t.is(length, content.length);
  t.is(`sha256:${hash.digest('hex')}`, await contentDigest(content));
});

test('content that came inside the reply, and content that is complete here, are given as any other', async (t) => {
  await using swarm = await TestSwarm.start();
  const host = await swarm.host('host');
  for (const length of [0, 1, 100 * KIB, 3 * MIB]) {
    const content = { seed: 2, length };
    const path = `/of-${length}`;
    swarm.origin.set(path, { content });
    const request = { url: swarm.origin.url(path), digest: await contentDigest(content) };
    doneOf(await swarm.download(host, request));
    await using open = await host.openContent(request, { signal: never });
    t.deepEqual(await readAll(open), { digest: request.digest, length });
    t.is(await open.lengthKnown({ signal: never }), length);
    t.is(open.shape.length, length);
  }
});
