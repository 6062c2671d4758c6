import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test from 'ava';
import type { Downloader } from '../core/swarm/download-events.ts';
import { doneEvent, inlineDone } from '../core/local-api/local-api.contract.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { checkOutput, deliver } from './output.ts';
import type { DeliverTools, DoneEvent } from './output.ts';

const uid = process.getuid?.() ?? 0;

function folder(): string {
  return temporaryFolder('output');
}

function file(path: string, overwrite = false): { kind: 'file'; path: string; overwrite: boolean } {
  return { kind: 'file', path, overwrite };
}

/** Tools whose downloader streams `content`; `streamed` counts how often it was asked to. */
function tools(
  content: string,
  changes: Partial<DeliverTools> = {},
): DeliverTools & { streamed: number } {
  const made = {
    streamed: 0,
    stdout: new PassThrough(),
    signal: new AbortController().signal,
    storeUid: uid,
    uid,
    downloader: {} as Downloader,
    ...changes,
  };
  made.downloader = {
    download: () => {
      throw new Error('not here');
    },
    async *content() {
      made.streamed += 1;
      for (const part of content.match(/.{1,3}/gs) ?? []) yield Buffer.from(part);
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  return made;
}

test('checkOutput() refuses what exists, a folder, and a place that cannot be written', async (t) => {
  const dir = folder();
  const taken = join(dir, 'taken');
  writeFileSync(taken, 'old');
  symlinkSync(join(dir, 'nowhere'), join(dir, 'dangling'));
  await t.throwsAsync(checkOutput(file(taken)), {
    code: 'ERR_OUTPUT_EXISTS',
    message: /taken exists/,
  });
  await t.throwsAsync(checkOutput(file(join(dir, 'dangling'))), { code: 'ERR_OUTPUT_EXISTS' });
  t.deepEqual(await checkOutput(file(taken, true)), file(taken, true));
  const unwritable = { code: 'ERR_OUTPUT_UNWRITABLE' };
  await t.throwsAsync(checkOutput(file(dir, true)), { ...unwritable, message: /it is a folder/ });
  await t.throwsAsync(checkOutput(file(join(dir, 'x/'))), { ...unwritable, message: /folder/ });
  await t.throwsAsync(checkOutput(file(join(dir, 'no', 'f'))), {
    ...unwritable,
    message: /not exist/,
  });
  await t.throwsAsync(checkOutput(file(join(taken, 'f'))), unwritable);
  if (uid !== 0) {
    chmodSync(dir, 0o500);
    await t.throwsAsync(checkOutput(file(join(dir, 'f'))), { ...unwritable, message: /EACCES/ });
  }
});

test('deliver() writes inline content without asking for more', async (t) => {
  const path = join(folder(), 'f');
  const given = tools('');
  await deliver(inlineDone('tiny') as DoneEvent, await checkOutput(file(path)), given);
  t.is(readFileSync(path, 'utf8'), 'tiny');
  t.is(given.streamed, 0);
});

test('deliver() takes the store’s own file when this user can read it', async (t) => {
  const dir = folder();
  writeFileSync(join(dir, 'stored'), 'content');
  const given = tools('');
  const done = doneEvent(7, { path: join(dir, 'stored') }) as DoneEvent;
  await deliver(done, file(join(dir, 'f')), given);
  t.is(readFileSync(join(dir, 'f'), 'utf8'), 'content');
  t.is(given.streamed, 0);
});

test('deliver() never makes the output another name of a file of another user', async (t) => {
  const dir = folder();
  writeFileSync(join(dir, 'stored'), 'content');
  const done = doneEvent(7, { path: join(dir, 'stored') }) as DoneEvent;
  await deliver(done, file(join(dir, 'f')), tools('', { uid: uid + 1 }));
  t.is(statSync(join(dir, 'f')).nlink, 1);
});

test('deliver() streams when the named file is not the daemon’s, of another length, a link, or not there', async (t) => {
  const dir = folder();
  const stored = join(dir, 'stored');
  writeFileSync(stored, 'content');
  symlinkSync(stored, join(dir, 'link'));
  const cases: [string, number, number][] = [
    [stored, 8, uid],
    [stored, 7, uid + 1],
    [join(dir, 'link'), 7, uid],
    [join(dir, 'gone'), 7, uid],
    [dir, 7, uid],
  ];
  for (const [index, [path, length, storeUid]] of cases.entries()) {
    const given = tools('streamed'.slice(0, length), { storeUid });
    const target = join(dir, `f${index}`);
    await deliver(doneEvent(length, { path }) as DoneEvent, file(target), given);
    t.is(readFileSync(target, 'utf8'), 'streamed'.slice(0, length), path);
    t.is(given.streamed, 1);
  }
});

test('deliver() leaves nothing behind when the stream is short, and keeps what was there', async (t) => {
  const dir = folder();
  const path = join(dir, 'f');
  const short = deliver(doneEvent(9) as DoneEvent, file(path), tools('short'));
  await t.throwsAsync(short, { code: 'ERR_PROTOCOL', message: /5 bytes came instead of 9/ });
  t.deepEqual(readdirSync(dir), []);
  writeFileSync(path, 'old');
  await t.throwsAsync(deliver(doneEvent(9) as DoneEvent, file(path, true), tools('short')));
  t.is(readFileSync(path, 'utf8'), 'old');
});

test('deliver() overwrites what a link names and leaves the link', async (t) => {
  const dir = folder();
  writeFileSync(join(dir, 'real'), 'old');
  symlinkSync('real', join(dir, 'link'));
  const target = await checkOutput(file(join(dir, 'link'), true));
  await deliver(inlineDone('new') as DoneEvent, target, tools(''));
  t.is(readFileSync(join(dir, 'real'), 'utf8'), 'new');
  t.true(lstatSync(join(dir, 'link')).isSymbolicLink());
});

test('deliver() writes to standard output and leaves it open', async (t) => {
  const given = tools('streamed');
  const stdout = given.stdout as PassThrough;
  await deliver(doneEvent(8) as DoneEvent, { kind: 'stdout' }, given);
  t.is(stdout.read()?.toString(), 'streamed');
  t.false(stdout.writableEnded);
  const dir = folder();
  writeFileSync(join(dir, 'stored'), 'x'.repeat(600_000));
  const big = tools('');
  const chunks = Array.fromAsync(big.stdout as PassThrough);
  const done = doneEvent(600_000, { path: join(dir, 'stored') }) as DoneEvent;
  await deliver(done, { kind: 'stdout' }, big);
  big.stdout.end();
  t.is(Buffer.concat(await chunks).toString(), 'x'.repeat(600_000));
});

test('deliver() writes into a device or pipe and does not replace it', async (t) => {
  const pipe = join(folder(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const target = await checkOutput(file(pipe, true));
  t.is(target.kind, 'device');
  const read = new Promise<string>((resolve) => {
    void import('node:fs/promises').then(async (fs) => resolve(await fs.readFile(pipe, 'utf8')));
  });
  await deliver(inlineDone('through') as DoneEvent, target, tools(''));
  t.is(await read, 'through');
  t.true(existsSync(pipe) && statSync(pipe).isFIFO());
  await deliver(inlineDone('x') as DoneEvent, await checkOutput(file('/dev/null')), tools(''));
  t.true(statSync('/dev/null').isCharacterDevice());
});

test('deliver() says that a device is full', async (t) => {
  const full = deliver(
    inlineDone('x') as DoneEvent,
    await checkOutput(file('/dev/full')),
    tools(''),
  );
  await t.throwsAsync(full, { code: 'ERR_NO_SPACE', message: /\/dev\/full is full/ });
});
