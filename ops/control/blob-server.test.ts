import { createHash } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { blobUrl } from '../../core/base/blob-url.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { AddressGuard } from '../../core/origin/address-guard.ts';
import { OriginConnections } from '../../core/origin/origin-connections.ts';
import { BlobServer, blobFolder, blobSocketPath } from './blob-server.ts';
import { BlobStore } from './blob-store.ts';

const CONTENT = '0123456789';
const DIGEST = `sha256:${createHash('sha256').update(CONTENT).digest('hex')}`;
const ETAG = `"${DIGEST}"`;

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

type Ask = (
  url: string,
  headers?: Readonly<Record<string, string>>,
  method?: string,
) => Promise<Answer>;

/** Asks as the workers of a supernode do; `isSupernode` false: as those of any other program. */
function asker(t: ExecutionContext, dataDir: string, isSupernode = true): Ask {
  const connections = new OriginConnections({
    guard: new AddressGuard({ allow: [] }),
    clock: new SystemClock(),
    ...(isSupernode ? { blobSocket: blobSocketPath(dataDir) } : {}),
  });
  t.teardown(async () => connections.close());
  return async (url, headers = {}, method = 'GET') => {
    const { signal } = new AbortController();
    const answer = await connections.request({ url: new URL(url), headers, method, signal });
    const { status } = answer;
    return { status, headers: answer.headers, body: await text(Readable.from(answer.body)) };
  };
}

async function serve(t: ExecutionContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'blob-server-'));
  const store = await BlobStore.open({ directory: blobFolder(dataDir), isReferred: () => false });
  const facts = { digest: DIGEST, length: CONTENT.length };
  await using staged = await store.stage(facts, Readable.from([Buffer.from(CONTENT)]));
  await staged.keep();
  const server = await BlobServer.open(store, { dataDir, log: silentLog });
  t.teardown(async () => {
    await server[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true, force: true });
  });
  return dataDir;
}

test('BlobServer serves a blob as an origin would: whole, in parts, and under a condition', async (t) => {
  const ask = asker(t, await serve(t));
  const url = blobUrl(DIGEST);
  const whole = await ask(url);
  t.like(whole, { status: 200, body: CONTENT });
  t.like(whole.headers, { etag: ETAG, 'accept-ranges': 'bytes', 'content-length': '10' });
  const head = await ask(url, {}, 'HEAD');
  t.like(head, { status: 200, body: '' });
  t.is(head.headers['content-length'], '10');
  const parts = [
    ['bytes=2-4', '234', 'bytes 2-4/10'],
    ['bytes=7-', '789', 'bytes 7-9/10'],
    ['bytes=8-100', '89', 'bytes 8-9/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
  ] as const;
  for (const [range, body, place] of parts) {
    const part = await ask(url, { range, 'if-match': ETAG });
    t.like(part, { status: 206, body }, range);
    t.is(part.headers['content-range'], place);
  }
  t.like(await ask(url, { range: 'bytes=10-' }), { status: 416, body: '' });
  t.like(await ask(url, { range: 'lines=1-2' }), { status: 200, body: CONTENT });
  t.like(await ask(url, { range: 'bytes=0-0', 'if-range': '"other"' }), { status: 200 });
  t.like(await ask(url, { 'if-none-match': ETAG }), { status: 304, body: '' });
  t.like(await ask(url, { 'if-match': '"other"' }), { status: 412, body: '' });
  t.is((await ask(url, {}, 'POST')).status, 405);
});

test('BlobServer has nothing else, whatever the path, and its folder is its own', async (t) => {
  const dataDir = await serve(t);
  const ask = asker(t, dataDir);
  const others = [`sha256:${'0'.repeat(64)}`, '', '..%2fsocket', DIGEST.slice(7), `${DIGEST}?x`];
  for (const path of others) {
    t.is((await ask(`http://blobs.odonata.invalid/${path}`)).status, 404, path);
  }
  t.is((await stat(blobFolder(dataDir))).mode & 0o077, 0);
});

test('BlobServer.open() takes the place of one that was killed', async (t) => {
  const dataDir = await serve(t);
  const store = await BlobStore.open({ directory: blobFolder(dataDir), isReferred: () => false });
  await using _second = await BlobServer.open(store, { dataDir, log: silentLog });
  t.is((await asker(t, dataDir)(blobUrl(DIGEST))).body, CONTENT);
});

test('OriginConnections refuses the name of blobs unless it has their socket, and all else under that name', async (t) => {
  const dataDir = await serve(t);
  const refused = { code: 'ERR_ORIGIN_FORBIDDEN', message: /through the mesh/ };
  await t.throwsAsync(asker(t, dataDir, false)(blobUrl(DIGEST)), refused);
  const ask = asker(t, dataDir);
  await t.throwsAsync(ask(`https://blobs.odonata.invalid/${DIGEST}`), refused);
  await t.throwsAsync(ask(`http://blobs.odonata.invalid:8080/${DIGEST}`), refused);
  await t.throwsAsync(asker(t, dataDir, false)(`http://blobs.odonata.invalid./${DIGEST}`), refused);
});
