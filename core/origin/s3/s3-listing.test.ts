import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../base/clock.ts';
import { silentLog } from '../../base/log.ts';
import { SeededRandom } from '../../base/random.ts';
import { AddressGuard } from '../address-guard.ts';
import { defaultFolderLimits } from '../folder/folder-entry.ts';
import { OriginConnections } from '../origin-connections.ts';
import { listObjects } from './s3-listing.ts';
import { S3Objects } from './s3-objects.ts';

const { signal } = new AbortController();
const NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"';

function pageOf(keys: readonly string[], next?: string): string {
  const contents = keys.map(
    (key) =>
      `<Contents><Key>${key}</Key><LastModified>2026-11-21T10:00:00.000Z</LastModified>` +
      '<ETag>&quot;e1&quot;</ETag><Size>3</Size><Owner><ID>me</ID></Owner></Contents>',
  );
  const more = next === undefined ? '' : `<NextContinuationToken>${next}</NextContinuationToken>`;
  const isTruncated = `<IsTruncated>${next !== undefined}</IsTruncated>`;
  return `<?xml version="1.0"?>\n<ListBucketResult ${NAMESPACE}><Name>b</Name>${isTruncated}${contents.join('')}${more}</ListBucketResult>`;
}

/** Lists `prefix` of a server that answers with `pages` by continuation token. */
async function list(
  t: ExecutionContext,
  pages: Readonly<Record<string, string>>,
  options: { readonly prefix?: string; readonly maxFolders?: number } = {},
): Promise<{ told: string[]; queries: URLSearchParams[]; entries: unknown[] }> {
  const queries: URLSearchParams[] = [];
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://x');
    queries.push(searchParams);
    response.end(pages[searchParams.get('continuation-token') ?? ''] ?? 'nonsense');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const address = server.address();
  const endpoint = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const clock = new SystemClock();
  const connections = new OriginConnections({ guard: AddressGuard.open, clock });
  t.teardown(async () => connections.close());
  const credentials = { accessKey: 'A', secretKey: 'secret' };
  const settings = { region: 'us-east-1', endpoint, credentials };
  const objects = new S3Objects('bucket', { settings, headers: {}, clock });
  const parts = { connections, clock, random: new SeededRandom(1), log: silentLog };
  const { prefix = 'dir/', maxFolders = 100 } = options;
  const limits = { ...defaultFolderLimits, maxFolders };
  const entries = await Array.fromAsync(listObjects(objects, { prefix, parts, limits, signal }));
  const told = entries.map((entry) => `${entry.kind} ${entry.path}`);
  return { told, queries, entries };
}

test('listObjects() goes on from page to page, and tells files from what stands for folders', async (t) => {
  const pages = {
    '': pageOf(['dir/', 'dir/a&amp;b', 'dir/sub/'], 't/1+='),
    't/1+=': pageOf(['dir/sub/c', 'dir/d']),
  };
  const { told, queries, entries } = await list(t, pages);
  t.deepEqual(told, ['file a&b', 'file sub/c', 'file d']);
  t.like(entries[0], { location: 'dir/a&b', length: 3, validators: { etag: '"e1"' } });
  t.deepEqual(
    queries.map((query) => [
      query.get('list-type'),
      query.get('prefix'),
      query.has('X-Amz-Signature'),
    ]),
    [
      ['2', 'dir/', true],
      ['2', 'dir/', true],
    ],
  );
});

test('listObjects() refuses keys that are no paths, and those that nobody asked for', async (t) => {
  const keys = ['dir/../x', 'dir//x', 'dir/a&#10;b', 'other/x', `dir/${'x'.repeat(256)}`, 'dir/ok'];
  const { told } = await list(t, { '': pageOf(keys) });
  t.deepEqual(
    told.slice(0, -1).map((line) => line.split(' ')[0]),
    Array(5).fill('refused'),
  );
  t.is(told.at(-1), 'file ok');
});

test('listObjects() ends where a listing does not', async (t) => {
  const page = pageOf(['dir/a'], 'again');
  const loop = { '': page, again: page };
  await t.throwsAsync(list(t, loop), { code: 'ERR_LISTING', message: /how its list/ });
  const endless = { '': pageOf([], 'a'), a: pageOf([], 'b'), b: pageOf([], 'a') };
  const bounds = { code: 'ERR_LISTING', message: /more than 9 pages/ } as const;
  await t.throwsAsync(list(t, endless, { maxFolders: 9 }), bounds);
  for (const text of ['', '<html></html>', page.slice(0, -30)]) {
    await t.throwsAsync(list(t, { '': text }), { code: 'ERR_LISTING' }, text.slice(0, 20));
  }
});

test('listObjects() says so where nothing is', async (t) => {
  await t.throwsAsync(list(t, { '': pageOf([]) }), { code: 'ERR_NOT_FOUND', message: /"dir\/"/ });
  t.deepEqual((await list(t, { '': pageOf([]) }, { prefix: '' })).told, []);
});
