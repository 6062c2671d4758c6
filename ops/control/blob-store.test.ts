import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { BlobStore } from './blob-store.ts';
import type { BlobFacts, BlobStoreOptions } from './blob-store.ts';

async function folder(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'odonata-blobs-'));
  t.teardown(async () => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function openStore(
  t: ExecutionContext,
  over: Partial<BlobStoreOptions> = {},
): Promise<{ store: BlobStore; directory: string }> {
  const directory = over.directory ?? (await folder(t));
  return {
    store: await BlobStore.open({ directory, isReferred: () => false, ...over }),
    directory,
  };
}

function factsOf(content: string): BlobFacts {
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  return { digest, length: Buffer.byteLength(content) };
}

async function* bytesOf(...parts: string[]): AsyncGenerator<Uint8Array, void, undefined> {
  for (const part of parts) yield Buffer.from(part);
}

async function* failing(): AsyncGenerator<Uint8Array, void, undefined> {
  yield Buffer.from('con');
  throw new Error('broken off');
}

async function put(store: BlobStore, content: string): Promise<string> {
  const facts = factsOf(content);
  await using staged = await store.stage(facts, bytesOf(content));
  await staged.keep();
  return facts.digest;
}

async function textOf(store: BlobStore, digest: string): Promise<string | undefined> {
  const found = await store.file(digest);
  if (found === undefined) return undefined;
  await using handle = found.handle;
  return handle.readFile('utf8');
}

test('BlobStore has what was kept, whole, also after it is opened again', async (t) => {
  const { store, directory } = await openStore(t);
  const facts = factsOf('first and second');
  {
    await using staged = await store.stage(facts, bytesOf('first ', 'and second'));
    t.is(store.lengthOf(facts.digest), undefined, 'not before it is kept');
    await staged.keep();
  }
  const none = await put(store, '');
  for (const { store: some } of [{ store }, await openStore(t, { directory })]) {
    t.is(await textOf(some, facts.digest), 'first and second');
    t.is(await textOf(some, none), '');
    t.is(some.usedBytes, facts.length);
  }
  t.deepEqual(await readdir(join(directory, 'coming')), []);
});

test('BlobStore.open() removes what a killed run was writing', async (t) => {
  const { store, directory } = await openStore(t);
  const facts = factsOf('half of it, and the other half');
  const { promise: isWaiting, resolve } = Promise.withResolvers<void>();
  const { promise: rest, resolve: goOn } = Promise.withResolvers<void>();
  const content = async function* (): AsyncGenerator<Uint8Array, void, undefined> {
    yield Buffer.from('half of it');
    resolve();
    await rest;
  };
  const staging = store.stage(facts, content());
  await isWaiting;
  t.is((await readdir(join(directory, 'coming'))).length, 1);
  const again = await openStore(t, { directory });
  t.deepEqual(await readdir(join(directory, 'coming')), []);
  t.is(again.store.lengthOf(facts.digest), undefined);
  goOn();
  await t.throwsAsync(staging, { code: 'ERR_REQUEST' });
});

test('BlobStore.stage() takes nothing but what was announced, and leaves nothing of the rest', async (t) => {
  const { store, directory } = await openStore(t);
  const { digest } = factsOf('content');
  const wrong = [
    [{ digest, length: 6 }, 'ERR_REQUEST', /longer/],
    [{ digest, length: 8 }, 'ERR_REQUEST', /shorter/],
    [{ digest: `sha256:${'0'.repeat(64)}`, length: 7 }, 'ERR_DIGEST_MISMATCH', /not sha256:000/],
  ] as const;
  for (const [facts, code, message] of wrong) {
    await t.throwsAsync(store.stage(facts, bytesOf('con', 'tent')), { code, message });
  }
  const facts = { digest, length: 7 };
  await t.throwsAsync(store.stage(facts, failing()), { message: 'broken off' });
  {
    await using _forgotten = await store.stage(facts, bytesOf('content'));
  }
  t.deepEqual((await readdir(directory)).toSorted(), ['coming']);
  t.deepEqual(await readdir(join(directory, 'coming')), []);
  t.is(store.usedBytes, 0);
  // No room is lost by it either.
  const { store: tight } = await openStore(t, { quotaBytes: 7 });
  await t.throwsAsync(tight.stage(facts, failing()));
  await put(tight, 'content');
  // What is there is not written again, but has to be shown all the same.
  await t.throwsAsync(tight.stage(facts, bytesOf('CONTENT')), { code: 'ERR_DIGEST_MISMATCH' });
});

test('BlobStore makes room by what was put longest ago and nobody refers to', async (t) => {
  const referred = new Set<string>();
  const { store, directory } = await openStore(t, {
    quotaBytes: 30,
    isReferred: (digest) => referred.has(digest),
  });
  const [a, b, c] = [
    await put(store, 'a'.repeat(10)),
    await put(store, 'b'.repeat(10)),
    await put(store, 'c'.repeat(10)),
  ];
  referred.add(b);
  await put(store, 'a'.repeat(10));
  const d = await put(store, 'd'.repeat(10));
  const lengths = (): (number | undefined)[] =>
    [a, b, c, d].map((digest) => store.lengthOf(digest));
  t.deepEqual(lengths(), [10, 10, undefined, 10], 'a was put again, b is a package');
  t.is(await textOf(store, c), undefined);

  const tooLong = store.stage(factsOf('e'.repeat(31)), bytesOf('e'.repeat(31)));
  await t.throwsAsync(tooLong, { code: 'ERR_NO_SPACE' });
  t.deepEqual(lengths(), [10, 10, undefined, 10], 'nothing goes for what cannot come');
  using _held = store.hold(a);
  await t.throwsAsync(put(store, 'f'.repeat(20)), { code: 'ERR_NO_SPACE' });
  t.is(store.lengthOf(a), 10);
  referred.add(d);
  await t.throwsAsync(put(store, 'g'.repeat(20)), { code: 'ERR_NO_SPACE' });
  t.is(store.lengthOf(b), 10);
  t.is((await readdir(directory)).filter((name) => name !== 'coming').length, 2);
});
