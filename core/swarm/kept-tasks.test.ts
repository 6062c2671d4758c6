import { readFile, utimes, writeFile } from 'node:fs/promises';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock, SystemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { SystemRandom } from '../base/random.ts';
import { completeTask, openStore, specOf } from '../store/fixtures/content.ts';
import { removeFolder, temporaryFolder } from '../store/fixtures/content.ts';
import type { PieceStore, StoredTask } from '../store/piece-store.ts';
import type { TaskReport } from '../wire/messages.ts';
import { KeptTasks } from './kept-tasks.ts';
import { Reporter } from './reporter.ts';
import { keyOf } from './task-key.ts';
import { TransferPool } from './transfer-pool.ts';

interface Host {
  readonly kept: KeptTasks;
  readonly store: PieceStore;
  readonly clock: ManualClock;
  /** What the workers were told, in order. */
  readonly told: string[];
  readonly lost: number[];
  /** What was reported since the last time. */
  readonly reports: () => TaskReport[];
  /** Settles when the workers are told of pieces next. */
  readonly announced: () => Promise<void>;
}

/** Real workers, which are listened to. */
async function begin(t: ExecutionContext): Promise<Host> {
  const folder = await temporaryFolder();
  const clock = new ManualClock();
  const store = await openStore(folder, { clock });
  const pool = await TransferPool.start({
    workers: 1,
    origin: { allow: undefined, connectionsPerHost: 8 },
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLog,
    onAltered: () => undefined,
  });
  t.teardown(async () => {
    await pool[Symbol.asyncDispose]();
    await store.close();
    await removeFolder(folder);
  });
  const told: string[] = [];
  let announced = Promise.withResolvers<void>();
  const real = {
    putTask: pool.putTask.bind(pool),
    dropTask: pool.dropTask.bind(pool),
    keepManifest: pool.keepManifest.bind(pool),
    retract: pool.retract.bind(pool),
    announce: pool.announce.bind(pool),
  };
  pool.putTask = async (task, options) => {
    told.push(`put ${task.length ?? '?'}`);
    await real.putTask(task, options);
  };
  pool.dropTask = async (task) => {
    told.push('drop');
    await real.dropTask(task);
  };
  pool.keepManifest = (task, batches, replace) => {
    told.push(`manifest of ${batches.length}`);
    real.keepManifest(task, batches, replace);
  };
  pool.retract = (task, pieces) => {
    told.push(`retract ${pieces.join()}`);
    real.retract(task, pieces);
  };
  pool.announce = (task, pieces, to) => {
    told.push(`announce ${pieces.join()}`);
    real.announce(task, pieces, to);
    announced.resolve();
    announced = Promise.withResolvers<void>();
  };
  let sent: TaskReport[] = [];
  const reporter = new Reporter(clock, (tasks) => sent.push(...tasks));
  const lost: number[] = [];
  const kept = new KeptTasks({
    store,
    pool,
    reporter,
    clock,
    log: silentLog,
    onLost: (_task, pieces) => lost.push(...pieces),
  });
  const reports = (): TaskReport[] => {
    reporter.flush();
    const all = sent;
    sent = [];
    return all;
  };
  return { kept, store, clock, told, lost, reports, announced: () => announced.promise };
}

/** When files that `sealedTask` makes were written, in whole seconds: they can be given back. */
const SEALED_S = 1_700_000_000;

async function sealedTask(store: PieceStore, seed: string): Promise<StoredTask> {
  const task = await completeTask(store, seed, 3000);
  await utimes(task.path, SEALED_S, SEALED_S);
  await task.complete();
  return task;
}

/** Puts other bytes in the place of a piece. Hidden: the file's times are those of `sealedTask` again. */
async function alter(task: StoredTask, piece: number, { hide }: { hide: boolean }): Promise<void> {
  const content = await readFile(task.path);
  content.fill(7, piece * task.pieceLength, (piece + 1) * task.pieceLength);
  await writeFile(task.path, content);
  if (hide) await utimes(task.path, SEALED_S, SEALED_S);
}

function nameOf(task: StoredTask): { task: string; version: string } {
  return { task: task.taskId, version: task.version };
}

test('KeptTasks.serve() tells the workers what they do not know yet', async (t) => {
  const { kept, store, told } = await begin(t);
  const task = await store.create(specOf('served', undefined));
  using _use = task.acquire();
  await kept.serve(task);
  await kept.serve(task);
  t.deepEqual(told, ['put ?', 'manifest of 0']);
  await task.setLength(2000);
  await kept.serve(task);
  await kept.serve(task);
  t.deepEqual(told.slice(2), ['put 2000', 'manifest of 0']);
});

test('KeptTasks.serve() takes back the pieces of what was evicted and has begun anew', async (t) => {
  const { kept, store, told, reports } = await begin(t);
  const task = await completeTask(store, 'anew', 3000);
  await kept.serve(task);
  await store.remove(task);
  const again = await store.create(specOf('anew', 3000));
  await kept.serve(again);
  t.deepEqual(told, ['put 3000', 'manifest of 1', 'put 3000', 'manifest of 0']);
  t.deepEqual(reports(), [{ ...nameOf(task), lost: [0, 1, 2] }]);
});

test('KeptTasks.forgetEvicted() forgets what the store has no more, and nothing else', async (t) => {
  const { kept, store, told, reports } = await begin(t);
  const gone = await completeTask(store, 'gone', 1000);
  const stays = await completeTask(store, 'stays', 2000);
  await kept.serve(gone);
  await kept.serve(stays);
  told.length = 0;
  await store.remove(gone);
  await kept.forgetEvicted();
  await kept.forgetEvicted();
  t.deepEqual(told, ['drop']);
  t.deepEqual(reports(), [{ ...nameOf(gone), gone: true, active: false }]);
});

test('KeptTasks.remove() leaves what is in use, and discard() does not', async (t) => {
  const { kept, store, told, reports } = await begin(t);
  const task = await completeTask(store, 'used', 1000);
  await kept.serve(task);
  const use = task.acquire();
  await t.throwsAsync(kept.remove(task), { code: 'ERR_TASK_IN_USE' });
  t.is(store.find(task.taskId), task);
  t.deepEqual(reports(), []);
  await kept.discard(task);
  use[Symbol.dispose]();
  t.is(store.find(task.taskId), undefined);
  t.is(told.at(-1), 'drop');
  const other = await completeTask(store, 'unused', 1000);
  await kept.remove(other);
  t.deepEqual(store.tasks(), []);
  t.deepEqual(
    reports().map(({ task: id, gone }) => [id, gone]),
    [
      [task.taskId, true],
      [other.taskId, true],
    ],
  );
});

test('KeptTasks.isIntact() withdraws what somebody edited, everywhere', async (t) => {
  const { kept, store, told, lost, reports } = await begin(t);
  const task = await completeTask(store, 'edited', 3000);
  await kept.serve(task);
  t.true(await kept.isIntact(task));
  await alter(task, 1, { hide: false });
  told.length = 0;
  const [one, other] = await Promise.all([kept.isIntact(task), kept.isIntact(task)]);
  t.false(one);
  t.false(other);
  t.deepEqual([...task.pieces.indexes()], [0, 2]);
  t.deepEqual(told, ['retract 1', 'put 3000', 'announce 0,2'], 'once for both');
  t.deepEqual(lost, [1]);
  t.deepEqual(reports(), [{ ...nameOf(task), lost: [1] }]);
});

test('KeptTasks.isIntact() keeps what was only touched', async (t) => {
  const { kept, store, lost } = await begin(t);
  const task = await completeTask(store, 'touched', 3000);
  await utimes(task.path, 1, 1);
  t.is(task.checkUnchanged(), 'changed');
  t.true(await kept.isIntact(task));
  t.is(task.checkUnchanged(), 'same');
  t.deepEqual(lost, []);
});

test('KeptTasks.recheck() hashes what is doubted once a minute', async (t) => {
  const { kept, store, clock, told, lost, announced } = await begin(t);
  const task = await sealedTask(store, 'doubted');
  await kept.serve(task);
  const key = keyOf(task);
  kept.recheck('nothing/known');
  const first = announced();
  kept.recheck(key);
  await first;
  told.length = 0;
  await alter(task, 2, { hide: true });
  t.is(task.checkUnchanged(), 'same');
  kept.recheck(key);
  t.false(task.inUse, 'it is not hashed');
  clock.advance(60_000);
  const second = announced();
  kept.recheck(key);
  t.true(task.inUse);
  await second;
  t.deepEqual(told, ['retract 2', 'put 3000', 'announce 0,1']);
  t.deepEqual(lost, [2]);
});

test('KeptTasks.recheck() hashes at once what changed since', async (t) => {
  const { kept, store, lost, announced } = await begin(t);
  const task = await sealedTask(store, 'changed');
  const first = announced();
  kept.recheck(keyOf(task));
  await first;
  await alter(task, 0, { hide: false });
  const second = announced();
  kept.recheck(keyOf(task));
  t.true(task.inUse);
  await second;
  t.deepEqual(lost, [0]);
});

test('KeptTasks.recheck() does not take what was begun anew for what was proven before', async (t) => {
  const { kept, store, lost, announced } = await begin(t);
  const task = await sealedTask(store, 'anew');
  await kept.serve(task);
  const first = announced();
  kept.recheck(keyOf(task));
  await first;
  await kept.discard(task);
  const again = await sealedTask(store, 'anew');
  await kept.serve(again);
  await alter(again, 0, { hide: true });
  const second = announced();
  kept.recheck(keyOf(again));
  t.true(again.inUse);
  await second;
  t.deepEqual(lost, [0]);
});
