// `dfget --recursive` through a supernode and hosts in one process: what arrives, what is asked of the origin, and what
// hostile listings come to.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test from 'ava';
import { seededBytes } from '../../bench/origin/content.ts';
import { SystemClock } from '../../core/base/clock.ts';
import type { DownloadRequest, Downloader } from '../../core/swarm/download-events.ts';
import type { FolderSummary } from '../../dfget/folder/folder-reporter.ts';
import type { FileResult } from '../../dfget/folder/folder-reporter.ts';
import type { FolderPlan } from '../../dfget/folder/plan-folder.ts';
import { runFolder } from '../../dfget/folder/run-folder.ts';
import { FolderServer } from '../support/folder-server.ts';
import { TestSwarm } from '../support/swarm.ts';

interface Ran {
  readonly code: number;
  readonly summary: FolderSummary;
  readonly results: readonly FileResult[];
  readonly requests: readonly DownloadRequest[];
}

interface Wishes {
  readonly url: string;
  readonly out: string;
  readonly engine?: Downloader;
  readonly folder?: Partial<FolderPlan>;
  readonly overwrite?: boolean;
  readonly request?: Partial<DownloadRequest>;
  readonly signal?: AbortSignal;
}

/** Runs as `dfget -r URL -O OUT --no-daemon` would, with an engine that is there already. */
async function fetchFolder(wishes: Wishes): Promise<Ran> {
  const { url, out, engine, folder = {}, overwrite = false, request = {} } = wishes;
  const clock = new SystemClock();
  const results: FileResult[] = [];
  const requests: DownloadRequest[] = [];
  let summary: FolderSummary | undefined;
  const plan = { include: [], exclude: [], maxFiles: 1_000, concurrency: 4, ...folder };
  const none = { env: {}, home: '/nowhere' };
  const code = await runFolder(
    {
      request: { url, ...request },
      output: { kind: 'file', path: out, overwrite },
      sockets: [],
      engine: { dataDir: join(fresh(), 'dfget'), supernodes: [] },
      notes: [],
    },
    plan,
    {
      clock,
      signal: wishes.signal ?? new AbortController().signal,
      stdout: new PassThrough(),
      uid: process.getuid?.() ?? 0,
      startedMs: clock.monotonic(),
      wishes: {
        aws: { ...none, isSigned: true },
        registry: { defaultLoginsPath: '/nowhere', isPlainHttp: false },
      },
      openEngine: async () => {
        if (engine === undefined) throw new Error('nothing is fetched here');
        return {
          download: (asked, options) => {
            requests.push(asked);
            return engine.download(asked, options);
          },
          content: (done, options) => engine.content(done, options),
          [Symbol.asyncDispose]: async () => undefined,
        };
      },
      reporter: {
        note: () => undefined,
        listed: () => undefined,
        progress: () => undefined,
        stalled: () => undefined,
        file: (result) => void results.push(result),
        finished: (told) => void (summary = told),
      },
    },
  );
  if (summary === undefined) throw new Error('no summary');
  return { code, summary, results, requests };
}

let swarm: TestSwarm;
let one: Downloader;
let two: Downloader;

test.serial.before(async (t) => {
  t.timeout(300_000);
  swarm = await TestSwarm.start();
  [one, two] = await Promise.all([swarm.host('one'), swarm.host('two')]);
});
test.after.always(async () => swarm?.[Symbol.asyncDispose]());

function fresh(): string {
  return mkdtempSync(join(swarm.directory, 'folders-'));
}

const big = Buffer.from(seededBytes(7, 0, 600_000));
const tree = {
  '/pub/big.bin': big,
  '/pub/etc/app.conf': 'listen 80\n',
  '/pub/etc/deep/er/x y&z.txt': 'odd name',
  '/pub/empty': '',
};

test('a folder comes through the mesh, once for all hosts, and again only where it changed', async (t) => {
  await using server = await FolderServer.start(tree);
  const url = server.url('/pub');
  const [first, second] = [join(fresh(), 'a'), join(fresh(), 'b')];
  const ran = await fetchFolder({ url, out: first, engine: one });
  t.is(ran.code, 0, JSON.stringify(ran.results));
  t.like(ran.summary, { files: 4, done: 4, unchanged: 0, failed: 0 });
  for (const [path, content] of Object.entries(tree)) {
    t.deepEqual(readFileSync(join(first, path.slice(5))), Buffer.from(content), path);
  }
  t.like(await fetchFolder({ url, out: second, engine: two }), { code: 0 });
  t.is(server.sent.get('/pub/big.bin'), big.length, 'one copy for both');

  const again = await fetchFolder({ url: `${url}/`, out: first, engine: one });
  t.is(again.code, 0);
  t.like(again.summary, { done: 0, unchanged: 4 });
  t.is(server.sent.get('/pub/big.bin'), big.length);

  server.files.set('/pub/etc/app.conf', Buffer.from('listen 8080\n'));
  const changed = await fetchFolder({ url, out: first, engine: one });
  t.is(changed.code, 8);
  t.like(changed.summary, { unchanged: 3, failed: 1 });
  t.is(changed.summary.firstError?.code, 'ERR_OUTPUT_EXISTS');
  t.regex(changed.summary.firstError?.message ?? '', /an earlier version/);
  t.is(readFileSync(join(first, 'etc/app.conf'), 'utf8'), 'listen 80\n');
  const replaced = await fetchFolder({ url, out: first, engine: one, overwrite: true });
  t.like(replaced.summary, { done: 1, unchanged: 3, failed: 0 });
  t.is(readFileSync(join(first, 'etc/app.conf'), 'utf8'), 'listen 8080\n');
});

test('a file that fails stops no other, and its exit code is that of the whole', async (t) => {
  await using server = await FolderServer.start({ ...tree, '/pub/gone': 'x', '/pub/mine': 'y' });
  server.failures.set('/pub/gone', 404);
  const out = fresh();
  writeFileSync(join(out, 'mine'), 'not theirs');
  const ran = await fetchFolder({
    url: server.url('/pub/'),
    out,
    engine: one,
    folder: { concurrency: 1 },
  });
  t.is(ran.code, 2);
  t.like(ran.summary, { files: 6, done: 4, failed: 2 });
  const failed = ran.results.filter((result) => result.type === 'failed');
  t.deepEqual(
    failed.map(({ file, error }) => [file, error.code]),
    [
      ['gone', 'ERR_ORIGIN_REFUSED'],
      ['mine', 'ERR_OUTPUT_EXISTS'],
    ],
  );
  t.is(readFileSync(join(out, 'mine'), 'utf8'), 'not theirs');
});

test('WebDAV: what a listing vouches for is not even asked for again', async (t) => {
  await using server = await FolderServer.start(tree);
  server.isDav = true;
  server.authorization = 'Basic YTpi';
  const engine = one;
  const out = fresh();
  const request = { headers: { Authorization: 'Basic YTpi' } };
  const wishes = { url: server.url('/pub/'), out, engine, request };
  t.like((await fetchFolder(wishes)).summary, { done: 4, failed: 0 });
  server.requests.length = 0;
  t.like(await fetchFolder(wishes), { code: 0, summary: { unchanged: 4 } });
  t.deepEqual(
    server.requests.filter((line) => !line.startsWith('PROPFIND')),
    [],
  );
  const refused = await fetchFolder({ ...wishes, request: {} });
  t.is(refused.code, 2);
});

test('globs, depth and number choose before anything is fetched, and rates are shared out', async (t) => {
  await using server = await FolderServer.start(tree);
  const engine = one;
  const url = server.url('/pub/');
  const few = await fetchFolder({ url, out: join(fresh(), 'x'), engine, folder: { maxFiles: 3 } });
  t.is(few.code, 3);
  t.is(few.summary.firstError?.code, 'ERR_LISTING');
  t.regex(few.summary.firstError?.message ?? '', /more than 3 files match/);
  t.deepEqual(few.requests, []);
  const chosen = await fetchFolder({
    url,
    out: fresh(),
    engine,
    folder: { include: ['etc/'], exclude: ['deep/**', '**/deep/**'], concurrency: 2 },
    request: { limitRate: 1_000_000, tag: 'T', timeoutMs: 60_000 },
  });
  t.deepEqual(
    chosen.results.map(({ file }) => file),
    ['etc/app.conf'],
  );
  const shallow = await fetchFolder({
    url,
    out: fresh(),
    engine,
    folder: { maxDepth: 1, concurrency: 2 },
    request: { limitRate: 1_000_000, tag: 'T', timeoutMs: 60_000 },
  });
  t.deepEqual(shallow.results.map(({ file }) => file).toSorted(), ['big.bin', 'empty']);
  for (const asked of shallow.requests) {
    t.deepEqual(asked, { url: asked.url, tag: 'T', limitRate: 500_000 });
  }
});

test('a hostile listing makes nothing outside of the folder, and ends at its bounds', async (t) => {
  await using server = await FolderServer.start({ '/pub/ok': 'fine', '/pub/sub/x': 'x' });
  const hrefs = [
    '..%2f..%2fevil',
    'a%00b',
    'a%0ab',
    '%2e%2e%2fevil',
    '.dfget-folder',
    'ok',
    'sub/x',
    'sub/',
  ];
  server.pages.set('/pub/', () => hrefs.map((href) => `<a href="${href}">x</a>`));
  const engine = one;
  const parent = fresh();
  const out = join(parent, 'out');
  mkdirSync(out);
  symlinkSync(parent, join(out, 'sub'));
  const ran = await fetchFolder({ url: server.url('/pub/'), out, engine, overwrite: true });
  t.is(ran.code, 3);
  t.like(ran.summary, { files: 7, done: 1, failed: 6 });
  t.deepEqual(readdirSync(parent), ['out']);
  t.deepEqual(readdirSync(out).toSorted(), ['.dfget-folder', 'ok', 'sub']);

  server.pages.set('/million/', function* million() {
    for (let at = 0; at < 1_000_000; at += 1) yield `<a href="file-${at}">x</a>`;
  });
  server.pages.set('/endless/', function* endless() {
    for (;;) yield ' '.repeat(65_536);
  });
  server.pages.set('/loop/', () => ['<a href="loop/">x</a>']);
  for (const path of ['/million/', '/endless/']) {
    const bounded = await fetchFolder({ url: server.url(path), out: join(parent, 'no') });
    t.is(bounded.code, 3, path);
    t.is(bounded.summary.firstError?.code, 'ERR_LISTING', path);
  }
  t.false(existsSync(join(parent, 'no')));
});

test('a listing that is elsewhere, or is none, is refused in words', async (t) => {
  await using server = await FolderServer.start({ '/pub/f': 'x' });
  const none = await fetchFolder({ url: server.url('/nothing/'), out: fresh() });
  t.is(none.code, 2);
  const stopped = new AbortController();
  stopped.abort();
  const ended = await fetchFolder({
    url: server.url('/pub/'),
    out: fresh(),
    signal: stopped.signal,
  });
  t.is(ended.code, 9);
  const local = fresh();
  mkdirSync(join(local, 'in', 'a'), { recursive: true });
  writeFileSync(join(local, 'in', 'a', 'f'), 'local');
  symlinkSync('a', join(local, 'in', 'link'));
  const url = `file://${local}/in`;
  const files = await fetchFolder({ url, out: join(local, 'out') });
  t.like(files, { code: 0, summary: { files: 1, done: 1 } });
  t.is(readFileSync(join(local, 'out', 'a', 'f'), 'utf8'), 'local');
  t.like((await fetchFolder({ url, out: join(local, 'out') })).summary, { unchanged: 1 });
});
