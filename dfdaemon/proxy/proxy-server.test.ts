import { connect } from 'node:net';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import test from 'ava';
import { eventually } from '../../bench/cluster/eventually.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { MirrorHandler } from './proxy-server.ts';
import { startProxy, viaProxy } from './proxy-fixture.contract.ts';

const host = '127.0.0.1';

test('openProxy() answers /healthz and /metrics, and nothing of the local API', async (t) => {
  await using proxy = await startProxy();
  const base = `http://${host}:${proxy.port}`;
  const health = await fetch(`${base}/healthz`);
  t.is(health.status, 200);
  t.like(await health.json(), { status: 'ok' });
  t.is(await (await fetch(`${base}/metrics`)).text(), 'x 1\n');
  t.is((await fetch(`${base}/v1/tasks`)).status, 404);
  t.is((await fetch(`${base}/v1/downloads`, { method: 'POST', body: '{}' })).status, 404);
  t.is((await fetch(`${base}/v2/`)).status, 404);
});

test('openProxy() names flag and address when it cannot listen', async (t) => {
  await using proxy = await startProxy();
  const { port } = proxy;
  await t.throwsAsync(startProxy({ listen: { host, port } }), {
    code: 'ERR_ADDRESS_IN_USE',
    message: `--proxy-port: 127.0.0.1:${port} is taken`,
  });
  await t.throwsAsync(startProxy({ listen: { host: '192.0.2.1', port: 0 } }), {
    code: 'ERR_USAGE',
    message: /^--listen: cannot listen on 192.0.2.1:0/,
  });
});

test('/v2 goes to the mirror, and its errors are told', async (t) => {
  const seen: (string | undefined)[] = [];
  const mirror: MirrorHandler = {
    answerBlob: async () => false,
    async handle(request, response) {
      seen.push(request.url);
      if (request.url === '/v2/') response.end('here');
      else throw new TypeError('broken');
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  await using proxy = await startProxy({}, { mirror: () => mirror });
  const base = `http://${host}:${proxy.port}`;
  t.is(await (await fetch(`${base}/v2/`)).text(), 'here');
  const broken = await fetch(`${base}/v2/a/manifests/b?ns=c`);
  t.is(broken.status, 500);
  t.is(broken.headers.get('x-odonata-error'), 'ERR_INTERNAL');
  t.is((await fetch(`${base}/v20`)).status, 404);
  t.deepEqual(seen, ['/v2/', '/v2/a/manifests/b?ns=c']);
});

test('requests sent ahead are answered in order, the next begun when the last is answered', async (t) => {
  let running = 0;
  let most = 0;
  const server = createServer((request, response) => {
    running += 1;
    most = Math.max(most, running);
    setImmediate(() => {
      running -= 1;
      response.end(request.url);
    });
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await using proxy = await startProxy();
  const socket = connect(proxy.port, host);
  const paths = Array.from({ length: 10 }, (_item, at) => `/${at}`);
  for (const path of paths) {
    const last = path === '/9' ? 'connection: close\r\n' : '';
    socket.write(`GET http://${host}:${port}${path} HTTP/1.1\r\nhost: x\r\n${last}\r\n`);
  }
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  t.deepEqual(
    [...text.matchAll(/^\/\d/gm)].map(([path]) => path),
    paths,
  );
  t.is(most, 1);
  server.close();
  server.closeAllConnections();
});

test('requests whose client left before their turn are over', async (t) => {
  const origin = createServer(() => undefined);
  origin.listen(0, host);
  await once(origin, 'listening');
  const { port } = origin.address() as AddressInfo;
  await using proxy = await startProxy();
  const socket = connect(proxy.port, host);
  socket.write(`GET http://${host}:${port}/ HTTP/1.1\r\nhost: x\r\n\r\n`.repeat(3));
  await once(origin, 'request');
  await eventually('all have come', () => proxy.active === 3 || undefined);
  socket.destroy();
  await eventually('none is waited for', () => proxy.active === 0 || undefined);
  t.pass();
  origin.close();
  origin.closeAllConnections();
});

test('more requests sent ahead than anybody needs end the connection', async (t) => {
  await using proxy = await startProxy();
  const socket = connect(proxy.port, host);
  socket.on('error', () => undefined);
  socket.write('GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(200));
  socket.resume();
  await once(socket, 'close');
  t.is((await fetch(`http://${host}:${proxy.port}/healthz`)).status, 200);
});

const outside = Object.values(networkInterfaces())
  .flat()
  .find((entry) => entry?.family === 'IPv4' && !entry.internal)?.address;

// A client on one of this machine's other addresses looks to a socket on loopback like one on another machine.
const fromOutside = outside === undefined ? test.skip : test;
fromOutside(
  `strangers read /healthz and nothing else; those who are admitted use the proxy, but reach no loopback${outside === undefined ? ' (no address besides loopback)' : ''}`,
  async (t) => {
    const localAddress = outside ?? '';
    await using origin = await startOrigin({ host: '127.0.0.1' });
    origin.set('/', { content: { seed: 1, length: 10 } });
    const url = origin.url('/');
    await using closed = await startProxy({ connectPorts: [origin.port] });
    t.is((await viaProxy(closed.port, '/healthz', { localAddress })).status, 200);
    t.is((await viaProxy(closed.port, '/metrics', { localAddress })).status, 200);
    for (const [method, path] of [
      ['GET', url],
      ['CONNECT', `${host}:${origin.port}`],
    ] as const) {
      const refused = await viaProxy(closed.port, path, { localAddress, method });
      t.deepEqual([refused.status, refused.headers['x-odonata-error']], [403, 'ERR_FORBIDDEN']);
    }
    t.is((await viaProxy(closed.port, url)).status, 200);
    await using open = await startProxy({ allow: [`${localAddress}/32`] });
    const admitted = await viaProxy(open.port, url, { localAddress });
    t.is(admitted.headers['x-odonata-error'], 'ERR_ORIGIN_FORBIDDEN');
    t.is(origin.total.requests, 1);
  },
);

test('the mirror is for those who may use the proxy', async (t) => {
  const mirror: MirrorHandler = {
    answerBlob: async () => false,
    handle: async (_request, response) => void response.end('here'),
    [Symbol.asyncDispose]: async () => undefined,
  };
  await using proxy = await startProxy({}, { mirror: () => mirror });
  t.is((await viaProxy(proxy.port, '/v2/')).status, 200);
  if (outside === undefined) return;
  t.is((await viaProxy(proxy.port, '/v2/', { localAddress: outside })).status, 403);
});

test('what is no HTTP, or has too long a head, is refused', async (t) => {
  await using proxy = await startProxy();
  for (const [text, status] of [
    ['\x16\x03\x01hello\r\n\r\n', 400],
    [`GET / HTTP/1.1\r\nhost: x\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`, 431],
  ] as const) {
    const socket = connect(proxy.port, host);
    socket.on('error', () => undefined);
    socket.write(text);
    const [first] = (await once(socket, 'data')) as [Buffer];
    t.true(String(first).startsWith(`HTTP/1.1 ${status} `), String(first).slice(0, 40));
    socket.destroy();
  }
});

test('a server that is stopping refuses proxied requests, answers /healthz, and waits for what runs', async (t) => {
  const gate = Promise.withResolvers<void>();
  const origin = createServer((_request, response) => {
    response.write('begin ');
    void gate.promise.then(() => response.end('end'));
  });
  origin.listen(0, host);
  await once(origin, 'listening');
  const url = `http://${host}:${(origin.address() as AddressInfo).port}/`;
  await using proxy = await startProxy();
  const running = viaProxy(proxy.port, url);
  await once(origin, 'request');
  const drained = proxy.drain({ graceMs: 60_000 });
  t.is((await viaProxy(proxy.port, url)).status, 503);
  t.is((await fetch(`http://${host}:${proxy.port}/healthz`)).status, 200);
  t.is(proxy.active, 1);
  gate.resolve();
  await drained;
  t.is(String((await running).body), 'begin end');
  origin.close();
  origin.closeAllConnections();
});
