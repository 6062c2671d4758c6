import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import test from 'ava';
import { startProxy } from './proxy-fixture.contract.ts';

const host = '127.0.0.1';

async function listen(
  onConnection: (socket: Socket) => void,
): Promise<AsyncDisposable & { readonly port: number; readonly server: Server }> {
  const server = createServer({ allowHalfOpen: true }, onConnection);
  server.listen(0, host);
  await once(server, 'listening');
  return {
    server,
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

/** All that comes over a connection, to its end. */
async function textOf(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

function ask(port: number, authority: string, rest = ''): Socket {
  const socket = connect({ port, host, allowHalfOpen: true });
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n\r\n${rest}`);
  return socket;
}

test('a tunnel carries bytes both ways, each side ending when it has said all', async (t) => {
  await using echo = await listen((socket) => {
    // Answers only once the other side has ended: a half-closed tunnel has to stay open the other way.
    void textOf(socket);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.once('end', () => socket.end(`heard ${Buffer.concat(chunks).length}`));
  });
  await using proxy = await startProxy({ connectPorts: [echo.port] });
  // The first bytes come with the request itself.
  const socket = ask(proxy.port, `${host}:${echo.port}`, 'early ');
  socket.end(Buffer.alloc(3_000_000));
  const text = await textOf(socket);
  t.is(text, 'HTTP/1.1 200 Connection established\r\n\r\nheard 3000006');
  t.is(proxy.active, 0);
});

test('ports that are not allowed, forbidden addresses and what is no host are refused', async (t) => {
  await using echo = await listen((socket) => socket.end());
  await using open = await startProxy({ connectPorts: [echo.port], originAllow: [] });
  await using proxy = await startProxy();
  const cases: [number, string, RegExp][] = [
    [
      proxy.port,
      `${host}:${echo.port}`,
      /^HTTP\/1.1 403 .*\r\n[^]*ERR_FORBIDDEN: no tunnels to port/,
    ],
    [open.port, `${host}:${echo.port}`, /^HTTP\/1.1 403 .*\r\n[^]*ERR_ORIGIN_FORBIDDEN/],
    [open.port, `localhost:${echo.port}`, /^HTTP\/1.1 403 .*\r\n[^]*ERR_ORIGIN_FORBIDDEN/],
    [open.port, 'a/b:443', /^HTTP\/1.1 400 /],
    [proxy.port, 'nowhere.invalid:443', /^HTTP\/1.1 502 .*\r\n[^]*ERR_ORIGIN_UNREACHABLE/],
  ];
  for (const [port, authority, expected] of cases) {
    const socket = ask(port, authority);
    t.regex(await textOf(socket), expected, authority);
    socket.destroy();
  }
});

test('a tunnel to this port itself is refused', async (t) => {
  await using first = await startProxy();
  const { port } = first;
  await first[Symbol.asyncDispose]();
  await using proxy = await startProxy({ connectPorts: [port], listen: { host, port } });
  const socket = ask(proxy.port, `${host}:${port}`);
  t.regex(await textOf(socket), /ERR_ORIGIN_FORBIDDEN: .*own ports/);
  socket.destroy();
});

test('when the other side breaks the tunnel, this side learns it; closing the server ends what is open', async (t) => {
  const accepted = Promise.withResolvers<Socket>();
  await using quiet = await listen((socket) => {
    socket.on('error', () => undefined);
    accepted.resolve(socket);
  });
  const proxy = await startProxy({ connectPorts: [quiet.port] });
  const first = ask(proxy.port, `${host}:${quiet.port}`);
  await once(first, 'data');
  const broken = once(first, 'end');
  (await accepted.promise).resetAndDestroy();
  first.resume();
  await t.throwsAsync(broken, { code: 'ECONNRESET' });
  const second = ask(proxy.port, `${host}:${quiet.port}`);
  await once(second, 'data');
  t.is(proxy.active, 1);
  second.resume();
  const ended = once(second, 'end');
  await proxy[Symbol.asyncDispose]();
  await t.throwsAsync(ended, { code: 'ECONNRESET' });
  t.is(proxy.active, 0);
});
