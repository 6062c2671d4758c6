import { mkdirSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { SystemClock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import type { Downloader } from '../core/swarm/download-events.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { openInProcess } from './in-process.ts';

const clock = new SystemClock();
/** No process has it: the kernel's own bound is lower. */
const NO_PID = 2 ** 22 + 1;

function downloader(): Downloader {
  return {
    download: () => {
      throw new Error('not here');
    },
    content: () => {
      throw new Error('not here');
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** An engine whose store is locked until a private folder is asked for. */
async function openOnlyPrivate(options: { dataDir: string }): Promise<Downloader> {
  if (options.dataDir.endsWith('dfget')) throw new CodedError('ERR_STORE_LOCKED', 'in use');
  return downloader();
}

async function openNewer(): Promise<Downloader> {
  throw new CodedError('ERR_STORE_NEWER', 'newer');
}

test('openInProcess() makes the data folder for this user alone', async (t) => {
  const dataDir = join(temporaryFolder('engine'), 'a', 'dfget');
  const tools = { openEngine: async () => downloader(), clock };
  await using opened = await openInProcess({ dataDir, supernodes: [] }, tools);
  t.false(opened.isPrivate);
  t.is(statSync(dataDir).mode & 0o777, 0o700);
});

test('openInProcess() names the flag where no folder can be made', async (t) => {
  const tools = { openEngine: async () => downloader(), clock };
  const opening = openInProcess({ dataDir: '/dev/null/dfget', supernodes: [] }, tools);
  await t.throwsAsync(opening, { code: 'ERR_STORE_IO', message: /use another --data-dir/ });
});

test('openInProcess() removes private stores that a killed dfget left, and no others', async (t) => {
  const parent = temporaryFolder('engine');
  const dataDir = join(parent, 'dfget');
  const longAgo = clock.now() / 1000 - 2 * 86_400;
  for (const [name, isOld] of [
    [`dfget-private-${NO_PID}-old`, true],
    [`dfget-private-${NO_PID}-new`, false],
    [`dfget-private-${process.pid}-old`, true],
    ['dfget-private-mine', true],
  ] as const) {
    mkdirSync(join(parent, name));
    if (isOld) utimesSync(join(parent, name), longAgo, longAgo);
  }
  const tools = { openEngine: openOnlyPrivate, clock };
  {
    await using opened = await openInProcess({ dataDir, supernodes: [] }, tools);
    t.true(opened.isPrivate);
    t.is(readdirSync(parent).length, 5);
  }
  const left = [`dfget-private-${NO_PID}-new`, `dfget-private-${process.pid}-old`];
  t.deepEqual(readdirSync(parent).toSorted(), ['dfget', ...left, 'dfget-private-mine'].toSorted());
});

test('openInProcess() passes on any other failure to open', async (t) => {
  const dataDir = join(temporaryFolder('engine'), 'dfget');
  const tools = { openEngine: openNewer, clock };
  const opening = openInProcess({ dataDir, supernodes: [] }, tools);
  await t.throwsAsync(opening, { code: 'ERR_STORE_NEWER' });
});
