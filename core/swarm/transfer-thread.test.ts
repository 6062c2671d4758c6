import type { Worker } from 'node:worker_threads';
import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { silentLog } from '../base/log.ts';
import { SeededRandom } from '../base/random.ts';
import { TransferThread } from './transfer-thread.ts';
import type { TransferCaller } from './transfer-thread.ts';

interface Watched {
  readonly clock: ManualClock;
  readonly deaths: CodedError[];
  /** What was logged as an error. */
  readonly errors: string[];
  readonly parts: Parameters<typeof TransferThread.start>[0];
}

/** Real threads, on time that the test lets pass; `prepare` is what a new worker has to go through. */
function watch(prepare: (worker: TransferCaller) => Promise<void>): Watched {
  const clock = new ManualClock();
  const deaths: CodedError[] = [];
  const errors: string[] = [];
  return {
    clock,
    deaths,
    errors,
    parts: {
      clock,
      random: new SeededRandom(1),
      log: { ...silentLog, error: (_facts, message) => void errors.push(message) },
      prepare,
      onEvent: () => undefined,
      onDeath: (_worker, error) => void deaths.push(error),
    },
  };
}

const origin = { allow: [], connectionsPerHost: 1 };

async function init(worker: TransferCaller): Promise<void> {
  await worker.call('init', { origin });
}

/** The next worker thread of this process. */
async function nextThread(): Promise<Worker> {
  return new Promise((resolve) => void process.once('worker', resolve));
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

test.serial(
  'TransferThread replaces a worker that ends, and fails what was asked of it',
  async (t) => {
    const watched = watch(init);
    const { clock, deaths, parts } = watched;
    const first = nextThread();
    await using thread = await TransferThread.start(parts);
    const { worker } = thread;
    const asked = worker?.call('digest', { path: '/dev/zero', algorithm: 'sha256' });
    await (await first).terminate();
    await t.throwsAsync(asked ?? Promise.resolve(), { code: 'ERR_WORKER' });
    t.is(thread.worker, undefined);
    t.is(deaths.length, 1);
    clock.advance(100);
    await until(() => thread.worker !== undefined);
    t.not(thread.worker, worker);
    t.like(await thread.worker?.call('stats', undefined), { links: 0 });
  },
);

test.serial(
  'TransferThread waits longer each time, and gives up when that does not help',
  async (t) => {
    let prepared = 0;
    const { clock, errors, parts } = watch(async (worker) => {
      prepared += 1;
      if (prepared > 1) throw new CodedError('ERR_ADDRESS_IN_USE', 'somebody took the port');
      await init(worker);
    });
    const first = nextThread();
    await using thread = await TransferThread.start(parts);
    await (await first).terminate();
    for (let restart = 0; restart < 10; restart += 1) {
      t.is(errors.length, restart + 1, 'the wait has begun');
      clock.advance(Math.min(30_000, 100 * 2 ** restart) / 2 - 1);
      t.is(prepared, restart + 1, 'not yet');
      clock.advance(30_000);
      await until(() => errors.length > restart + 1);
      t.is(prepared, restart + 2);
    }
    clock.advance(3_600_000);
    t.is(prepared, 11);
    t.is(thread.worker, undefined);
  },
);

test.serial('TransferThread.start() ends what it began when that cannot be prepared', async (t) => {
  const { deaths, parts } = watch(async () => {
    throw new CodedError('ERR_ADDRESS_IN_USE', 'taken');
  });
  await t.throwsAsync(TransferThread.start(parts), { code: 'ERR_ADDRESS_IN_USE' });
  t.is(deaths.length, 1, 'the thread ended');
});

test.serial('TransferThread replaces nothing once it is closed', async (t) => {
  const { clock, parts } = watch(init);
  const first = nextThread();
  const thread = await TransferThread.start(parts);
  await (await first).terminate();
  await thread[Symbol.asyncDispose]();
  clock.advance(60_000);
  t.is(thread.worker, undefined);
});
