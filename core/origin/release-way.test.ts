import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { ReleaseWay, releaseMemory } from './release-way.ts';

const KIB = 1024;
const { signal } = new AbortController();

async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Whether something was done by now. */
async function isDone(work: Promise<unknown>): Promise<boolean> {
  let done = false;
  void work.then(() => (done = true));
  await turns();
  return done;
}

test('ReleaseWay: others go freely while there is no release, and when it is over', async (t) => {
  const clock = new ManualClock();
  clock.advance(1_000);
  const way = new ReleaseWay(undefined, clock);
  for (let round = 0; round < 100; round += 1) await way.came(64 * KIB, 'warm-up', { signal });
  await way.came(64 * KIB, 'release', { signal });
  await way.came(64 * KIB, 'warm-up', { signal });
  const waiting = way.came(64 * KIB, 'warm-up', { signal });
  t.false(await isDone(waiting));
  clock.advance(500);
  t.true(await isDone(waiting));
  await way.came(64 * KIB, 'warm-up', { signal });
});

test('ReleaseWay: of a release eight times as much comes as of all who yield to it, whatever thread they are in', async (t) => {
  const clock = new ManualClock();
  clock.advance(1_000);
  const shared = releaseMemory();
  const [one, other] = [new ReleaseWay(shared, clock), new ReleaseWay(shared, clock)];
  let light = 0;
  const stop = new AbortController();
  const read = async (way: ReleaseWay): Promise<void> => {
    for (;;) {
      await way.came(64 * KIB, 'warm-up', stop);
      light += 64 * KIB;
      await turns();
    }
  };
  let heavy = 0;
  await one.came(64 * KIB, 'release', { signal });
  const readers = [one, other, one, other].map(async (way) => read(way));
  for (let round = 0; round < 200; round += 1) {
    await other.came(64 * KIB, 'release', { signal });
    heavy += 64 * KIB;
    clock.advance(10);
    await turns();
  }
  stop.abort(new Error('enough'));
  await Promise.allSettled(readers);
  const share = heavy / (heavy + light);
  t.true(share > 0.85 && share < 0.95, String(share));
});

test('ReleaseWay: however slow a release is, others take a chunk five times a second; interactive ones wait for nothing', async (t) => {
  const clock = new ManualClock();
  clock.advance(1_000);
  const way = new ReleaseWay(undefined, clock);
  await way.came(1, 'release', { signal });
  await way.came(64 * KIB, 'normal', { signal });
  const second = way.came(64 * KIB, 'normal', { signal });
  t.false(await isDone(second));
  await way.came(64 * KIB, 'interactive', { signal });
  clock.advance(150);
  await turns();
  await way.came(1, 'release', { signal });
  t.false(await isDone(second));
  clock.advance(60);
  t.true(await isDone(second));
});
