import test from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import type { Priority } from '../../core/base/priority.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { TestSeed } from '../../test/support/seed.ts';
import type { SeedTask } from './seed-task.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const originHosts = [{ host: '127.0.0.1', bytesPerSecond: 0, requests: 4 }];
const { signal } = new AbortController();

async function resolve(it: TestSeed, path: string, priority?: Priority): Promise<SeedTask> {
  const spec = { url: it.origin.url(path) };
  return it.seeds.resolve(taskIdOf(spec), spec, { signal, priority });
}

test('Seeds: 300 who want the same and 150 who want something each open 4 connections, and each content once', async (t) => {
  await using it = await TestSeed.start({ originHosts });
  const paths = Array.from({ length: 150 }, (_, at) => `/each-${at}`);
  it.origin.set('/same', { content: { seed: 1, length: 300 * KIB } });
  for (const [at, path] of paths.entries()) {
    it.origin.set(path, { content: { seed: at, length: 2 * KIB } });
  }
  const same = Array.from({ length: 300 }, async () => it.fetch('/same'));
  const each = paths.map(async (path) => it.fetch(path));
  const seeds = await Promise.all([...same, ...each]);
  t.true(seeds.every(({ state }) => state === 'complete'));
  t.is(it.origin.stats('/same').requests, 1);
  t.is(it.origin.total.requests, 151);
  t.true(it.origin.total.connections <= 4, `${it.origin.total.connections}`);
});

test('Seeds reads for a release while warm-ups fill an origin, and reads first what one begins to wait for', async (t) => {
  await using it = await TestSeed.start({ originHosts });
  const held = Promise.withResolvers<void>();
  const warm = Array.from({ length: 8 }, (_, at) => `/warm-${at}`);
  for (const [at, path] of warm.entries()) {
    const content = { seed: at, length: 600 * KIB };
    it.origin.set(path, { content, hold: { afterBytes: 300 * KIB, until: held.promise } });
  }
  it.origin.set('/release', { content: { seed: 99, length: 600 * KIB } });
  const running = warm.map(async (path) => {
    const seed = await resolve(it, path, 'warm-up');
    await seed.settled;
    return seed;
  });
  while (it.origin.total.requests < 3) await new Promise((turn) => setImmediate(turn));

  const release = await resolve(it, '/release', 'release');
  await release.settled;
  t.is(release.state, 'complete');
  t.deepEqual(it.origin.seen.map(({ path }) => path).toSorted(), [
    '/release',
    '/warm-0',
    '/warm-1',
    '/warm-2',
  ]);
  // Of those that wait in line a release wants the last: it is asked for at once.
  const wanted = resolve(it, '/warm-7', 'release');
  while (it.origin.total.requests < 5) await new Promise((turn) => setImmediate(turn));
  t.is(it.origin.seen.at(-1)?.path, '/warm-7');
  held.resolve();
  t.is((await wanted).standing.priority, 'release');
  for (const seed of await Promise.all(running)) t.is(seed.state, 'complete');
  t.is(it.origin.total.requests, 9);
});

test('Seeds takes most of a narrow origin for a release amid eight warm-ups, which go on all the same', async (t) => {
  t.timeout(300_000);
  await using it = await TestSeed.start({ bytesPerSecond: 4 * MIB });
  const warm = Array.from({ length: 8 }, (_, at) => `/warm-${at}`);
  for (const [at, path] of warm.entries()) {
    it.origin.set(path, { content: { seed: at, length: 24 * MIB } });
  }
  it.origin.set('/release', { content: { seed: 99, length: 4 * MIB } });
  const light = await Promise.all(warm.map(async (path) => resolve(it, path, 'warm-up')));
  const sum = (): number => light.reduce((all, { originBytes }) => all + originBytes, 0);
  const clock = new SystemClock();
  while (light.some(({ originBytes }) => originBytes === 0)) await clock.sleep(10);
  const release = await resolve(it, '/release', 'release');
  const before = sum();
  await release.settled;
  const meanwhile = sum() - before;
  t.is(release.originBytes, 4 * MIB);
  const share = release.originBytes / (release.originBytes + meanwhile);
  t.log({ meanwhile, share });
  // One of nine without classes, four of five with them where nothing else holds the release up, as a slow machine does.
  t.true(share > 0.2, String(share));
  t.true(meanwhile > 0, 'warm-ups move');
});
