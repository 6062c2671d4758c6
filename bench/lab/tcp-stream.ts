/**
 * One plain TCP connection: `take ADDRESS PORT` prints what came in how long, `send ADDRESS PORT BYTES [SECONDS]` sends
 * it, or what of it was sent in this time.
 */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { SystemClock } from '../../core/base/clock.ts';

const CHUNK = 256 * 1024;
const clock = new SystemClock();

function take(socket: Socket): void {
  let bytes = 0;
  let firstMs: number | undefined;
  let lastMs = 0;
  // The first chunk starts the clock and does not count: nobody knows how long it took.
  socket.on('data', (chunk: Uint8Array) => {
    lastMs = clock.monotonic();
    if (firstMs === undefined) firstMs = lastMs;
    else bytes += chunk.length;
  });
  socket.once('end', () => {
    console.log(JSON.stringify({ bytes, seconds: (lastMs - (firstMs ?? lastMs)) / 1000 }));
    process.exit(0);
  });
}

async function send(socket: Socket, bytes: number, seconds: number): Promise<void> {
  const chunk = new Uint8Array(CHUNK);
  const endMs = clock.monotonic() + seconds * 1000;
  for (let left = bytes; left > 0 && clock.monotonic() < endMs; left -= CHUNK) {
    if (!socket.write(chunk.subarray(0, Math.min(left, CHUNK)))) await once(socket, 'drain');
  }
  socket.end();
}

const [verb, host = '', port = '', bytes = '', seconds = 'Infinity'] = process.argv.slice(2);
if (verb === 'take') {
  const server = createServer(take).listen(Number(port), host);
  server.once('listening', () => console.log(JSON.stringify({ event: 'listening' })));
} else {
  const socket = connect(Number(port), host);
  await once(socket, 'connect');
  await send(socket, Number(bytes), Number(seconds));
}
