import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { gzipSync } from 'node:zlib';
import test from 'ava';
import { contentDigest, seededBytes } from '../../bench/origin/content.ts';
import type { ErrorCode } from '../../core/base/error-codes.ts';
import type { Route } from '../../bench/origin/route.ts';
import type { DownloadEvent, DownloadRequest } from '../../core/swarm/download-events.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';

const MIB = 1024 * 1024;
const content = { seed: 11, length: 3 * MIB + 123 } as const;

/** sha256 of what a download gave, inline or stored. */
async function digestOf(done: Extract<DownloadEvent, { type: 'done' }>): Promise<string> {
  const hash = createHash('sha256');
  if (done.content !== undefined) hash.update(Buffer.from(done.content, 'base64'));
  else for await (const chunk of createReadStream(done.path ?? '')) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

type Expectation =
  | { readonly digest: string; readonly copies?: number }
  | { readonly code: ErrorCode; readonly says?: RegExp };

interface Case {
  readonly title: string;
  readonly route: Route;
  readonly request?: Partial<DownloadRequest>;
  readonly expected: (whole: string) => Expectation;
}

const whole = (copies?: number) => (digest: string) =>
  copies === undefined ? { digest } : { digest, copies };
const refused = (status: number) => (): Expectation => ({
  code: 'ERR_ORIGIN_REFUSED',
  says: new RegExp(String(status)),
});

const cases: readonly Case[] = [
  { title: 'ranges and a strong ETag', route: { content }, expected: whole(1) },
  { title: 'no ranges', route: { content, ranges: false }, expected: whole(1) },
  { title: 'chunked, no length', route: { content, framing: 'chunked' }, expected: whole(1) },
  {
    title: 'no length, ends with the connection',
    route: { content, framing: 'close' },
    expected: whole(1),
  },
  { title: 'a weak ETag', route: { content, validators: 'weak' }, expected: whole(1) },
  {
    title: 'Last-Modified only',
    route: { content, validators: 'last-modified' },
    expected: whole(1),
  },
  { title: 'no validators at all', route: { content, validators: 'none' }, expected: whole(1) },
  {
    title: 'no validators, no ranges, no length',
    route: { content, validators: 'none', ranges: false, framing: 'chunked' },
    expected: whole(1),
  },
  { title: 'an empty body', route: {}, expected: () => ({ digest: `sha256:${EMPTY}` }) },
  {
    title: 'one byte',
    route: { content: { seed: 1, length: 1 } },
    expected: () => ({ digest: sha256(seededBytes(1, 0, 1)) }),
  },
  {
    title: 'a gzip content-encoding, passed on as it is',
    route: { content: { seed: 2, length: MIB }, contentEncoding: 'gzip' },
    expected: () => ({ digest: sha256(gzipSync(seededBytes(2, 0, MIB))) }),
  },
  { title: '404', route: { fail: { status: 404 } }, expected: refused(404) },
  { title: '410', route: { fail: { status: 410 } }, expected: refused(410) },
  {
    title: '401 without credentials',
    route: { content, authorization: 'Bearer good' },
    expected: refused(401),
  },
  {
    title: '403 with wrong credentials',
    route: { content, authorization: 'Bearer good' },
    request: { headers: { authorization: 'Bearer bad' } },
    expected: refused(403),
  },
  {
    title: 'content behind credentials',
    route: { content, authorization: 'Bearer good' },
    request: { headers: { authorization: 'Bearer good' } },
    expected: whole(1),
  },
  {
    title: '503 twice, then fine',
    route: { content, fail: { status: 503, times: 2 } },
    expected: whole(1),
  },
  {
    title: 'Retry-After honoured',
    route: { content, fail: { status: 503, times: 1, retryAfter: '1' } },
    expected: whole(1),
  },
  {
    title: 'a body cut twice and resumed',
    route: { content, cut: { afterBytes: MIB, times: 2 } },
    expected: whole(),
  },
  {
    title: 'a body cut by reset and resumed',
    route: { content, cut: { afterBytes: MIB, times: 1, reset: true } },
    expected: whole(),
  },
  {
    title: 'a short body without ranges, read again',
    route: { content, ranges: false, cut: { afterBytes: MIB, times: 1 } },
    expected: whole(),
  },
  {
    title: 'a slow origin',
    route: { content: { seed: 3, length: MIB }, bytesPerSecond: 2 * MIB, slowHeadMs: 300 },
    expected: () => ({ digest: sha256(seededBytes(3, 0, MIB)) }),
  },
  {
    title: 'a range of the content',
    route: { content },
    request: { range: { start: 100, end: 2 * MIB } },
    expected: () => ({ digest: sha256(seededBytes(content.seed, 100, 2 * MIB)) }),
  },
  {
    title: 'a range outside the content',
    route: { content },
    request: { range: { start: 90 * MIB } },
    expected: () => ({ code: 'ERR_ORIGIN_RANGE' }),
  },
  {
    title: 'a wrong expected digest',
    route: { content },
    request: { digest: `sha256:${'0'.repeat(64)}` },
    expected: () => ({ code: 'ERR_DIGEST_MISMATCH' }),
  },
  {
    title: 'a wrong expected md5',
    route: { content },
    request: { digest: `md5:${'0'.repeat(32)}` },
    expected: () => ({ code: 'ERR_DIGEST_MISMATCH' }),
  },
];

const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

for (const through of ['the mesh', 'no supernode'] as const) {
  test(`every kind of origin gives the right bytes or the right error through ${through}`, async (t) => {
    t.timeout(300_000);
    await using swarm = await TestSwarm.start();
    const host = await swarm.host('host', through === 'the mesh' ? {} : { supernodes: [] });
    const digest = await contentDigest(content);
    for (const [index, { title, route, request, expected }] of cases.entries()) {
      const path = `/case-${index}`;
      swarm.origin.set(path, route);
      const event = await swarm.download(host, { url: swarm.origin.url(path), ...request });
      const wanted = expected(digest);
      if ('code' in wanted) {
        t.is(event.type === 'failed' ? event.code : event.type, wanted.code, title);
        if (wanted.says !== undefined)
          t.regex(event.type === 'failed' ? event.message : '', wanted.says, title);
        continue;
      }
      t.is(event.type, 'done', `${title}: ${JSON.stringify(event)}`);
      if (event.type === 'done') t.is(await digestOf(event), wanted.digest, title);
      const { bodyBytes } = swarm.origin.stats(path);
      if (wanted.copies !== undefined && through === 'the mesh') {
        t.is(bodyBytes, wanted.copies * content.length, `${title}: bytes of the origin`);
      }
    }
  });

  test(`content that changed between two downloads is never served stale through ${through}`, async (t) => {
    await using swarm = await TestSwarm.start();
    const host = await swarm.host('host', through === 'the mesh' ? {} : { supernodes: [] });
    for (const validators of ['strong', 'last-modified', 'weak', 'none'] as const) {
      for (const length of [1000, MIB]) {
        const path = `/${validators}-${length}`;
        const url = swarm.origin.url(path);
        for (const seed of [1, 2, 3]) {
          const fresh = { seed, length };
          const lastModified = new Date(1_600_000_000_000 + seed * 60_000).toUTCString();
          swarm.origin.set(path, { content: fresh, validators, lastModified });
          const done = doneOf(await swarm.download(host, { url }));
          t.is(await digestOf(done), await contentDigest(fresh), `${path}, change ${seed}`);
        }
      }
    }
  });

  test(`content that changes in mid-transfer is never mixed through ${through}`, async (t) => {
    await using swarm = await TestSwarm.start();
    const host = await swarm.host('host', through === 'the mesh' ? {} : { supernodes: [] });
    const before = { seed: 21, length: 4 * MIB };
    const after = { seed: 22, length: 4 * MIB };
    const good = [await contentDigest(before), await contentDigest(after)];
    for (const ranges of [true, false]) {
      const path = `/changing-${ranges}`;
      swarm.origin.set(path, {
        content: before,
        ranges,
        become: {
          content: after,
          afterBytes: MIB,
          lastModified: new Date(1_700_000_000_000).toUTCString(),
        },
        cut: { afterBytes: 2 * MIB, times: 1 },
      });
      const event = await swarm.download(host, { url: swarm.origin.url(path) });
      if (event.type === 'done')
        t.true(good.includes(await digestOf(event)), `ranges ${ranges}: mixed`);
      else t.is(event.code, 'ERR_ORIGIN_CHANGED', `ranges ${ranges}`);
      const again = doneOf(await swarm.download(host, { url: swarm.origin.url(path) }));
      t.is(
        await digestOf(again),
        await contentDigest(after),
        `ranges ${ranges}: the new version comes next`,
      );
    }
  });
}

test("one host's credentials never open content to a host without them", async (t) => {
  await using swarm = await TestSwarm.start();
  const authorization = 'Bearer good';
  swarm.origin.set('/private', { content, authorization });
  swarm.origin.set('/private-tiny', { content: { seed: 4, length: 100 }, authorization });
  const [rich, poor] = [await swarm.host('rich'), await swarm.host('poor')];
  for (const path of ['/private', '/private-tiny']) {
    const url = swarm.origin.url(path);
    doneOf(await swarm.download(rich, { url, headers: { authorization } }));
    const event = await swarm.download(poor, { url });
    t.is(event.type === 'failed' ? event.code : event.type, 'ERR_ORIGIN_REFUSED', path);
    const wrong = await swarm.download(poor, { url, headers: { authorization: 'Bearer bad' } });
    t.is(wrong.type === 'failed' ? wrong.code : wrong.type, 'ERR_ORIGIN_REFUSED', path);
    const right = doneOf(await swarm.download(poor, { url, headers: { authorization } }));
    if (path === '/private') t.is(right.fromOrigin, 0);
  }
});

test('content named by digest is given only to who asks a URL that really serves it', async (t) => {
  await using swarm = await TestSwarm.start();
  const digest = await contentDigest(content);
  swarm.origin.set('/true', { content, authorization: 'Bearer good' });
  swarm.origin.set('/evil', { content: { seed: 666, length: content.length } });
  swarm.origin.set('/mirror', { content });
  const [owner, thief, other] = [
    await swarm.host('owner'),
    await swarm.host('thief'),
    await swarm.host('other'),
  ];
  const headers = { authorization: 'Bearer good' };
  doneOf(await swarm.download(owner, { url: swarm.origin.url('/true'), digest, headers }));
  const stolen = await swarm.download(thief, { url: swarm.origin.url('/evil'), digest });
  t.is(stolen.type === 'failed' ? stolen.code : stolen.type, 'ERR_DIGEST_MISMATCH');
  const served = swarm.origin.stats('/mirror').bodyBytes;
  const done = doneOf(await swarm.download(other, { url: swarm.origin.url('/mirror'), digest }));
  t.is(await digestOf(done), digest);
  t.true(swarm.origin.stats('/mirror').bodyBytes - served < content.length);
});
