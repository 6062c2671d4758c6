import { createConnection } from 'node:net';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { newHttpServer } from './http-server.ts';

for (const [what, head] of [
  ['its headers', 'x-long: '],
  ['its body', 'content-type: application/json\r\ncontent-length: 100000\r\n\r\n"'],
] as const) {
  test(`newHttpServer() refuses a client that never comes to the end of ${what}`, async (t) => {
    const server = newHttpServer({ log: silentLog, maxConnections: 4, requestTimeoutMs: 200 });
    server.post('/', async () => 'done');
    await server.listen({ host: '127.0.0.1', port: 0 });
    t.teardown(async () => server.close());
    const address = server.server.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    const client = createConnection({ host: '127.0.0.1', port });
    client.write(`POST / HTTP/1.1\r\nhost: here\r\n${head}`);
    // It is never silent for long.
    const drip = new SystemClock().every(20, () => void client.write('x'));
    t.teardown(() => drip.cancel());
    client.on('error', () => undefined);
    t.regex(await text(client), /^HTTP\/1\.1 408 [^]*ERR_HTTP_REQUEST_TIMEOUT/);
  });
}
