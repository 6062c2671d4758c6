import { execFileSync } from 'node:child_process';
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { ManualClock, SystemClock } from '../core/base/clock.ts';
import type { CodedError } from '../core/base/error.ts';
import type { DownloadRequest } from '../core/swarm/download-events.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { LocalFileDownloader } from './local-file.ts';
import { locator } from './locate.ts';
import { runDownload } from './run.ts';

const SHA = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
const { signal } = new AbortController();

/** Fetches `file:` URLs of a folder with a file `abc` in it. */
async function fetched(
  name: string,
  wishes: Partial<DownloadRequest> = {},
): Promise<{ code: number; error: CodedError | undefined; out: string; dir: string }> {
  const dir = temporaryFolder('local');
  writeFileSync(join(dir, 'a b#c'), 'abc');
  execFileSync('mkfifo', [join(dir, 'pipe')]);
  const clock = new SystemClock();
  const out = join(dir, 'out');
  let error: CodedError | undefined;
  const none = { env: {}, home: dir };
  const wish = {
    aws: { ...none, isSigned: true },
    registry: { defaultLoginsPath: '', isPlainHttp: false },
  };
  const code = await runDownload(
    {
      request: { url: pathToFileURL(join(dir, name)).href, ...wishes },
      output: { kind: 'file', path: out, overwrite: false },
      // Somebody would answer here with other rights; nobody is asked.
      sockets: [dir],
      engine: { dataDir: join(dir, 'data'), supernodes: [] },
      notes: [],
    },
    {
      clock,
      signal,
      stdout: new PassThrough(),
      uid: 0,
      startedMs: 0,
      openEngine: async () => {
        throw new Error('the engine was opened');
      },
      locate: locator(wish, { clock, note: () => undefined }),
      reporter: {
        note: () => undefined,
        passing: () => undefined,
        done: () => undefined,
        failed: (failure) => void (error = failure),
      },
    },
  );
  return { code, error, out, dir };
}

test('file: is read by this program, and the output is a file of its own', async (t) => {
  const { code, out, dir } = await fetched('a b#c');
  t.is(code, 0);
  t.is(readFileSync(out, 'utf8'), 'abc');
  t.is(statSync(out).nlink, 1);
  appendFileSync(join(dir, 'a b#c'), 'd');
  t.is(readFileSync(out, 'utf8'), 'abc');
});

test('file: takes ranges and digests', async (t) => {
  const part = await fetched('a b#c', { range: { start: 1, end: 9 } });
  t.is(readFileSync(part.out, 'utf8'), 'bc');
  for (const digest of [`sha256:${SHA}`, 'crc32:352441c2']) {
    t.is((await fetched('a b#c', { digest })).code, 0, digest);
  }
  const wrong = await fetched('a b#c', { digest: `sha256:${SHA.replace('b', 'c')}` });
  t.is(wrong.code, 4);
  t.throws(() => readFileSync(wrong.out));
});

test('file: refuses what is not there, no file, and what would never end', async (t) => {
  const cases: [string, Partial<DownloadRequest>, string][] = [
    ['none', {}, 'ERR_ORIGIN_REFUSED'],
    ['.', {}, 'ERR_ORIGIN_REFUSED'],
    ['pipe', {}, 'ERR_ORIGIN_REFUSED'],
    ['a b#c', { range: { start: 9 } }, 'ERR_ORIGIN_RANGE'],
    ['x', { url: 'file://elsewhere/etc/hosts' }, 'ERR_URL'],
    ['x', { url: 'file:///a?b' }, 'ERR_URL'],
  ];
  for (const [name, wishes, code] of cases) {
    t.is<string | undefined, string>((await fetched(name, wishes)).error?.code, code, name);
  }
});

test('file: a file that changes while it is read is not taken', async (t) => {
  const path = join(temporaryFolder('local'), 'f');
  writeFileSync(path, 'a'.repeat(600_000));
  const downloader = new LocalFileDownloader(path, new ManualClock());
  await Array.fromAsync(downloader.download({ url: 'file:' }));
  const content = downloader.content(undefined, { signal });
  await content.next();
  appendFileSync(path, 'b');
  await t.throwsAsync(Array.fromAsync(content), { code: 'ERR_ORIGIN_CHANGED' });
});
