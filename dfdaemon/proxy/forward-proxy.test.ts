import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { CodedError } from '../../core/base/error.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { ForwardCounts } from './forward-counts.ts';
import type { ContentOpener } from './forward-mesh.ts';
import { startProxy, viaProxy } from './proxy-fixture.contract.ts';

const host = '127.0.0.1';

type Listener = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** A server on loopback that does what it is told. */
async function serve(
  listener: Listener,
): Promise<AsyncDisposable & { readonly url: string; readonly server: Server }> {
  const server = createServer((request, response) => void listener(request, response));
  server.listen(0, host);
  await once(server, 'listening');
  return {
    server,
    url: `http://${host}:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

test('a request reaches its origin as it was sent, and the answer comes back as it was given', async (t) => {
  let seen: { method?: string | undefined; url?: string | undefined; body: string } | undefined;
  await using origin = await serve(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const { method, url } = request;
    seen = { method, url, body };
    t.is(request.headers['authorization'], 'Bearer x');
    t.is(request.headers['proxy-connection'], undefined);
    t.is(request.headers['host'], origin.url.slice(7));
    response.writeHead(418, { 'set-cookie': ['a=1', 'b=2'], 'x-odd': 'ÿ' });
    response.end(`got ${body}`);
  });
  await using proxy = await startProxy();
  const answer = await viaProxy(proxy.port, `${origin.url}/p/%7Eq?a=1&a=2`, {
    method: 'PUT',
    body: 'content',
    headers: { authorization: 'Bearer x', 'proxy-connection': 'keep-alive', host: 'elsewhere' },
  });
  t.deepEqual(seen, { method: 'PUT', url: '/p/%7Eq?a=1&a=2', body: 'content' });
  t.is(answer.status, 418);
  t.deepEqual(answer.headers['set-cookie'], ['a=1', 'b=2']);
  t.is(answer.headers['via'], '1.1 odonata-test');
  t.is(String(answer.body), 'got content');
});

test('answers without a body have none, whatever length they tell', async (t) => {
  await using origin = await serve((request, response) => {
    const [, status = '200'] = request.url?.split('/') ?? [];
    response.writeHead(
      Number(status),
      status === '204' ? {} : { 'content-length': 5, etag: '"x"' },
    );
    response.end();
  });
  await using proxy = await startProxy();
  for (const status of [204, 304]) {
    const answer = await viaProxy(proxy.port, `${origin.url}/${status}`);
    t.deepEqual([answer.status, answer.body.length], [status, 0]);
  }
  const head = await viaProxy(proxy.port, `${origin.url}/200`, { method: 'HEAD' });
  t.deepEqual([head.status, head.headers['content-length']], [200, '5']);
});

test('redirects, ranges and errors of an origin are passed on, not acted on', async (t) => {
  await using origin = await startOrigin();
  const content = { seed: 1, length: 1000 } as const;
  origin.set('/from', { redirect: { to: '/to', status: 307 } });
  origin.set('/to', { content });
  await using proxy = await startProxy();
  const moved = await viaProxy(proxy.port, origin.url('/from'));
  t.deepEqual([moved.status, moved.headers['location']], [307, '/to']);
  const part = await viaProxy(proxy.port, origin.url('/to'), { headers: { range: 'bytes=10-19' } });
  t.deepEqual([part.status, part.body.length], [206, 10]);
  t.is(part.headers['content-range'], 'bytes 10-19/1000');
  t.is((await viaProxy(proxy.port, origin.url('/none'))).status, 404);
  t.is(origin.stats('/to').requests, 1);
});

test('an answer that breaks off breaks off for the client too', async (t) => {
  for (const framing of ['length', 'chunked'] as const) {
    await using origin = await startOrigin();
    origin.set('/f', {
      content: { seed: 1, length: 500_000 },
      framing,
      cut: { afterBytes: 1000, reset: true },
    });
    await using proxy = await startProxy();
    await t.throwsAsync(viaProxy(proxy.port, origin.url('/f')), { code: 'ECONNRESET' });
  }
});

test('a slow client holds the origin back, and one that leaves ends the request there', async (t) => {
  let written = 0;
  const gone = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  await using origin = await serve((_request, response) => {
    const block = Buffer.alloc(256 * 1024);
    const push = (): void => {
      while (response.write(block)) written += block.length;
      written += block.length;
      held.resolve();
    };
    response.on('drain', push);
    response.once('close', () => gone.resolve());
    push();
  });
  await using proxy = await startProxy();
  const socket = connect(proxy.port, host);
  socket.write(`GET ${origin.url}/endless HTTP/1.1\r\nhost: x\r\n\r\n`);
  await once(socket, 'readable');
  await held.promise;
  socket.destroy();
  await gone.promise;
  t.true(written < 64 * 1024 * 1024, `${written} bytes for a client that read none`);
});

test('what cannot be reached, is forbidden, or is no http is told in a few words', async (t) => {
  await using proxy = await startProxy({ originAllow: [] });
  const cases: [string, number, string][] = [
    ['http://127.0.0.1:9/', 403, 'ERR_ORIGIN_FORBIDDEN'],
    ['http://169.254.169.254/latest/meta-data/', 403, 'ERR_ORIGIN_FORBIDDEN'],
    ['http://[::ffff:169.254.169.254]/', 403, 'ERR_ORIGIN_FORBIDDEN'],
    ['http://nowhere.invalid/', 502, 'ERR_ORIGIN_UNREACHABLE'],
    ['ftp://a.test/', 400, 'ERR_URL'],
    ['http://', 400, 'ERR_URL'],
  ];
  for (const [url, status, code] of cases) {
    const answer = await viaProxy(proxy.port, url);
    t.is(answer.status, status, url);
    t.is(answer.headers['x-odonata-error'], code, url);
    t.true(String(answer.body).startsWith(`${code}: `), url);
  }
});

test('a request never comes round in a circle, to this port or by way of another proxy', async (t) => {
  await using proxy = await startProxy();
  const self = await viaProxy(proxy.port, `http://${host}:${proxy.port}/healthz`);
  t.is(self.headers['x-odonata-error'], 'ERR_ORIGIN_FORBIDDEN');
  const named = await viaProxy(proxy.port, `http://localhost:${proxy.port}/healthz`);
  t.is(named.headers['x-odonata-error'], 'ERR_ORIGIN_FORBIDDEN');
  await using other = await startProxy({ rules: [{ url: '.', to: 'direct' }] }, { name: 'test' });
  const round = await viaProxy(proxy.port, `http://${host}:${other.port}/healthz`, {
    headers: { via: '1.1 odonata-test' },
  });
  t.is(round.headers['x-odonata-error'], 'ERR_FORBIDDEN');
});

test('what becomes of requests is counted', async (t) => {
  await using origin = await startOrigin();
  origin.set('/', { content: { seed: 1, length: 10 } });
  const counts = new ForwardCounts();
  await using proxy = await startProxy({ rules: [{ url: '/no$', to: 'reject' }] }, { counts });
  await viaProxy(proxy.port, origin.url('/'));
  await viaProxy(proxy.port, origin.url('/'));
  await viaProxy(proxy.port, origin.url('/no'));
  await viaProxy(proxy.port, 'http://nowhere.invalid/');
  await viaProxy(proxy.port, `${host}:1`, { method: 'CONNECT' });
  t.deepEqual(
    [...counts.all()],
    [
      ['direct', 2],
      ['reject', 1],
      ['failed', 2],
    ],
  );
});

test('user and password of a URL reach the origin as the header that they mean', async (t) => {
  await using origin = await serve((request, response) => {
    response.end(request.headers.authorization);
  });
  await using proxy = await startProxy();
  const url = origin.url.replace('http://', 'http://ann:p%40ss@');
  const answer = await viaProxy(proxy.port, `${url}/x.deb`);
  t.is(String(answer.body), `Basic ${Buffer.from('ann:p@ss').toString('base64')}`);
});

test('content that should go through the mesh comes from its origin where there is none', async (t) => {
  await using origin = await startOrigin();
  origin.set('/a_1.deb', { content: { seed: 1, length: 1000 } });
  origin.set('/b_1.deb', { content: { seed: 1, length: 1000 }, headers: { 'set-cookie': 'a=1' } });
  await using proxy = await startProxy();
  for (const path of ['/b_1.deb', '/a_1.deb']) {
    t.is((await viaProxy(proxy.port, origin.url(path))).body.length, 1000);
    t.is(origin.stats(path).heads, 1);
    const headers = { authorization: 'x' };
    t.is((await viaProxy(proxy.port, origin.url(path), { headers })).body.length, 1000);
    t.is(origin.stats(path).heads, 1);
  }
  // The mesh had nothing to say just now, and is not asked again for a while.
  t.is((await viaProxy(proxy.port, origin.url('/b_1.deb'))).body.length, 1000);
  t.is(origin.stats('/b_1.deb').heads, 1);
});

test('the mesh is told where a range begins before anything is fetched', async (t) => {
  await using origin = await startOrigin();
  origin.set('/a_1.deb', { content: { seed: 1, length: 1000 } });
  const begun: (number | undefined)[] = [];
  const engine: ContentOpener = {
    openContent: async (_request, { readFrom }) => {
      begun.push(readFrom);
      throw new CodedError('ERR_MESH_UNAVAILABLE', 'there is no mesh');
    },
  };
  await using proxy = await startProxy({}, { engine });
  const headers = { range: 'bytes=700-799' };
  t.is((await viaProxy(proxy.port, origin.url('/a_1.deb'), { headers })).body.length, 100);
  t.deepEqual(begun, [700]);
});
