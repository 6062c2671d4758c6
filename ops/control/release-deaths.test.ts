import test from 'ava';
import type { ExecutionContext } from 'ava';
import { CodedError } from '../../core/base/error.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import { MortalStore } from '../../test/support/mortal-store.ts';
import type { Death } from '../../test/support/mortal-store.ts';
import { publish, reached, ReleaseBench, start } from '../../test/support/release-bench.ts';
import type { Life } from '../../test/support/release-bench.ts';
import type { Manner } from '../../test/support/releasing-host.ts';
import { isEnded } from './release-state.ts';
import type { ReleaseState } from './release-state.ts';
import { ReleaseStore } from './release-store.ts';

const HOSTS = ['a1 a', 'b1 b', 'a2 a', 'b2 b'];
/** More lives than any release has commits. */
const MAX_LIVES = 100;

/** A commit in which a release, or a call, gets on. */
function isProgress(changes: readonly StateChange[]): boolean {
  return changes.some(({ key }) => /^(?:release-state|call-result|call-end)\//.test(key));
}

const never = (): Death => ({ isOnDisk: true, isNow: () => false });
/** After each commit that gets on. */
const afterEach = (): Death => ({ isOnDisk: true, isNow: isProgress });
/** Before the second one: what the first has set off has happened on hosts, and nobody wrote it down. */
const beforeNext = (): Death => {
  let before = 0;
  return {
    isOnDisk: false,
    isNow: (changes) => isProgress(changes) && (before += 1) > 1,
  };
};

interface Run {
  readonly bench: ReleaseBench;
  readonly state: ReleaseState;
  readonly lives: number;
}

/** A release, led to its end through as many lives of the control side as that takes. */
async function runThrough(
  t: ExecutionContext,
  { manner, death }: { readonly manner: Manner; readonly death: () => Death },
): Promise<Run> {
  const bench = await ReleaseBench.open(t, HOSTS);
  for (const host of bench.hosts) host.manner = manner;
  for (let lives = 1; lives <= MAX_LIVES; lives += 1) {
    const rows = await bench.rows();
    const mortal = new MortalStore(rows, death());
    using stack = new DisposableStack();
    const watching = stack.adopt(new AbortController(), (abort) => abort.abort());
    const over = ended(rows, watching.signal);
    const living = bench.live(mortal);
    if (lives === 1) void begin(living);
    const state = await Promise.race([over, mortal.died]);
    watching.abort();
    if (state === undefined) await rows.close();
    else await (await living)[Symbol.asyncDispose]();
    if (state !== undefined) return { bench, state, lives };
  }
  throw new Error('it never ends');
}

/** Should it be killed meanwhile, the release is there or not, and nobody hears of it. */
async function begin(living: Promise<Life>): Promise<void> {
  const life = await living;
  await publish(life, 'web', '2');
  await start(life, { pause: 'none' });
}

/** Where the release stands, once it has ended. */
async function ended(rows: StateStore, signal: AbortSignal): Promise<ReleaseState | undefined> {
  const commits = rows.watch(keysWith('release-state/'), { signal });
  const releases = await ReleaseStore.open(rows);
  const [known] = await releases.list({ limit: 1 });
  const kept = known === undefined ? undefined : await releases.state(known.id);
  if (kept !== undefined && isEnded(kept.state)) return kept.state;
  for await (const { changes } of commits) {
    const id = changes[0]?.key.slice('release-state/'.length) ?? '';
    const { state } = await releases.state(id);
    if (isEnded(state)) return state;
  }
  return undefined;
}

/** What is the same in every run. Which hosts are in the first batch is not: that is a matter of their peer ids. */
function comparable({ bench, state }: Run): object {
  const stages = Object.values(state.hosts).map(({ stage }) => stage);
  const { phase, rolledBackFor } = state;
  return {
    phase,
    rolledBackFor,
    current: bench.hosts.map(({ current }) => current),
    switched: stages.filter((stage) => stage === 'switched').length,
    restored: stages.filter((stage) => stage === 'restored').length,
    touched: stages.length,
  };
}

const manners: Readonly<Record<string, Manner>> = {
  'all goes well': () => 'ok',
  'no host runs it': ({ command, args }) =>
    command === 'package.switch' && args[1] === '2' ? 'failed' : 'ok',
};

for (const [name, manner] of Object.entries(manners)) {
  for (const [when, death] of Object.entries({
    'after each': afterEach,
    'before each': beforeNext,
  })) {
    test(`a supernode that is killed ${when} commit of a release repeats nothing, skips nothing: ${name}`, async (t) => {
      const expected = await runThrough(t, { manner, death: never });
      const run = await runThrough(t, { manner, death });
      t.is(expected.lives, 1);
      t.true(run.lives > 10, `${run.lives} lives`);
      t.deepEqual(comparable(run), comparable(expected));
      for (const { done } of run.bench.hosts) t.is(new Set(done).size, done.length, done.join());
      t.log(`${run.lives} lives`);
    });
  }
}

/** Rows whose disk fails at every second commit of a release: now it is there, and now it is not. */
class FailingStore extends MortalStore {
  failures = 0;
  #commits = 0;

  override async commit(
    changes: readonly StateChange[],
    options: { readonly expect?: readonly Expectation[] } = {},
  ): Promise<number> {
    const isState = changes.some(({ key }) => key.startsWith('release-state/'));
    if (!isState || (this.#commits += 1) % 2 === 1) return super.commit(changes, options);
    this.failures += 1;
    if (this.failures % 2 === 1) await super.commit(changes, options);
    throw new CodedError('ERR_STORE_IO', 'the disk of a test');
  }
}

test('a release gets on when its disk fails, whether what was to be written is there or not', async (t) => {
  const bench = await ReleaseBench.open(t, HOSTS);
  const rows = new FailingStore(await bench.rows(), never());
  await using life = await bench.live(rows);
  await publish(life, 'web', '2');
  const id = await start(life, { pause: 'none' });
  let waited = 0;
  const state = await reached(life, id, (now) => {
    const failed = bench.errors.filter((error) => error === 'a release does not get on').length;
    if (failed > waited) bench.clock.advance(1_000);
    waited = failed;
    return isEnded(now);
  });
  t.is(state.phase, 'done');
  t.true(rows.failures >= 3, `${rows.failures} failures`);
  for (const { done } of bench.hosts) {
    t.deepEqual(done, ['package.install 2', 'package.switch 2']);
  }
});
