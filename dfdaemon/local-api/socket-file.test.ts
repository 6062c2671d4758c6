import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, createConnection } from 'node:net';
import type { Server } from 'node:net';
import { dirname, join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { SocketFile, refuseLiveSocket } from './socket-file.ts';
import { freshSocketPath } from './memory-host.contract.ts';

interface Listener extends AsyncDisposable {
  readonly file: SocketFile;
  readonly server: Server;
}

async function listen(path: string, mode = 0o600): Promise<Listener> {
  const server = createServer((socket) => socket.on('error', () => undefined).end('hello'));
  try {
    const file = await SocketFile.publish({
      path,
      mode,
      listen: async (own) => {
        // Nobody else may come in before the mode is set: the folder is closed to all others.
        server.listen(own);
        await once(server, 'listening');
      },
    });
    const dispose = async (): Promise<void> => {
      server.close();
      await file[Symbol.asyncDispose]();
    };
    return { file, server, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    server.close();
    throw error;
  }
}

/** A socket file that a dead program left behind. */
async function leaveStale(path: string): Promise<void> {
  const { server } = await listen(path);
  const closed = once(server, 'close');
  server.close();
  await closed;
}

async function greeting(path: string): Promise<string> {
  const socket = createConnection(path);
  return (await socket.setEncoding('utf8').toArray()).join('');
}

test('SocketFile.publish() makes a socket of the mode asked for, and leaves nothing else', async (t) => {
  for (const mode of [0o600, 0o660]) {
    const path = join(dirname(freshSocketPath()), 'made', 'for', 'it', 'd.sock');
    await using listener = await listen(path, mode);
    t.is(listener.file.path, path);
    t.is(lstatSync(path).mode & 0o777, mode);
    t.deepEqual(readdirSync(dirname(path)), ['d.sock']);
    t.is(await greeting(path), 'hello');
  }
});

test('SocketFile.publish() replaces a socket that nobody answers on', async (t) => {
  const path = freshSocketPath();
  await leaveStale(path);
  t.true(existsSync(path));
  await t.notThrowsAsync(refuseLiveSocket(path));
  await using _listener = await listen(path);
  t.is(await greeting(path), 'hello');
  t.deepEqual(readdirSync(dirname(path)), ['d.sock']);
});

test('SocketFile.publish() leaves a socket alone that somebody answers on', async (t) => {
  const path = freshSocketPath();
  await using _first = await listen(path);
  const error = await t.throwsAsync(listen(path), { code: 'ERR_ADDRESS_IN_USE' });
  t.true(error.message.includes(path));
  await t.throwsAsync(refuseLiveSocket(path), { code: 'ERR_ADDRESS_IN_USE' });
  t.is(await greeting(path), 'hello');
  t.deepEqual(readdirSync(dirname(path)), ['d.sock']);
});

test('SocketFile.publish() of many at once over a stale socket lets exactly one win', async (t) => {
  const path = freshSocketPath();
  await leaveStale(path);
  const all = await Promise.allSettled(Array.from({ length: 8 }, async () => listen(path)));
  const won = all.filter((one) => one.status === 'fulfilled');
  t.is(won.length, 1);
  t.is(await greeting(path), 'hello');
  t.deepEqual(readdirSync(dirname(path)), ['d.sock']);
  for (const { value } of won) await value[Symbol.asyncDispose]();
});

test('SocketFile.publish() leaves a stale socket to who is replacing it already', async (t) => {
  const path = freshSocketPath();
  await leaveStale(path);
  mkdirSync(`${path}.lock`);
  await t.throwsAsync(listen(path), { code: 'ERR_ADDRESS_IN_USE' });
  t.deepEqual(readdirSync(dirname(path)).toSorted(), ['d.sock', 'd.sock.lock']);
  // As it looks when its holder died a while ago.
  utimesSync(`${path}.lock`, 1, 1);
  await using _listener = await listen(path);
  t.is(await greeting(path), 'hello');
  t.deepEqual(readdirSync(dirname(path)), ['d.sock']);
});

test('SocketFile.publish() names a path that cannot be used', async (t) => {
  const folder = temporaryFolder('dfd');
  const file = join(folder, 'file');
  writeFileSync(file, 'precious');
  await t.throwsAsync(listen(file), { code: 'ERR_USAGE', message: /is no socket/ });
  await t.throwsAsync(listen(join(file, 'x.sock')), { code: 'ERR_USAGE', message: /cannot make/ });
  if (process.getuid?.() !== 0) {
    chmodSync(folder, 0o500);
    await t.throwsAsync(listen(join(folder, 'd.sock')), { message: /EACCES/ });
    chmodSync(folder, 0o700);
  }
  t.deepEqual(readdirSync(folder), ['file']);
});

test('SocketFile removes its file, but not one that another program has put there', async (t) => {
  const path = freshSocketPath();
  const first = await listen(path);
  await first[Symbol.asyncDispose]();
  t.false(existsSync(path));
  const stale = await listen(path);
  stale.server.close();
  await once(stale.server, 'close');
  await using _second = await listen(path);
  await stale.file[Symbol.asyncDispose]();
  t.is(await greeting(path), 'hello');
});
