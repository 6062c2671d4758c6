import { createHash } from 'node:crypto';
import { open as openFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { contentDigest, seededBytes } from '../../bench/origin/content.ts';
import { TestSwarm, doneOf } from '../../test/support/swarm.ts';
import { until } from '../../test/support/until.ts';
import { SystemClock } from '../base/clock.ts';
import type { Timer } from '../base/clock.ts';
import { LINGER_MS } from './open-content.ts';
import type { Engine, EngineOptions } from './engine.ts';
import type { OpenContent } from './open-content.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const never = new AbortController().signal;

/** A host that its supernode knows: one that waits in vain for that fetches alone. */
async function joined(swarm: TestSwarm, options: Partial<EngineOptions> = {}): Promise<Engine> {
  const host = await swarm.host('host', options);
  await host.member?.client.whenConnected(45_000, { signal: never });
  return host;
}

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

/** Digest of bytes `[start, end)` of generated content. */
function partDigest(seed: number, start: number, end: number): string {
  const hash = createHash('sha256').update(seededBytes(seed, start, end));
  return `sha256:${hash.digest('hex')}`;
}

/** What a read ends with. */
async function errorOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  try {
    await drained(chunks);
    return 'none';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

async function readAll(content: OpenContent): Promise<{ digest: string; length: number }> {
  return drained(content.read({ start: 0 }, { signal: never }));
}

test.serial('content is given in order while it comes in', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 1, length: 8 * MIB };
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  swarm.origin.set('/f', { content, hold: { afterBytes: 4 * MIB, until: released } });
  const host = await joined(swarm);
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

test.serial(
  'content that came inside the reply, and content that is complete here, are given as any other',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const host = await joined(swarm);
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
  },
);

test.serial('a reader who does not read holds no memory, and holds nobody up', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  await using swarm = await TestSwarm.start();
  const content = { seed: 3, length: 96 * MIB };
  swarm.origin.set('/f', { content });
  const host = await joined(swarm);
  await using open = await host.openContent({ url: swarm.origin.url('/f') }, { signal: never });
  const slow = open.read({ start: 0 }, { signal: never })[Symbol.asyncIterator]();
  const first = await slow.next();
  const before = process.memoryUsage().arrayBuffers;
  await until(() => host.store.find(open.task)?.isComplete === true);
  collect();
  t.true(process.memoryUsage().arrayBuffers - before < 24 * MIB);
  const hash = createHash('sha256').update(first.value ?? '');
  for (let next = await slow.next(); next.done !== true; next = await slow.next())
    hash.update(next.value);
  t.is(`sha256:${hash.digest('hex')}`, await contentDigest(content));
});

test.serial('many read one version at once, each at another place', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 4, length: 12 * MIB };
  swarm.origin.set('/f', { content, bytesPerSecond: 8 * MIB });
  const host = await joined(swarm);
  const url = swarm.origin.url('/f');
  const ranges = [0, 1, 5 * MIB + 3, 11 * MIB, 12 * MIB - 1, 12 * MIB].map((start, index) => ({
    start,
    end: Math.min(content.length, start + (index + 1) * MIB),
  }));
  const digests = await Promise.all(
    ranges.map(async (range) => {
      await using open = await host.openContent({ url }, { signal: never });
      return await drained(open.read(range, { signal: never }));
    }),
  );
  for (const [index, { start, end }] of ranges.entries()) {
    t.deepEqual(digests[index], { digest: partDigest(4, start, end), length: end - start });
  }
  t.is(swarm.origin.stats('/f').bodyBytes, content.length);
});

/** A clock whose lingering ends when the test says so. */
class LingerClock extends SystemClock {
  readonly #held = new Set<() => void>();

  get lingering(): number {
    return this.#held.size;
  }

  endLinger(): void {
    for (const task of this.#held) task();
    this.#held.clear();
  }

  override after(ms: number, task: () => void, options: { ref?: boolean } = {}): Timer {
    if (Math.abs(ms - LINGER_MS) > 1e-3) return super.after(ms, task, options);
    this.#held.add(task);
    return { cancel: () => void this.#held.delete(task) };
  }
}

test.serial(
  'who hangs up and comes back finds the task where it has come to meanwhile',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 5, length: 8 * MIB };
    swarm.origin.set('/f', { content, bytesPerSecond: 8 * MIB });
    const clock = new LingerClock();
    const host = await joined(swarm, { clock });
    const url = swarm.origin.url('/f');
    for (let turn = 0; turn < 3; turn += 1) {
      await using open = await host.openContent({ url }, { signal: never });
      for await (const _chunk of open.read({ start: turn * MIB }, { signal: never })) break;
    }
    t.is(clock.lingering, 1);
    t.is(host.tasks.active, 1);
    // It goes on although nobody reads.
    await until(() => host.store.tasks()[0]?.isComplete === true);
    await using again = await host.openContent({ url }, { signal: never });
    t.is((await readAll(again)).digest, await contentDigest(content));
    t.is(swarm.origin.stats('/f').bodyBytes, content.length);
  },
);

test.serial('a task that nobody comes back to is given up', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 6, length: 8 * MIB };
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  swarm.origin.set('/f', { content, hold: { afterBytes: 2 * MIB, until: released } });
  const clock = new LingerClock();
  const host = await joined(swarm, { clock });
  const url = swarm.origin.url('/f');
  {
    await using _open = await host.openContent({ url }, { signal: never });
  }
  t.is(host.tasks.active, 1);
  clock.endLinger();
  await until(() => host.tasks.active === 0);
  release();
  // What came is kept, and the rest is fetched for who comes later.
  await using again = await host.openContent({ url }, { signal: never });
  t.is((await readAll(again)).digest, await contentDigest(content));
});

test.serial('tasks that nobody reads give their places to those that somebody wants', async (t) => {
  await using swarm = await TestSwarm.start();
  const clock = new LingerClock();
  // Next to nothing comes in: the tasks stay as they are.
  const host = await joined(swarm, { clock, downloadRate: 1_000 });
  const openNext = async (task: number): Promise<OpenContent> => {
    swarm.origin.set(`/${task}`, { content: { seed: task, length: 200 * KIB } });
    return host.openContent({ url: swarm.origin.url(`/${task}`) }, { signal: never });
  };
  let task = 0;
  for (; clock.lingering < 64; task += 1) await (await openNext(task))[Symbol.asyncDispose]();
  t.is(host.tasks.active, 64);
  await using _open = await openNext(task);
  t.is(clock.lingering, 0);
});

test.serial(
  'a reader is told when nothing comes for too long, and when he gives up himself',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 7, length: 8 * MIB };
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    swarm.origin.set('/f', { content, hold: { afterBytes: 2 * MIB, until: released } });
    const host = await joined(swarm);
    await using open = await host.openContent({ url: swarm.origin.url('/f') }, { signal: never });
    t.is(
      await errorOf(open.read({ start: 6 * MIB }, { signal: never, stallMs: 1 })),
      'ERR_STALLED',
    );
    const aborted = AbortSignal.abort();
    t.is(await errorOf(open.read({ start: 0 }, { signal: aborted })), 'ERR_INTERRUPTED');
    const range = { start: 8 * MIB + 1 };
    t.is(await errorOf(open.read(range, { signal: never })), 'ERR_ORIGIN_RANGE');
    release();
    t.is((await readAll(open)).digest, await contentDigest(content));
  },
);

test.serial('the end of content that is not what its digest says is never given', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 8, length: 4 * MIB };
  swarm.origin.set('/f', { content });
  const host = await joined(swarm);
  const alone = await swarm.host('alone', { supernodes: [] });
  const digest = await contentDigest({ seed: 9, length: 4 * MIB });
  for (const engine of [host, alone]) {
    const request = { url: swarm.origin.url('/f'), digest };
    await using open = await engine.openContent(request, { signal: never });
    let length = 0;
    const counted = async (): Promise<void> => {
      for await (const chunk of open.read({ start: 0 }, { signal: never })) length += chunk.length;
    };
    await t.throwsAsync(counted(), { code: 'ERR_DIGEST_MISMATCH' });
    t.true(length < content.length);
  }
});

test.serial(
  'content whose length nobody knows before its end is given as it comes, with or without a supernode',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 10, length: 9 * MIB + 1 };
    for (const supernodes of [undefined, []]) {
      const path = `/${supernodes?.length ?? 'mesh'}`;
      swarm.origin.set(path, { content, framing: 'chunked', ranges: false });
      const host = await swarm.host(path.slice(1), supernodes === undefined ? {} : { supernodes });
      const request = { url: swarm.origin.url(path), digest: await contentDigest(content) };
      await using open = await host.openContent(request, { signal: never });
      t.is(open.length, undefined);
      const known = open.lengthKnown({ signal: never });
      t.deepEqual(await readAll(open), { digest: request.digest, length: content.length });
      t.is(await known, content.length);
    }
  },
);

test.serial('a host without a supernode fetches what is read first', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 11, length: 64 * MIB };
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  // Each request brings 1 MiB and waits: only what is asked for first comes.
  swarm.origin.set('/f', { content, hold: { afterBytes: 1 * MIB, until: released } });
  const host = await swarm.host('host', { supernodes: [] });
  const range = { start: 40 * MIB, end: 40 * MIB + 512 * KIB };
  const url = swarm.origin.url('/f');
  await using open = await host.openContent({ url }, { signal: never, readFrom: range.start });
  const { digest } = await drained(open.read(range, { signal: never }));
  t.is(digest, partDigest(11, range.start, range.end));
  release();
});

test.serial('content that is altered on disk while it is read is not given', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 12, length: 32 * MIB };
  swarm.origin.set('/f', { content });
  const host = await joined(swarm);
  const request = { url: swarm.origin.url('/f') };
  const { path = '' } = doneOf(await swarm.download(host, request));
  await using open = await host.openContent(request, { signal: never });
  const reader = open.read({ start: 0 }, { signal: never })[Symbol.asyncIterator]();
  await reader.next();
  const file = await openFile(path, 'r+');
  await file.write(Buffer.from('altered'), 0, 7, 20 * MIB);
  await file.close();
  const rest = async (): Promise<void> => {
    for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
      t.false(Buffer.from(next.value).includes('altered'));
    }
  };
  await t.throwsAsync(rest(), { code: 'ERR_STORE_IO' });
  // Who opens it now gets it right: what was wrong is fetched again.
  await using again = await host.openContent(request, { signal: never });
  t.is((await readAll(again)).digest, await contentDigest(content));
});

test.serial('what the origin refuses is told to who opens it', async (t) => {
  await using swarm = await TestSwarm.start();
  const host = await joined(swarm);
  const url = swarm.origin.url('/nothing');
  await t.throwsAsync(host.openContent({ url }, { signal: never }), { code: 'ERR_ORIGIN_REFUSED' });
});
