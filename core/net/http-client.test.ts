import { once } from 'node:events';
import type { LookupFunction } from 'node:net';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import test from 'ava';
import { SystemClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { HostKey } from '../identity/host-key.ts';
import { selfSignedCertificate } from '../identity/certificate.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { seededBytes } from '../../bench/origin/content.ts';
import { HttpClient } from './http-client.ts';
import type { HttpClientOptions, HttpRequest, HttpResponse } from './http-client.ts';

const MIB = 1024 * 1024;

function client(options: Partial<HttpClientOptions> = {}): HttpClient {
  return new HttpClient({ checkAddress: () => undefined, clock: new SystemClock(), ...options });
}

async function get(
  http: HttpClient,
  url: string,
  options: Partial<HttpRequest> = {},
): Promise<HttpResponse> {
  return http.request({ url: new URL(url), signal: new AbortController().signal, ...options });
}

async function read(response: HttpResponse): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof CodedError ? error.code : String(error);
}

/** A server that writes exactly these bytes to whoever connects, then ends or resets the connection. */
async function rawServer(onConnect: (socket: Socket) => void): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => onConnect(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function urlOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** A name server that never answers. */
const lookupNothing: LookupFunction = () => undefined;

const lookupTwo: LookupFunction = (_name, _options, callback) => {
  callback(null, [
    { address: '::1', family: 6 },
    { address: '127.0.0.1', family: 4 },
  ]);
};
const refuseV6 = (ip: string): void => {
  if (ip === '::1') throw new CodedError('ERR_ORIGIN_FORBIDDEN', ip);
};

test('HttpClient.request() gives the bytes as they are, asks for identity and reuses its connection', async (t) => {
  await using origin = await startOrigin({
    routes: { '/a': { content: { seed: 1, length: MIB } } },
  });
  await using http = client();
  for (let round = 0; round < 3; round += 1) {
    const response = await get(http, origin.url('/a'));
    t.is(response.status, 200);
    t.true((await read(response)).equals(seededBytes(1, 0, MIB)));
  }
  t.is(origin.total.connections, 1);
  t.is(origin.seen[0]?.headers['accept-encoding'], 'identity');
  t.is(http.requests, 0);
});

test('HttpClient.request() follows no redirect and decodes nothing', async (t) => {
  await using origin = await startOrigin({
    routes: {
      '/away': { redirect: { to: '/a' } },
      '/gzip': { content: { bytes: Buffer.from('x'.repeat(1000)) }, contentEncoding: 'gzip' },
    },
  });
  await using http = client();
  const away = await get(http, origin.url('/away'));
  t.is(away.status, 302);
  away.discard();
  const packed = await read(await get(http, origin.url('/gzip')));
  t.deepEqual([...packed.subarray(0, 2)], [0x1f, 0x8b]);
});

test('HttpClient opens at most connectionsPerHost connections, and refuses past maxWaitingPerHost', async (t) => {
  await using origin = await startOrigin({
    routes: { '/a': { content: { seed: 1, length: 100_000 } } },
  });
  await using http = client({ connectionsPerHost: 2, maxWaitingPerHost: 4 });
  const running = Array.from({ length: 6 }, async () => read(await get(http, origin.url('/a'))));
  t.is(await codeOf(get(http, origin.url('/a'))), 'ERR_BUSY');
  t.is((await Promise.all(running)).length, 6);
  t.is(origin.total.connections, 2);
  t.is(http.requests, 0);
});

test('HttpClient asks the guard with each resolved address at every connect, so a name cannot change its mind', async (t) => {
  await using origin = await startOrigin({
    routes: { '/a': { content: { seed: 1, length: MIB } } },
  });
  const answers = ['127.0.0.1', '169.254.169.254'];
  const lookup: LookupFunction = (_name, _options, callback) => {
    callback(null, [{ address: answers.shift() ?? '', family: 4 }]);
  };
  const asked: string[] = [];
  const checkAddress = (ip: string, port: number): void => {
    asked.push(`${ip}:${port}`);
    if (ip !== '127.0.0.1') throw new CodedError('ERR_ORIGIN_FORBIDDEN', ip);
  };
  await using http = client({ lookup, checkAddress });
  const url = origin.url('/a', 'rebind.test');
  const first = await get(http, url);
  first.close();
  t.is(await codeOf(get(http, url)), 'ERR_ORIGIN_FORBIDDEN');
  t.deepEqual(asked, [`127.0.0.1:${origin.port}`, `169.254.169.254:${origin.port}`]);
  t.is(origin.total.connections, 1);
});

test('HttpClient drops the refused ones of several addresses and uses the rest', async (t) => {
  await using origin = await startOrigin({
    routes: { '/a': { content: { seed: 1, length: 10 } } },
  });
  await using http = client({ lookup: lookupTwo, checkAddress: refuseV6 });
  t.is((await read(await get(http, origin.url('/a', 'two.test')))).length, 10);
});

test('HttpClient asks the guard about an address in the URL, in any spelling', async (t) => {
  const asked: string[] = [];
  const checkAddress = (ip: string): void => {
    asked.push(ip);
    throw new CodedError('ERR_ORIGIN_FORBIDDEN', ip);
  };
  await using http = client({ checkAddress });
  const spellings = [
    '127.0.0.1',
    '2130706433',
    '0177.0.0.1',
    '0x7f.1',
    '127.1',
    '[::ffff:127.0.0.1]',
    '[::1]',
  ];
  for (const host of spellings) {
    t.is(await codeOf(get(http, `http://${host}:1/`)), 'ERR_ORIGIN_FORBIDDEN', host);
  }
  t.deepEqual(asked, [...Array.from({ length: 5 }, () => '127.0.0.1'), '::ffff:7f00:1', '::1']);
});

test('HttpClient uses no proxy from the environment', async (t) => {
  await using origin = await startOrigin({
    routes: { '/a': { content: { seed: 1, length: 10 } } },
  });
  process.env['http_proxy'] = 'http://127.0.0.1:1';
  t.teardown(() => delete process.env['http_proxy']);
  await using http = client();
  t.is((await read(await get(http, origin.url('/a')))).length, 10);
});

test('HttpClient.request() fails with ERR_ORIGIN_UNREACHABLE and the reason', async (t) => {
  await using http = client();
  const closed = await startOrigin();
  const url = closed.url('/');
  await closed.close();
  const refused = await t.throwsAsync(get(http, url));
  t.true(refused instanceof CodedError);
  t.like((refused as CodedError).toObject(), {
    code: 'ERR_ORIGIN_UNREACHABLE',
    detail: { reason: 'ECONNREFUSED', tls: false },
  });
});

test('HttpClient.request() gives up connecting after connectTimeoutMs', async (t) => {
  await using http = client({ lookup: lookupNothing, connectTimeoutMs: 50 });
  t.is(await codeOf(get(http, 'http://slow.test/')), 'ERR_ORIGIN_UNREACHABLE');
});

test('HttpClient.request() says what is wrong with TLS, and trusts the certificates it is given', async (t) => {
  const { certificatePem: cert, keyPem: key } = selfSignedCertificate(HostKey.generate(), {
    now: new SystemClock().now(),
  });
  await using origin = await startOrigin({
    tls: { key, cert },
    routes: { '/a': { content: { seed: 1, length: 10 } } },
  });
  await using distrusting = client();
  const untrusted = await t.throwsAsync(get(distrusting, origin.url('/a')));
  t.like((untrusted as CodedError).toObject(), {
    code: 'ERR_ORIGIN_UNREACHABLE',
    detail: { reason: 'DEPTH_ZERO_SELF_SIGNED_CERT', tls: true },
  });
  await using trusting = client({ ca: cert });
  const misnamed = await t.throwsAsync(get(trusting, origin.url('/a')));
  t.like((misnamed as CodedError).detail, { reason: 'ERR_TLS_CERT_ALTNAME_INVALID', tls: true });
  await using plain = await startOrigin();
  const notTls = await t.throwsAsync(get(distrusting, plain.url('/').replace('http:', 'https:')));
  t.like((notTls as CodedError).detail, { tls: true });
});

test('HttpClient.request() fails with ERR_ORIGIN_STALLED when no head comes in time', async (t) => {
  await using origin = await startOrigin({
    routes: {
      '/before': { hang: { where: 'before-head' } },
      '/inside': { hang: { where: 'inside-head' } },
    },
  });
  await using http = client();
  for (const path of ['/before', '/inside']) {
    t.is(
      await codeOf(get(http, origin.url(path), { headersTimeoutMs: 50 })),
      'ERR_ORIGIN_STALLED',
      path,
    );
  }
});

test('HttpResponse.body fails with ERR_ORIGIN_STALLED when bytes stop coming, not when the reader is slow', async (t) => {
  await using origin = await startOrigin({
    routes: {
      '/stall': { content: { seed: 1, length: MIB }, stall: { afterBytes: 1000 } },
      '/a': { content: { seed: 1, length: MIB } },
    },
  });
  await using http = client();
  const stalled = await get(http, origin.url('/stall'), { bodyTimeoutMs: 50 });
  t.is(await codeOf(read(stalled)), 'ERR_ORIGIN_STALLED');
  const slow = await get(http, origin.url('/a'), { bodyTimeoutMs: 300 });
  const timer = await get(http, origin.url('/stall'), { bodyTimeoutMs: 900 });
  // The stalled answer measures out three times the limit, during which nobody reads the other one.
  t.is(await codeOf(read(timer)), 'ERR_ORIGIN_STALLED');
  t.is((await read(slow)).length, MIB);
});

test('HttpResponse.body tells a broken body from a broken answer', async (t) => {
  const head = 'HTTP/1.1 200 OK\r\n';
  const cases = [
    ['length, then end', `${head}Content-Length: 100\r\n\r\nabc`, 'ERR_ORIGIN_SHORT'],
    [
      'chunked without its last chunk',
      `${head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`,
      'ERR_ORIGIN_SHORT',
    ],
    [
      'chunked, broken inside a chunk',
      `${head}Transfer-Encoding: chunked\r\n\r\n9\r\nabc`,
      'ERR_ORIGIN_SHORT',
    ],
    [
      'malformed chunk',
      `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n`,
      'ERR_ORIGIN_FAILING',
    ],
    ['no answer', '', 'ERR_ORIGIN_FAILING'],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.0\r\n', 'ERR_ORIGIN_FAILING'],
    [
      'two lengths',
      `${head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc`,
      'ERR_ORIGIN_FAILING',
    ],
    ['length and end of connection', 'HTTP/1.0 200 OK\r\n\r\nabc', undefined],
  ] as const;
  for (const [name, text, expected] of cases) {
    const server = await rawServer((socket) => socket.end(text));
    await using http = client();
    t.is(await codeOf(get(http, urlOf(server)).then(read)), expected ?? 'undefined', name);
    server.close();
  }
});

test('HttpResponse.body of more bytes than announced ends where it was announced, and the connection is dropped', async (t) => {
  const server = await rawServer((socket) =>
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef'),
  );
  t.teardown(() => server.close());
  await using http = client();
  t.is((await read(await get(http, urlOf(server)))).toString(), 'abc');
});

test('HttpClient.request() stops at once when aborted, before the head and inside the body', async (t) => {
  await using origin = await startOrigin({
    routes: {
      '/hang': { hang: { where: 'before-head' } },
      '/stall': { content: { seed: 1, length: MIB }, stall: { afterBytes: 1000 } },
    },
  });
  await using http = client();
  const before = new AbortController();
  const waiting = get(http, origin.url('/hang'), { signal: before.signal });
  before.abort();
  t.is(await codeOf(waiting), 'ERR_INTERRUPTED');
  const inside = new AbortController();
  const response = await get(http, origin.url('/stall'), { signal: inside.signal });
  const reading = read(response);
  inside.abort(new DOMException('late', 'TimeoutError'));
  t.is(await codeOf(reading), 'ERR_TIMEOUT');
  t.is(http.requests, 0);
});

test('HttpResponse.close() and HttpClient.close() end a body that is being read', async (t) => {
  const content = { seed: 1, length: MIB };
  await using origin = await startOrigin({
    routes: { '/a': { content, stall: { afterBytes: 1000 } } },
  });
  const http = client();
  const first = await get(http, origin.url('/a'));
  const reading = read(first);
  first.close();
  t.is(await codeOf(reading), 'ERR_INTERRUPTED');
  const second = read(await get(http, origin.url('/a')));
  await http.close();
  await http.close();
  t.is(await codeOf(second), 'ERR_INTERRUPTED');
  t.is(await codeOf(get(http, origin.url('/a'))), 'ERR_INTERRUPTED');
});

test('HttpResponse.body holds its origin back when nobody reads', async (t) => {
  const content = { seed: 1, length: 48 * MIB };
  await using origin = await startOrigin({ routes: { '/a': { content }, '/b': { content } } });
  await using http = client();
  const response = await get(http, origin.url('/a'));
  const iterator = response.body[Symbol.asyncIterator]();
  await iterator.next();
  // Another body of that length runs to its end meanwhile, which is time enough for the first to fill every buffer.
  for await (const chunk of (await get(http, origin.url('/b'))).body) t.true(chunk.length > 0);
  t.true(
    origin.stats('/a').bodyBytes < 16 * MIB,
    `${origin.stats('/a').bodyBytes} bytes were sent`,
  );
  response.close();
});

test('HttpResponse.discard() keeps the connection for the next request', async (t) => {
  await using origin = await startOrigin();
  await using http = client({ connectionsPerHost: 1 });
  for (let round = 0; round < 3; round += 1) {
    const response = await get(http, origin.url('/none'));
    t.is(response.status, 404);
    response.discard();
  }
  t.is(origin.total.connections, 1);
});

test('HttpClient.request() sends method, headers and body', async (t) => {
  const received: string[] = [];
  const server = await rawServer((socket) => {
    socket.end('HTTP/1.1 204 No Content\r\n\r\n');
  });
  server.on('connection', (socket: Socket) =>
    socket.on('data', (bytes) => received.push(String(bytes))),
  );
  t.teardown(() => server.close());
  await using http = client();
  const url = `${urlOf(server)}p?q=1`;
  const response = await get(http, url, { method: 'POST', headers: { 'x-a': 'b' }, body: 'hello' });
  t.is(response.status, 204);
  response.discard();
  const text = received.join('');
  t.true(text.startsWith('POST /p?q=1 HTTP/1.1\r\n'));
  t.regex(text, /x-a: b\r\n/);
  t.true(text.endsWith('\r\n\r\nhello'));
});
