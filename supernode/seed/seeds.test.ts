import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { TestSeed } from '../../test/support/seed.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const signal = new AbortController().signal;
const content = { seed: 1, length: 3 * MIB };
const younger = { lastModified: 'Wed, 01 May 2024 00:00:00 GMT' };

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    return CodedError.from(error).code;
  }
}

test('Seeds.resolve() asks the origin once for all who ask at the same time, and fetches once', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content, slowHeadMs: 50 });
  const seeds = await Promise.all(['/f', '/f', '/f'].map(async (path) => it.resolve(path)));
  t.is(new Set(seeds).size, 1);
  await seeds[0]?.settled;
  t.is(seeds[0]?.state, 'complete');
  t.is(it.origin.stats('/f').requests, 1);
  t.is(it.origin.stats('/f').bodyBytes, content.length);
});

test('Seeds.resolve() asks whether what it has is still so, and fetches what is not', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content });
  const first = await it.fetch('/f');
  t.is(await it.fetch('/f'), first);
  t.is(it.origin.stats('/f').conditionalRequests, 1);
  it.origin.set('/f', { content: { ...content, seed: 2 }, ...younger });
  const second = await it.fetch('/f');
  t.not(second.stored.version, first.stored.version);
  t.is(it.seeds.find(first.stored.taskId, first.stored.version), first, 'hosts may be taking it');
});

test('Seeds.resolve() joins what is being handed out for those who were told yes, and asks for others', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content });
  const first = await it.fetch('/f');
  it.isInDemand = true;
  t.is(await it.resolve('/f'), first);
  t.is(it.origin.stats('/f').requests, 1);
  t.is(await it.resolve('/f', { headers: { 'x-user': 'other' } }), first);
  t.is(it.origin.stats('/f').requests, 2);
});

test('Seeds.resolve() forgets who was told yes when the origin has another version', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content });
  const other = { headers: { 'x-user': 'other' } };
  await it.fetch('/f', other);
  it.isInDemand = true;
  it.origin.set('/f', { content: { ...content, seed: 2 }, ...younger });
  const second = await it.fetch('/f');
  t.is(await it.resolve('/f', other), second);
  t.is(it.origin.stats('/f').requests, 3);
});

test('Seeds.resolve() passes the refusal of the origin on, and remembers nothing of it', async (t) => {
  await using it = await TestSeed.start();
  t.is(await codeOf(it.resolve('/f')), 'ERR_ORIGIN_REFUSED');
  it.origin.set('/f', { content });
  t.is((await it.fetch('/f')).state, 'complete');
});

test('Seeds.resolve() begins anew after a fetch that failed', async (t) => {
  await using it = await TestSeed.start();
  const digest = await contentDigest(content);
  it.origin.set('/f', { content: { ...content, seed: 2 } });
  t.is(await codeOf(it.fetch('/f', { digest })), 'ERR_DIGEST_MISMATCH');
  t.deepEqual(it.store.tasks(), []);
  it.origin.set('/f', { content });
  t.is((await it.fetch('/f', { digest })).stored.wholeDigest, digest);
  t.deepEqual(
    it.settled.map(({ state }) => state),
    ['failed', 'complete'],
  );
});

test('Seeds.resolve() remembers for whom content named by its digest was compared', async (t) => {
  await using it = await TestSeed.start();
  const digest = await contentDigest(content);
  it.origin.set('/f', { content });
  it.origin.set('/mirror', { content });
  const seed = await it.fetch('/f', { digest });
  for (const path of ['/f', '/mirror', '/mirror']) t.is(await it.resolve(path, { digest }), seed);
  t.is(it.origin.stats('/f').requests, 1);
  t.is(it.origin.stats('/mirror').rangeRequests, 3, 'three samples, once');
});

test('Seeds.resolve() takes the word of the URL that named content came from, and not a byte', async (t) => {
  await using it = await TestSeed.start();
  const digest = await contentDigest(content);
  it.origin.set('/f', { content });
  const seed = await it.fetch('/f', { digest });
  const { bodyBytes } = it.origin.stats('/f');
  const other = { digest, headers: { authorization: 'Bearer other' } };
  for (let round = 0; round < 2; round += 1) t.is(await it.resolve('/f', other), seed);
  t.like(it.origin.stats('/f'), { requests: 2, bodyBytes });
  it.origin.set('/f', { fail: { status: 401 } });
  const refused = it.resolve('/f', { digest, headers: { authorization: 'Bearer wrong' } });
  t.is(await codeOf(refused), 'ERR_ORIGIN_REFUSED');
});

test('Seeds.resolve() checks a digest of any algorithm where there is too little to compare', async (t) => {
  await using it = await TestSeed.start();
  const bytes = Buffer.from('hello');
  const digest = 'md5:5d41402abc4b2a76b9719d911017c592';
  it.origin.set('/f', { content: { bytes }, ranges: false });
  const seed = await it.fetch('/f', { digest });
  t.is(await it.resolve('/f', { digest, headers: { 'x-user': 'other' } }), seed);
  it.origin.set('/f', { content: { bytes: Buffer.from('HELLO') }, ranges: false });
  const another = it.resolve('/f', { digest, headers: { 'x-user': 'another' } });
  t.is(await codeOf(another), 'ERR_DIGEST_MISMATCH');
});

test('Seeds.resolve() of one asker ends with him, and not the question that others wait for', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content, slowHeadMs: 200 });
  const controller = new AbortController();
  const { taskId: task } = (await it.fetch('/f')).stored;
  const spec = { url: it.origin.url('/f') };
  const gone = it.seeds.resolve(task, spec, { signal: controller.signal });
  const waiting = it.resolve('/f');
  controller.abort(new CodedError('ERR_INTERRUPTED', 'gone'));
  t.is(await codeOf(gone), 'ERR_INTERRUPTED');
  t.is((await waiting).state, 'complete');
  t.is(it.origin.stats('/f').requests, 2);
});

test('Seeds.inline() is the content of what is small, once it is here', async (t) => {
  await using it = await TestSeed.start();
  const bytes = Buffer.from('hello');
  it.origin.set('/small', { content: { bytes } });
  it.origin.set('/large', { content });
  it.origin.set('/empty', {});
  t.is(await it.seeds.inline(await it.resolve('/small'), { signal }), bytes.toString('base64'));
  t.is(await it.seeds.inline(await it.resolve('/empty'), { signal }), '');
  t.is(await it.seeds.inline(await it.resolve('/large'), { signal }), undefined);
});

test('Seeds.resolve() makes room of what nobody downloads', async (t) => {
  await using it = await TestSeed.start({ quotaBytes: 4 * MIB });
  for (const path of ['/a', '/b']) it.origin.set(path, { content });
  const { taskId, version } = (await it.fetch('/a')).stored;
  t.is((await it.fetch('/b')).state, 'complete');
  t.is(it.store.find(taskId, version), undefined);
  t.is(it.seeds.find(taskId, version), undefined);
  t.is((await it.fetch('/a')).state, 'complete');
});

test('Seeds forgets versions of before that nobody downloads, however often the content changes', async (t) => {
  const clock = new ManualClock();
  await using it = await TestSeed.start({ clock });
  const versions: string[] = [];
  let task = '';
  for (let month = 1; month <= 4; month += 1) {
    const lastModified = `Wed, 0${month} May 2024 00:00:00 GMT`;
    it.origin.set('/f', { content: { ...content, seed: month }, lastModified });
    const { stored } = await it.fetch('/f');
    task = stored.taskId;
    versions.push(stored.version);
    clock.advance(10_000);
  }
  const known = versions.filter((version) => it.seeds.find(task, version) !== undefined);
  t.deepEqual(known, versions.slice(-1));
  it.origin.set('/f', {
    content: { ...content, seed: 1 },
    lastModified: 'Wed, 01 May 2024 00:00:00 GMT',
  });
  t.is((await it.fetch('/f')).stored.version, versions[0] ?? '', 'it is in the store');
  t.is(it.seeds.find(task, versions.at(-1) ?? ''), undefined);
});

test('Seeds.close() ends what is being fetched, and takes nothing up any more', async (t) => {
  await using it = await TestSeed.start();
  it.origin.set('/f', { content, stall: { afterBytes: MIB } });
  const seed = await it.resolve('/f');
  await it.seeds.close();
  t.is(seed.failure?.code, 'ERR_INTERRUPTED');
  t.is(await codeOf(it.resolve('/g')), 'ERR_ORIGIN_REFUSED');
  it.origin.set('/g', { content });
  t.is(await codeOf(it.resolve('/g')), 'ERR_INTERRUPTED');
});
