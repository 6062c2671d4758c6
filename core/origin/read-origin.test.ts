import test from 'ava';
import type { ExecutionContext } from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../base/error.ts';
import { seededBytes } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import { loopbackConnections, loopbackOptions } from '../../bench/origin/loopback.ts';
import type { Route } from '../../bench/origin/route.ts';
import { openResumable, readOrigin } from './read-origin.ts';
import type { ReadOriginOptions } from './read-origin.ts';
import type { OriginRequest } from './request-headers.ts';
import type { OriginHead } from './response-head.ts';

const LENGTH = 200_000;
const content = { seed: 1, length: LENGTH };
const whole = seededBytes(1, 0, LENGTH);
const newContent = { seed: 2, length: LENGTH };

type Overrides = Partial<ReadOriginOptions>;

interface Setup {
  readonly origin: FaultOrigin;
  readonly read: (request?: Partial<OriginRequest>, options?: Overrides) => Promise<Buffer>;
  readonly options: (options?: Overrides) => ReadOriginOptions;
}

/** An origin with one path, `/a`, and a reader of it; both end with the test. */
async function setup(t: ExecutionContext, route: Route): Promise<Setup> {
  const origin = await startOrigin({ routes: { '/a': { content, ...route } } });
  const connections = loopbackConnections();
  t.teardown(async () => {
    await connections.close();
    await origin.close();
  });
  const options = (overrides: Overrides = {}): ReadOriginOptions => ({
    ...loopbackOptions(connections, overrides),
    onHead: overrides.onHead,
  });
  const read: Setup['read'] = async (request, overrides) => {
    const chunks: Uint8Array[] = [];
    const url = origin.url('/a');
    for await (const chunk of readOrigin({ url, ...request }, options(overrides)))
      chunks.push(chunk);
    return Buffer.concat(chunks);
  };
  return { origin, read, options };
}

async function failureOf(work: Promise<unknown>): Promise<CodedError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
  throw new TypeError('nothing failed');
}

test('readOrigin() gives the whole body once, and its head before', async (t) => {
  const { origin, read } = await setup(t, {});
  const heads: OriginHead[] = [];
  t.true((await read({}, { onHead: (head) => heads.push(head) })).equals(whole));
  t.is(heads.length, 1);
  t.like(heads[0], { status: 200, length: LENGTH, acceptsRanges: true });
  t.is(origin.total.requests, 1);
});

test('readOrigin() of an empty content, and of one not modified, gives nothing', async (t) => {
  const { read } = await setup(t, { content: { bytes: new Uint8Array(0) } });
  const heads: OriginHead[] = [];
  const onHead = (head: OriginHead): void => void heads.push(head);
  t.is((await read({}, { onHead })).length, 0);
  const condition = heads[0]?.validators;
  t.is((await read({ condition, range: { start: 10 } }, { onHead })).length, 0);
  t.deepEqual(
    heads.map((head) => head.status),
    [200, 304],
  );
});

for (const framing of ['length', 'chunked'] as const) {
  for (const reset of [false, true]) {
    const how = reset ? 'resets' : 'breaks';
    test(`readOrigin() goes on by range after ${how} of a body with framing ${framing}`, async (t) => {
      const cut = { afterBytes: 50_000, times: 3, reset };
      const { origin, read } = await setup(t, { framing, cut });
      t.true((await read()).equals(whole));
      const stats = origin.stats('/a');
      t.is(stats.statuses['200'], 1);
      t.true((stats.statuses['206'] ?? 0) >= 3);
      // A reset may drop bytes on their way, which then are sent again.
      if (!reset) t.is(stats.bodyBytes, LENGTH);
      t.is(origin.seen.at(-1)?.headers['if-match'], `"seed-1-${LENGTH}"`);
    });
  }
}

test('readOrigin() goes on after stalls', async (t) => {
  const { origin, read } = await setup(t, { stall: { afterBytes: 80_000, times: 2 } });
  t.true((await read({}, { limits: { stallTimeoutMs: 200 } })).equals(whole));
  t.true(origin.stats('/a').rangeRequests >= 2);
});

test('readOrigin() goes on by If-Range where there is only an old Last-Modified', async (t) => {
  const cut = { afterBytes: 50_000, times: 1 };
  const { origin, read } = await setup(t, { validators: 'last-modified', cut });
  t.true((await read()).equals(whole));
  t.is(origin.stats('/a').statuses['206'], 1);
  t.is(origin.seen.at(-1)?.headers['if-range'], 'Wed, 01 Jan 2020 00:00:00 GMT');
  t.is(origin.stats('/a').bodyBytes, LENGTH);
});

for (const [name, route] of [
  ['no ranges', { ranges: false }],
  ['no ranges and no validators', { ranges: false, validators: 'none' }],
  ['no validators', { validators: 'none' }],
  ['a weak ETag only', { validators: 'weak' }],
  [
    'a Last-Modified of this very second only',
    { validators: 'last-modified', lastModified: 'Fri, 01 Jan 2100 00:00:00 GMT' },
  ],
  [
    'no ranges, no validators and no length',
    { ranges: false, validators: 'none', framing: 'chunked' },
  ],
] as const satisfies readonly (readonly [string, Route])[]) {
  test(`readOrigin() of an origin with ${name} reads the beginning again, compares it, and goes on`, async (t) => {
    const { origin, read } = await setup(t, { ...route, cut: { afterBytes: 120_000, times: 1 } });
    t.true((await read()).equals(whole));
    t.is(origin.stats('/a').bodyBytes, LENGTH + 120_000);
    t.is(origin.stats('/a').statuses['200'], 2);
  });

  test(`readOrigin() of an origin with ${name} fails when the beginning has changed`, async (t) => {
    const become = { content: newContent, afterBytes: 120_000 };
    const { read } = await setup(t, { ...route, become, cut: { afterBytes: 120_000, times: 1 } });
    t.is((await failureOf(read())).code, 'ERR_ORIGIN_CHANGED');
  });
}

test('readOrigin() never mixes versions: a new ETag, date or length at a continuation is ERR_ORIGIN_CHANGED', async (t) => {
  const cut = { afterBytes: 50_000, times: 1 };
  const become = { content: newContent, afterBytes: 50_000 };
  const strong = await setup(t, { cut, become });
  t.is((await failureOf(strong.read())).code, 'ERR_ORIGIN_CHANGED');
  t.is(strong.origin.stats('/a').statuses['412'], 1);

  const later = { ...become, lastModified: 'Wed, 01 Jan 2025 00:00:00 GMT' };
  const redated = await setup(t, { cut, become: later, validators: 'last-modified' });
  t.is((await failureOf(redated.read())).code, 'ERR_ORIGIN_CHANGED');

  const longer = { content: { seed: 1, length: LENGTH + 1 }, afterBytes: 50_000 };
  const dated = await setup(t, { cut, become: longer, validators: 'last-modified' });
  t.is((await failureOf(dated.read())).code, 'ERR_ORIGIN_CHANGED');

  const shorter = { content: { seed: 1, length: 40_000 }, afterBytes: 50_000 };
  for (const framing of ['length', 'chunked'] as const) {
    const unnamed = await setup(t, { cut, become: shorter, validators: 'none', framing });
    t.is((await failureOf(unnamed.read())).code, 'ERR_ORIGIN_CHANGED');
  }
});

test('readOrigin() does not trust an origin that ignores If-Match and sends another version', async (t) => {
  const etag = '"fixed"';
  const cut = { afterBytes: 50_000, times: 1 };
  const { origin, read } = await setup(t, { cut, headers: { etag } });
  const reading = read(
    {},
    {
      onWait: () => origin.set('/a', { content: newContent, headers: { etag: '"other"' } }),
    },
  );
  t.is((await failureOf(reading)).code, 'ERR_ORIGIN_CHANGED');
});

test('readOrigin() is done when a body of unknown length broke after its last byte', async (t) => {
  const { origin, read } = await setup(t, {
    framing: 'chunked',
    cut: { afterBytes: LENGTH, times: 1 },
  });
  t.true((await read()).equals(whole));
  t.is(origin.stats('/a').statuses['416'], 1);
});

test('readOrigin() gives exactly the range asked for, with and without ranges at the origin, broken or not', async (t) => {
  const range = { start: 10_000, end: 150_000 };
  for (const route of [
    {},
    { ranges: false },
    { ranges: false, validators: 'none' as const, framing: 'chunked' as const },
  ]) {
    for (const cut of [undefined, { afterBytes: 60_000, times: 1 }]) {
      const { read } = await setup(t, cut === undefined ? route : { ...route, cut });
      t.true((await read({ range })).equals(whole.subarray(10_000, 150_000)));
    }
  }
  const { origin, read } = await setup(t, {});
  for (let round = 0; round < 3; round += 1) await read({ range });
  t.is(origin.total.connections, 1, 'a range read to its end leaves its connection usable');
});

test('readOrigin() says ERR_ORIGIN_RANGE for a range outside the content, with and without ranges', async (t) => {
  const range = { start: LENGTH + 5 };
  for (const route of [{}, { ranges: false }, { ranges: false, framing: 'chunked' as const }]) {
    const { read } = await setup(t, route);
    t.is((await failureOf(read({ range }))).code, 'ERR_ORIGIN_RANGE');
  }
});

test('readOrigin() takes a capped range as a part and asks for the rest', async (t) => {
  const { origin, read } = await setup(t, { wrongRange: { kind: 'capped' } });
  const range = { start: 0, end: 20_000 };
  t.true((await read({ range })).equals(whole.subarray(0, 20_000)));
  t.is(origin.total.requests, 5);
  t.is(origin.total.connections, 1);
});

test('readOrigin() counts a wrong range at a continuation as failing and asks again', async (t) => {
  const cut = { afterBytes: 50_000, times: 1 };
  const once = await setup(t, { cut, wrongRange: { kind: 'other-start', times: 1 } });
  t.true((await once.read()).equals(whole));
  const always = await setup(t, { cut, wrongRange: { kind: 'other-start' } });
  t.is((await failureOf(always.read())).code, 'ERR_ORIGIN_FAILING');
  const total = await setup(t, { cut, wrongRange: { kind: 'wrong-total' } });
  t.is((await failureOf(total.read())).code, 'ERR_ORIGIN_CHANGED');
});

test('readOrigin() goes on through 5xx and 429 at a continuation', async (t) => {
  const { origin, read } = await setup(t, { cut: { afterBytes: 50_000 } });
  let waits = 0;
  const onWait = (): void => {
    waits += 1;
    // Every other wait is for the failure set here at the one before.
    if (waits % 2 === 0) return;
    const fail = { status: waits % 4 === 1 ? 503 : 429, times: 1 };
    origin.set('/a', { content, cut: { afterBytes: 50_000, times: 1 }, fail });
  };
  t.true((await read({}, { onWait })).equals(whole));
  t.true(waits > 2);
});

test('readOrigin() passes on a 404 at a continuation', async (t) => {
  const { origin, read } = await setup(t, { cut: { afterBytes: 50_000 } });
  const reading = read({}, { onWait: () => origin.set('/a', { fail: { status: 404 } }) });
  t.is((await failureOf(reading)).code, 'ERR_ORIGIN_REFUSED');
});

test('readOrigin() gives up after maxAttempts without progress, with the reason', async (t) => {
  const short = await setup(t, { ranges: false, cut: { afterBytes: 50_000 } });
  const error = await failureOf(short.read());
  t.is(error.code, 'ERR_ORIGIN_SHORT');
  t.like(error.detail, { offset: 50_000, attempts: 5 });
  t.is(short.origin.total.requests, 5);

  const limits = { stallTimeoutMs: 100, maxAttempts: 2 };
  const stalled = await setup(t, { ranges: false, stall: { afterBytes: 1000 } });
  t.is((await failureOf(stalled.read({}, { limits }))).code, 'ERR_ORIGIN_STALLED');

  const nothing = await setup(t, { cut: { afterBytes: 0 } });
  t.is((await failureOf(nothing.read())).code, 'ERR_ORIGIN_SHORT');
});

test('readOrigin() bounds continuations even when each brings a little', async (t) => {
  const { origin, read } = await setup(t, { cut: { afterBytes: 10 } });
  const error = await failureOf(read({}, { limits: { maxContinuations: 20 } }));
  t.is(error.code, 'ERR_ORIGIN_SHORT');
  t.is(origin.total.requests, 21);
});

test('readOrigin() of an announced length beyond the real one fails, and never gives a short body as whole', async (t) => {
  const limits = { stallTimeoutMs: 400, maxAttempts: 2 };
  const ranged = await setup(t, { wrongLength: 1000 });
  t.is((await failureOf(ranged.read({}, { limits }))).code, 'ERR_ORIGIN_CHANGED');
  const plain = await setup(t, { wrongLength: 1000, ranges: false });
  t.is((await failureOf(plain.read({}, { limits }))).code, 'ERR_ORIGIN_STALLED');
});

test('readOrigin() goes on in a gzip body, which stays as it is', async (t) => {
  const text = seededBytes(3, 0, 50_000);
  const cut = { afterBytes: 20_000, times: 1 };
  const { read } = await setup(t, { content: { bytes: text }, contentEncoding: 'gzip', cut });
  const clean = await setup(t, { content: { bytes: text }, contentEncoding: 'gzip' });
  const packed = await read();
  t.true(packed.equals(await clean.read()));
  t.deepEqual([...packed.subarray(0, 2)], [0x1f, 0x8b]);
});

test('readOrigin() left early ends its connection', async (t) => {
  const length = 50_000_000;
  const { origin, options } = await setup(t, { content: { seed: 1, length } });
  for await (const chunk of readOrigin({ url: origin.url('/a') }, options())) {
    t.true(chunk.length > 0);
    break;
  }
  t.true(origin.stats('/a').bodyBytes < length);
});

test('openResumable() gives the head first, and its body goes on however late it is read', async (t) => {
  const { origin, options } = await setup(t, { cut: { afterBytes: 50_000, times: 2 } });
  const opened = await openResumable({ url: origin.url('/a') }, options());
  t.is(opened.head.length, LENGTH);
  const chunks: Uint8Array[] = [];
  for await (const chunk of opened.body) chunks.push(chunk);
  t.true(Buffer.concat(chunks).equals(whole));
  opened.close();
});

test('openResumable() closed: in the body and between attempts it fails with ERR_INTERRUPTED', async (t) => {
  const { origin, options } = await setup(t, { stall: { afterBytes: 10 } });
  const opened = await openResumable(
    { url: origin.url('/a') },
    options({ limits: { stallTimeoutMs: 9000 } }),
  );
  const reading = opened.body[Symbol.asyncIterator]();
  await reading.next();
  const next = reading.next();
  opened.close();
  t.is((await failureOf(next)).code, 'ERR_INTERRUPTED');

  origin.set('/a', { content, cut: { afterBytes: 10 } });
  const limits = { retryFirstMs: 10_000, retryMaxMs: 10_000 };
  const retried = await openResumable(
    { url: origin.url('/a') },
    options({ limits, onWait: () => retried.close() }),
  );
  const all = async (): Promise<void> => {
    for await (const chunk of retried.body) t.is(chunk.length, 10);
  };
  t.is((await failureOf(all())).code, 'ERR_INTERRUPTED');
});

const large = { seed: 3, length: 3_000_000 };

/** All of a body that is to come slowly after each chunk. */
async function readSlowly(setUp: Setup, request?: Partial<OriginRequest>): Promise<Buffer> {
  const url = setUp.origin.url('/a');
  const opened = await openResumable({ url, ...request }, setUp.options());
  const chunks: Uint8Array[] = [];
  for await (const chunk of opened.body) {
    chunks.push(chunk);
    opened.slowDown();
  }
  return Buffer.concat(chunks);
}

test('openResumable() read slowly asks for part after part, and reads each to its end', async (t) => {
  const setUp = await setup(t, { content: large });
  t.true((await readSlowly(setUp)).equals(seededBytes(3, 0, large.length)));
  const { requests, rangeRequests } = setUp.origin.stats('/a');
  t.is(requests, 1 + Math.ceil((large.length - 65_536) / 262_144));
  t.is(rangeRequests, requests - 1);
  const part = await readSlowly(setUp, { range: { start: 1_000, end: 2_900_000 } });
  t.true(part.equals(seededBytes(3, 1_000, 2_900_000)));
});

test('openResumable() read slowly is one answer where the beginning would have to be read again, or its leave may end', async (t) => {
  const plain = await setup(t, { content: large, validators: 'none' });
  t.is((await readSlowly(plain)).length, large.length);
  t.is(plain.origin.stats('/a').requests, 1);
  const barred = await setup(t, { content: large, authorization: 'Bearer x' });
  const headers = { authorization: 'Bearer x' };
  t.is((await readSlowly(barred, { headers })).length, large.length);
  t.is(barred.origin.stats('/a').requests, 1);
});

test('openResumable() says so when the content changed while it was read slowly', async (t) => {
  const become = { content: { seed: 4, length: large.length }, afterBytes: 0 };
  const setUp = await setup(t, { content: large, become });
  t.is((await failureOf(readSlowly(setUp))).code, 'ERR_ORIGIN_CHANGED');
});

test('readOrigin() gives the asked bytes or a coded error, whatever the origin does', async (t) => {
  const { origin, read } = await setup(t, {});
  const trouble = fc.record({ afterBytes: fc.nat(30_000), times: fc.nat(4) });
  const routes = fc.record(
    {
      ranges: fc.boolean(),
      framing: fc.constantFrom('length', 'chunked'),
      validators: fc.constantFrom('strong', 'weak', 'last-modified', 'none'),
      cut: trouble,
      become: fc.record({
        afterBytes: fc.nat(30_000),
        content: fc.constant({ seed: 2, length: 30_000 }),
        lastModified: fc.constant('Wed, 01 Jan 2025 00:00:00 GMT'),
      }),
      fail: fc.record({ status: fc.constantFrom(503, 429, 500), times: fc.nat(5) }),
      wrongRange: fc.record({
        kind: fc.constantFrom('other-start', 'longer', 'capped', 'unnamed', 'wrong-total'),
        times: fc.nat(3),
      }),
      wrongLength: fc.constantFrom(0, -5),
    },
    { requiredKeys: [] },
  );
  const range = fc.option(
    fc.record({ start: fc.nat(29_000), length: fc.integer({ min: 1, max: 30_000 }) }),
    { nil: undefined },
  );
  const versions = [1, 2].map((seed) => seededBytes(seed, 0, 30_000));
  await fc.assert(
    fc.asyncProperty(routes, range, async (route, part) => {
      origin.set('/a', { content: { seed: 1, length: 30_000 }, ...route });
      const asked = part && { start: part.start, end: part.start + part.length };
      try {
        const bytes = await read({ range: asked }, { limits: { retryFirstMs: 0, retryMaxMs: 0 } });
        // An origin that announces less than it has is believed; nothing in its answer contradicts it.
        const lost = route.wrongLength === -5 ? 5 : 0;
        return versions.some((version) => {
          const expected = version.subarray(asked?.start ?? 0, asked?.end);
          const start = expected.length - bytes.length;
          return start >= 0 && start <= lost && expected.subarray(0, bytes.length).equals(bytes);
        });
      } catch (error) {
        return error instanceof CodedError && error.code !== 'ERR_INTERNAL';
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
});
