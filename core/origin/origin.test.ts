import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock, SystemClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { RateLimiter } from '../net/pacing.ts';
import { seededBytes } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import { loopbackConnections, loopbackOptions } from '../../bench/origin/loopback.ts';
import type { Route } from '../../bench/origin/route.ts';
import { AddressGuard } from './address-guard.ts';
import { openOrigin } from './origin.ts';
import type { OriginBody, OriginOptions } from './origin.ts';
import type { OriginRequest } from './request-headers.ts';
import { RETRY_AFTER_JITTER } from './retry-policy.ts';

const LENGTH = 200_000;
const content = { seed: 1, length: LENGTH };

interface Setup {
  readonly origin: FaultOrigin;
  readonly open: (
    request?: Partial<OriginRequest>,
    options?: Partial<OriginOptions>,
  ) => Promise<OriginBody>;
}

/** An origin with one path, `/a`, and a client for it; both end with the test. */
async function setup(t: ExecutionContext, route: Route): Promise<Setup> {
  const origin = await startOrigin({ routes: { '/a': { content, ...route } } });
  const connections = loopbackConnections();
  t.teardown(async () => {
    await connections.close();
    await origin.close();
  });
  const open: Setup['open'] = async (request, options) =>
    openOrigin({ url: origin.url('/a'), ...request }, loopbackOptions(connections, options));
  return { origin, open };
}

async function read(opened: OriginBody): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of opened.body) chunks.push(chunk);
  return Buffer.concat(chunks);
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

test('openOrigin() gives head and bytes of the whole content', async (t) => {
  const { origin, open } = await setup(t, {
    headers: { 'content-type': 'x/y', 'cache-control': 'no-cache' },
  });
  const opened = await open();
  t.like(opened.head, {
    status: 200,
    url: origin.url('/a'),
    length: LENGTH,
    rangeStart: 0,
    rangeEnd: LENGTH,
    acceptsRanges: true,
    contentType: 'x/y',
    cacheControl: 'no-cache',
    validators: { etag: `"seed-1-${LENGTH}"`, lastModified: 'Wed, 01 Jan 2020 00:00:00 GMT' },
  });
  t.false('contentEncoding' in opened.head);
  t.true((await read(opened)).equals(seededBytes(1, 0, LENGTH)));
});

test('openOrigin() gives the range that was asked for, on one connection however many are asked in turn', async (t) => {
  const { origin, open } = await setup(t, {});
  for (const [start, end] of [
    [0, 1],
    [100, 5000],
    [LENGTH - 1, LENGTH + 10],
    [5, undefined],
  ] as const) {
    const opened = await open({ range: { start, end } });
    const stop = Math.min(end ?? LENGTH, LENGTH);
    t.like(opened.head, { status: 206, rangeStart: start, rangeEnd: stop, length: LENGTH });
    t.true((await read(opened)).equals(seededBytes(1, start, stop)));
  }
  t.is(origin.total.connections, 1);
});

test('openOrigin() gives the whole content when the origin has no ranges, and says so', async (t) => {
  const { open } = await setup(t, { ranges: false });
  const opened = await open({ range: { start: 100, end: 200 } });
  t.like(opened.head, { status: 200, rangeStart: 0, rangeEnd: LENGTH, acceptsRanges: false });
  t.is((await read(opened)).length, LENGTH);
});

test('openOrigin() reads bodies of unknown length: chunked, and ended by the connection', async (t) => {
  for (const framing of ['chunked', 'close'] as const) {
    const { open } = await setup(t, { framing });
    const opened = await open();
    t.like(opened.head, { status: 200, length: undefined, rangeEnd: undefined }, framing);
    t.is((await read(opened)).length, LENGTH);
  }
});

test('openOrigin() answers 304 to what is known already, by ETag or date, and the body when it changed', async (t) => {
  const strong = await setup(t, {});
  const first = await strong.open();
  const condition = first.head.validators;
  first.close();
  const same = await strong.open({ condition });
  t.is(same.head.status, 304);
  t.is((await read(same)).length, 0);
  strong.origin.set('/a', { content: { seed: 2, length: 10 } });
  t.is((await strong.open({ condition })).head.status, 200);
  t.is(strong.origin.stats('/a').conditionalRequests, 2);

  const dated = await setup(t, { validators: 'last-modified' });
  const { validators } = (await dated.open()).head;
  t.is((await dated.open({ condition: validators })).head.status, 304);
});

test('openOrigin() continues only the version it was told', async (t) => {
  const { origin, open } = await setup(t, {});
  const { validators } = (await open()).head;
  const range = { start: 1000 };
  const rest = await open({ range, ifMatch: { ...validators, length: LENGTH } });
  t.is(rest.head.status, 206);
  t.true((await read(rest)).equals(seededBytes(1, 1000, LENGTH)));
  const wrongLength = open({ range, ifMatch: { ...validators, length: LENGTH + 1 } });
  t.is((await failureOf(wrongLength)).code, 'ERR_ORIGIN_CHANGED');
  origin.set('/a', { content: { seed: 2, length: LENGTH } });
  t.is((await failureOf(open({ range, ifMatch: validators }))).code, 'ERR_ORIGIN_CHANGED');
  t.deepEqual(origin.seen.at(-1)?.headers['if-match'], validators.etag);

  const dated = { lastModified: validators.lastModified };
  origin.set('/a', { content, validators: 'last-modified' });
  t.is((await open({ range, ifMatch: dated })).head.status, 206);
  origin.set('/a', {
    content,
    validators: 'last-modified',
    lastModified: 'Wed, 01 Jan 2025 00:00:00 GMT',
  });
  t.is((await failureOf(open({ range, ifMatch: dated }))).code, 'ERR_ORIGIN_CHANGED');
  origin.set('/a', { content, validators: 'none' });
  t.is((await failureOf(open({ range, ifMatch: dated }))).code, 'ERR_ORIGIN_CHANGED');
});

test('openOrigin() passes 4xx on at once, with the status', async (t) => {
  for (const status of [400, 401, 403, 404, 410, 451]) {
    const { origin, open } = await setup(t, { fail: { status } });
    const error = await failureOf(open());
    t.is(error.code, 'ERR_ORIGIN_REFUSED');
    t.is(error.detail['status'], status);
    t.regex(error.message, new RegExp(`\\b${status}\\b`));
    t.is(origin.total.requests, 1);
  }
});

test('openOrigin() sends credentials: from headers, and from the URL', async (t) => {
  const authorization = `Basic ${Buffer.from('us er:p@ss').toString('base64')}`;
  const { origin, open } = await setup(t, { authorization });
  t.is((await failureOf(open())).detail['status'], 401);
  t.is((await failureOf(open({ headers: { Authorization: 'no' } }))).detail['status'], 403);
  t.is((await open({ headers: { Authorization: authorization } })).head.status, 200);
  const url = origin.url('/a').replace('://', '://us%20er:p%40ss@');
  t.is((await open({ url })).head.url, origin.url('/a'));
});

test('openOrigin() says ERR_ORIGIN_RANGE for a range outside the content, and what its length is', async (t) => {
  const { open } = await setup(t, {});
  const error = await failureOf(open({ range: { start: LENGTH } }));
  t.is(error.code, 'ERR_ORIGIN_RANGE');
  t.like(error.detail, { status: 416, length: LENGTH });
});

test('openOrigin() asks again after 5xx until it is well, and gives up after maxAttempts', async (t) => {
  for (const status of [500, 502, 503, 504]) {
    const { origin, open } = await setup(t, { fail: { status, times: 2 } });
    t.is((await read(await open())).length, LENGTH);
    t.is(origin.total.requests, 3);
    t.is(origin.total.connections, 1);
  }
  const { origin, open } = await setup(t, { fail: { status: 503 } });
  const waits: number[] = [];
  const error = await failureOf(open({}, { onWait: ({ ms }) => waits.push(ms) }));
  t.is(error.code, 'ERR_ORIGIN_FAILING');
  t.is(error.detail['status'], 503);
  t.is(origin.total.requests, 5);
  t.is(waits.length, 4);
  t.true(waits.every((ms) => ms > 0 && ms <= 8));
});

test('openOrigin() asks again after 408, 425 and 429, and a lasting 429 is a refusal', async (t) => {
  for (const status of [408, 425, 429]) {
    const { open } = await setup(t, { fail: { status, times: 1 } });
    t.is((await open()).head.status, 200);
  }
  const { origin, open } = await setup(t, { fail: { status: 429 } });
  const error = await failureOf(open());
  t.is(error.code, 'ERR_ORIGIN_REFUSED');
  t.is(error.detail['status'], 429);
  t.is(origin.total.requests, 5);
});

test('openOrigin() waits as long as Retry-After says and a little more, and not at all when that is too long', async (t) => {
  const { open } = await setup(t, { fail: { status: 503, times: 1, retryAfter: '7' } });
  const clock = new ManualClock();
  // The only timer of seconds is the wait; its announcement is the moment to let it pass.
  const waits: number[] = [];
  const onWait = ({ ms }: { ms: number }): void => {
    waits.push(ms);
    setImmediate(() => clock.advance(ms));
  };
  t.is((await open({}, { clock, onWait })).head.status, 200);
  const [waited = 0, ...others] = waits;
  t.true(waited >= 7000 && waited <= 7000 * (1 + RETRY_AFTER_JITTER), `${waited} ms`);
  t.deepEqual(others, []);
  const long = await setup(t, { fail: { status: 429, retryAfter: '3600' } });
  const error = await failureOf(long.open());
  t.like(error.detail, { status: 429, retryAfterMs: 3_600_000 });
  t.is(long.origin.total.requests, 1);
});

test('openOrigin() asks again when no head comes, and ends with ERR_ORIGIN_STALLED', async (t) => {
  const once = await setup(t, { hang: { where: 'before-head', times: 1 } });
  t.is((await once.open({}, { limits: { headersTimeoutMs: 300 } })).head.status, 200);
  const always = await setup(t, { hang: { where: 'inside-head' } });
  const limits = { headersTimeoutMs: 100, maxAttempts: 2 };
  const error = await failureOf(always.open({}, { limits }));
  t.is(error.code, 'ERR_ORIGIN_STALLED');
  const slow = await setup(t, { slowHeadMs: 60 });
  t.is((await slow.open()).head.status, 200);
});

test('openOrigin() asks again when nobody listens, and ends with ERR_ORIGIN_UNREACHABLE', async (t) => {
  const { origin, open } = await setup(t, {});
  await origin.close();
  const waits: string[] = [];
  const error = await failureOf(
    open({ url: 'http://127.0.0.1:1/' }, { onWait: ({ reason }) => waits.push(reason) }),
  );
  t.is(error.code, 'ERR_ORIGIN_UNREACHABLE');
  t.is(waits.length, 4);
  t.regex(waits[0] ?? '', /127\.0\.0\.1:1/);
});

test('openOrigin() takes a name that does not exist for an answer', async (t) => {
  const { open } = await setup(t, {});
  const waits: unknown[] = [];
  const error = await failureOf(
    open({ url: 'http://no-such-host.invalid/' }, { onWait: (wait) => waits.push(wait) }),
  );
  t.is(error.code, 'ERR_ORIGIN_UNREACHABLE');
  const { reason } = error.detail;
  // Without any name server the system cannot say that a name does not exist, and asking again is right.
  t.is(waits.length, reason === 'ENOTFOUND' ? 0 : 4, String(reason));
});

test('openOrigin() follows redirects to the content and says where it is', async (t) => {
  const { origin, open } = await setup(t, {});
  origin.set('/one', { redirect: { to: '/two?x=1', status: 301 } });
  origin.set('/two', { redirect: { to: origin.url('/three'), status: 307 } });
  origin.set('/three', { redirect: { to: 'a', status: 308 } });
  const opened = await open({ url: origin.url('/one'), range: { start: 10 } });
  t.is(opened.head.url, origin.url('/a'));
  t.is(opened.head.status, 206);
  t.true((await read(opened)).equals(seededBytes(1, 10, LENGTH)));
});

test('openOrigin() gives up on a redirect loop and on one that leads nowhere, without asking again', async (t) => {
  const { origin, open } = await setup(t, {});
  origin.set('/loop', { redirect: { to: '/loop' } });
  t.is((await failureOf(open({ url: origin.url('/loop') }))).code, 'ERR_ORIGIN_FAILING');
  t.is(origin.stats('/loop').requests, 11);
  origin.set('/file', { redirect: { to: 'file:///etc/passwd' } });
  t.is((await failureOf(open({ url: origin.url('/file') }))).code, 'ERR_ORIGIN_FAILING');
  t.is(origin.stats('/file').requests, 1);
});

test('openOrigin() leaves credentials behind when redirected to another host or port', async (t) => {
  const { origin, open } = await setup(t, {});
  const headers = { Authorization: 'Bearer s', Cookie: 'c=1', 'X-Token': 't', Accept: 'x/y' };
  const other = await startOrigin({ routes: { '/b': { content } } });
  t.teardown(async () => other.close());
  origin.set('/same', { redirect: { to: '/a' } });
  origin.set('/port', { redirect: { to: other.url('/b') } });
  origin.set('/name', { redirect: { to: origin.url('/a', 'localhost') } });
  const seenBy = async (path: string, by: FaultOrigin): Promise<Record<string, unknown>> => {
    (await open({ url: origin.url(path), headers })).close();
    const { authorization, cookie, accept, 'x-token': token } = by.seen.at(-1)?.headers ?? {};
    return { authorization, cookie, accept, token };
  };
  const all = { authorization: 'Bearer s', cookie: 'c=1', accept: 'x/y', token: 't' };
  const none = { authorization: undefined, cookie: undefined, accept: 'x/y', token: undefined };
  t.deepEqual(await seenBy('/same', origin), all);
  t.deepEqual(await seenBy('/port', other), none);
  t.deepEqual(await seenBy('/name', origin), none);
});

test('openOrigin() connects nowhere the guard forbids, at first or after a redirect', async (t) => {
  const { origin, open } = await setup(t, {
    redirect: { to: 'http://169.254.169.254/latest/meta-data' },
  });
  const error = await failureOf(open());
  t.is(error.code, 'ERR_ORIGIN_FORBIDDEN');
  t.is(error.detail['address'], '169.254.169.254');
  t.is(origin.total.requests, 1);
  const strict = loopbackConnections({ guard: new AddressGuard({ allow: [] }) });
  t.teardown(async () => strict.close());
  for (const host of ['127.0.0.1', 'localhost', '2130706433', '0x7f000001', '[::ffff:127.0.0.1]']) {
    const url = `http://${host}:${origin.port}/a`;
    const refused = await failureOf(openOrigin({ url }, loopbackOptions(strict)));
    t.is(refused.code, 'ERR_ORIGIN_FORBIDDEN', host);
  }
  const own = new AddressGuard({ allow: ['127.0.0.0/8'] });
  own.addOwnPorts([origin.port]);
  const owning = loopbackConnections({ guard: own });
  t.teardown(async () => owning.close());
  const refused = await failureOf(openOrigin({ url: origin.url('/a') }, loopbackOptions(owning)));
  t.is(refused.code, 'ERR_ORIGIN_FORBIDDEN');
  t.is(origin.total.requests, 1);
});

test('openOrigin() passes a gzip body on as it is and says so', async (t) => {
  const { open } = await setup(t, {
    contentEncoding: 'gzip',
    content: { bytes: Buffer.from('hello hello hello') },
  });
  const opened = await open();
  t.is(opened.head.contentEncoding, 'gzip');
  const body = await read(opened);
  t.is(opened.head.length, body.length);
  t.deepEqual([...body.subarray(0, 2)], [0x1f, 0x8b]);
});

test('openOrigin() counts an answer with another range than asked as failing', async (t) => {
  const range = { start: 1000, end: 2000 };
  for (const kind of ['other-start', 'longer', 'multipart', 'unnamed'] as const) {
    const once = await setup(t, { wrongRange: { kind, times: 1 } });
    const opened = await once.open({ range });
    t.true((await read(opened)).equals(seededBytes(1, 1000, 2000)), kind);
    const always = await setup(t, { wrongRange: { kind } });
    t.is((await failureOf(always.open({ range }))).code, 'ERR_ORIGIN_FAILING', kind);
    t.is(always.origin.total.requests, 5);
  }
});

test('OriginBody.body fails with ERR_ORIGIN_SHORT when it breaks, ends early or is no whole chunked body', async (t) => {
  const cut = { afterBytes: 1000 };
  for (const route of [
    { cut },
    { cut: { ...cut, reset: true } },
    { cut, framing: 'chunked' as const },
  ]) {
    const { open } = await setup(t, route);
    t.is((await failureOf(read(await open()))).code, 'ERR_ORIGIN_SHORT');
  }
  const ranged = await setup(t, { cut, framing: 'close' });
  t.is(
    (await failureOf(read(await ranged.open({ range: { start: 10 } })))).code,
    'ERR_ORIGIN_SHORT',
  );
});

test('OriginBody.body of unknown length that ends with the connection ends there, whole or not', async (t) => {
  const { open } = await setup(t, { cut: { afterBytes: 1000 }, framing: 'close' });
  t.is((await read(await open())).length, 1000);
});

test('OriginBody.body is as long as announced, however much is sent', async (t) => {
  const longer = await setup(t, { wrongLength: -1000 });
  t.is((await read(await longer.open())).length, LENGTH - 1000);
  const shorter = await setup(t, { wrongLength: 1000 });
  const limits = { stallTimeoutMs: 100 };
  t.is((await failureOf(read(await shorter.open({}, { limits })))).code, 'ERR_ORIGIN_STALLED');
});

test('OriginBody.body fails with ERR_ORIGIN_STALLED when bytes stop coming', async (t) => {
  const { open } = await setup(t, { stall: { afterBytes: 1000 } });
  const limits = { stallTimeoutMs: 100 };
  t.is((await failureOf(read(await open({}, { limits })))).code, 'ERR_ORIGIN_STALLED');
});

test('OriginBody.body keeps to the rate of its limiter', async (t) => {
  const { open } = await setup(t, {});
  const clock = new SystemClock();
  const limiter = new RateLimiter(LENGTH * 2, clock);
  const start = clock.monotonic();
  t.is((await read(await open({}, { limiter }))).length, LENGTH);
  const ms = clock.monotonic() - start;
  t.true(ms > 350, `${ms} ms for what should take about 500`);
});

test('openOrigin() stops when aborted: while waiting for a head, between attempts, and in the body', async (t) => {
  const { origin, open } = await setup(t, { hang: { where: 'before-head' } });
  const abort = new AbortController();
  const waiting = open({}, { signal: abort.signal });
  abort.abort();
  t.is((await failureOf(waiting)).code, 'ERR_INTERRUPTED');

  origin.set('/a', { fail: { status: 500 } });
  const between = new AbortController();
  const retrying = open(
    {},
    {
      signal: between.signal,
      onWait: () => between.abort(new DOMException('too late', 'TimeoutError')),
      limits: { retryFirstMs: 10_000, retryMaxMs: 10_000 },
    },
  );
  t.is((await failureOf(retrying)).code, 'ERR_TIMEOUT');

  origin.set('/a', { content, stall: { afterBytes: 10 } });
  const inside = new AbortController();
  const reading = read(
    await open({}, { signal: inside.signal, limits: { stallTimeoutMs: 10_000 } }),
  );
  inside.abort();
  t.is((await failureOf(reading)).code, 'ERR_INTERRUPTED');
});

test('openOrigin() refuses what is no http URL', async (t) => {
  const { open } = await setup(t, {});
  for (const url of ['file:///etc/passwd', 'nonsense']) {
    t.is((await failureOf(open({ url }))).code, 'ERR_URL');
  }
});
