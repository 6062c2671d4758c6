import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { silentLog } from '../../core/base/log.ts';
import { newApiApp, spareRequest } from './fastify-app.ts';

/** What Node tells a server of a request that has taken too long; it looks every 30 s. */
function tooSlow(): Error {
  return Object.assign(new Error('Request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
}

interface Bench {
  readonly tellTooSlow: () => void;
  readonly client: Socket;
}

/** A server that has had half of a request. */
async function openBench(t: ExecutionContext, path: string): Promise<Bench> {
  const app = newApiApp(silentLog);
  const { promise: isAsked, resolve } = Promise.withResolvers<void>();
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  app.put('/:path', async ({ raw, url }) => {
    if (url === '/spared') spareRequest(raw);
    resolve();
    return { length: (await text(raw)).length };
  });
  const accepted = once(app.server, 'connection');
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => app.close());
  const address = app.server.address();
  const client = connect(typeof address === 'object' ? (address?.port ?? 0) : 0, '127.0.0.1');
  client.write(
    `PUT ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n`,
  );
  client.write('12345');
  const [socket] = await accepted;
  await isAsked;
  return { client, tellTooSlow: () => void app.server.emit('clientError', tooSlow(), socket) };
}

test('newApiApp() ends a request that takes too long', async (t) => {
  const { client, tellTooSlow } = await openBench(t, '/other');
  tellTooSlow();
  t.regex(await text(client), /^HTTP\/1\.1 408 /);
});

test('newApiApp() lets a request take its time that was spared', async (t) => {
  const { client, tellTooSlow } = await openBench(t, '/spared');
  tellTooSlow();
  client.write('67890');
  t.regex(await text(client), /^HTTP\/1\.1 200 [^]*\{"length":10\}$/);
});

test('newApiApp() waits for a whole request as long as it says, and no longer', async (t) => {
  const { server } = newApiApp(silentLog);
  // Of the two Node takes the longer one for the whole, whichever it is.
  t.true(server.headersTimeout <= server.requestTimeout);
});
