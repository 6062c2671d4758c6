import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';
import { MortalStore } from '../../test/support/mortal-store.ts';
import type { Death } from '../../test/support/mortal-store.ts';
import { publish, reached, ReleaseBench, start } from '../../test/support/release-bench.ts';
import { OwedTable } from './owed-table.ts';

/** More lives than any repair has commits. */
const MAX_LIVES = 50;

/** A commit in which a repair, or a call, gets on. */
function isProgress(changes: readonly StateChange[]): boolean {
  return changes.some(({ key }) => /^(?:release-owed|call-result|call-end)\//.test(key));
}

const afterEach = (): Death => ({ isOnDisk: true, isNow: isProgress });
const beforeNext = (): Death => {
  let before = 0;
  return { isOnDisk: false, isNow: (changes) => isProgress(changes) && (before += 1) > 1 };
};

/** Three hosts, of which two get version 2 only once they are back, by themselves. */
async function withTwoLost(t: ExecutionContext): Promise<ReleaseBench> {
  const bench = await ReleaseBench.open(t, ['one', 'two', 'three']);
  const [well, ...lost] = bench.hosts;
  await using life = await bench.live();
  await publish(life, 'web', '2');
  for (const host of lost) {
    host.manner = () => {
      host.disconnect();
      return undefined;
    };
  }
  const id = await start(life, { batches: { count: 1 }, maxFailures: 2, pause: 'none' });
  await reached(life, id, ({ phase, step }) => {
    if (step === 'install' && (well?.heard.length ?? 0) > 0) bench.clock.advance(60_000);
    return phase === 'done';
  });
  for (const host of lost) {
    host.manner = () => 'ok';
    host.done.length = 0;
  }
  return bench;
}

/** True once all of it was made good. */
async function isMended(rows: StateStore): Promise<boolean> {
  const owed = [...(await OwedTable.open(rows)).all()];
  return owed.length === 2 && owed.every(({ stage }) => stage === 'mended');
}

for (const [when, death] of Object.entries({
  'after each': afterEach,
  'before each': beforeNext,
})) {
  test(`a supernode that is killed ${when} commit of a repair repeats nothing, skips nothing`, async (t) => {
    const bench = await withTwoLost(t);
    const clock = new SystemClock();
    let lives = 0;
    for (let isOver = false; !isOver;) {
      lives += 1;
      t.true(lives < MAX_LIVES);
      const rows = await bench.rows();
      const mortal = new MortalStore(rows, death());
      let isDead = false;
      void mortal.died.then(() => (isDead = true));
      void bench.live(mortal);
      while (!isDead && !isOver) {
        // Slowly: a host that is here has 30 s to answer, whatever else this machine does.
        bench.clock.advance(100);
        await clock.sleep(5);
        isOver = await isMended(rows);
      }
      // It may not even have begun.
      mortal.kill();
      await rows.close();
    }
    for (const { done, current } of bench.hosts.slice(1)) {
      t.is(current, '2');
      t.deepEqual(done, ['package.install 2', 'package.switch 2']);
    }
    t.true(lives > 3, `${lives} lives`);
  });
}
