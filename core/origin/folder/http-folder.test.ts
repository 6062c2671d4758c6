import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { SeededRandom } from '../../base/random.ts';
import { AddressGuard } from '../address-guard.ts';
import { OriginConnections } from '../origin-connections.ts';
import { HttpFolder, folderUrl } from './http-folder.ts';

const { signal } = new AbortController();
const headers = { authorization: 'Bearer secret' };

interface Site {
  readonly base: string;
  readonly requests: string[];
}

/** A server that answers so, and tells what it was asked. */
async function site(
  t: ExecutionContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Site> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    request.resume();
    requests.push(`${request.method} ${request.url} ${request.headers.authorization ?? 'nobody'}`);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  return { base: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`, requests };
}

function folderOf(t: ExecutionContext): HttpFolder {
  const clock = new SystemClock();
  const connections = new OriginConnections({ guard: AddressGuard.open, clock });
  t.teardown(async () => connections.close());
  const parts = { connections, clock, random: new SeededRandom(1), log: silentLog };
  return new HttpFolder(parts, { headers, maxBytes: 100_000 });
}

async function names(folder: HttpFolder, url: string): Promise<string[]> {
  const found = await Array.fromAsync(folder.list(url, { signal }));
  return found.map(({ name }) => name);
}

test('HttpFolder asks for WebDAV once, and reads pages from then on', async (t) => {
  const { base, requests } = await site(t, ({ method }, response) => {
    response.writeHead(method === 'PROPFIND' ? 403 : 200, { 'content-type': 'text/html' });
    response.end('<a href="f">f</a>');
  });
  const folder = folderOf(t);
  t.deepEqual(await names(folder, `${base}/a/`), ['f']);
  t.deepEqual(await names(folder, `${base}/a/b`), ['f']);
  t.deepEqual(
    requests,
    ['PROPFIND /a/', 'GET /a/', 'GET /a/b/'].map((line) => `${line} Bearer secret`),
  );
});

test('HttpFolder goes where it was sent, and takes no listing from another place', async (t) => {
  const other = await site(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<a href="f">f</a>');
  });
  const { base } = await site(t, ({ method, url }, response) => {
    if (method === 'PROPFIND') response.writeHead(405).end();
    else if (url === '/away/') response.writeHead(302, { location: `${other.base}/away/` }).end();
    else response.writeHead(302, { location: '/elsewhere/' }).end();
  });
  const error = { code: 'ERR_LISTING', message: /redirects elsewhere/ } as const;
  await t.throwsAsync(names(folderOf(t), `${base}/away/`), error);
  t.deepEqual(other.requests, ['GET /away/ nobody']);
});

test('HttpFolder refuses what is no listing', async (t) => {
  const answers: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    '/file/': { 'content-type': 'application/octet-stream' },
    '/packed/': { 'content-type': 'text/html', 'content-encoding': 'gzip' },
    '/unsaid/': {},
  };
  const { base } = await site(t, ({ method, url = '' }, response) => {
    response.writeHead(method === 'PROPFIND' ? 501 : 200, answers[url] ?? {}).end('x');
  });
  for (const path of Object.keys(answers)) {
    await t.throwsAsync(names(folderOf(t), `${base}${path}`), { code: 'ERR_LISTING' }, path);
  }
});

test('HttpFolder passes on that a folder below is not to be had by WebDAV', async (t) => {
  const { base } = await site(t, ({ url }, response) => {
    const isTop = url === '/top/';
    response.writeHead(isTop ? 207 : 403).end(isTop ? '<multistatus></multistatus>' : '');
  });
  const folder = folderOf(t);
  t.deepEqual(await names(folder, `${base}/top/`), []);
  const error = { code: 'ERR_ORIGIN_REFUSED', message: /answered 403 to PROPFIND/ } as const;
  await t.throwsAsync(names(folder, `${base}/top/secret/`), error);
});

test('folderUrl() is the address of a folder', (t) => {
  t.is(folderUrl('http://o/a?x#y').href, 'http://o/a/');
  t.is(folderUrl('http://o').href, 'http://o/');
});
