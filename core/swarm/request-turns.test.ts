import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import type { Priority } from '../base/priority.ts';
import { RateLimiter } from '../net/pacing.ts';
import { RequestTurns } from './request-turns.ts';

interface Made {
  readonly flow: string;
  readonly slot: Disposable;
}

/** Requests of a host, and the order in which they may be made. */
function begin(
  rate = 0,
  bytes = 100,
): {
  clock: ManualClock;
  limiter: RateLimiter;
  made: Made[];
  yielded: string[];
  ask: (priority: Priority, flow: string, signal?: AbortSignal) => Promise<void>;
  end: (flow: string) => Promise<void>;
  turns: RequestTurns;
} {
  const clock = new ManualClock();
  const limiter = new RateLimiter(rate, clock);
  const turns = new RequestTurns(clock, limiter);
  const made: Made[] = [];
  const yielded: string[] = [];
  return {
    clock,
    limiter,
    made,
    yielded,
    turns,
    ask: async (priority, flow, signal = new AbortController().signal) => {
      const account = { priority, flow };
      const onYield = (): void => void yielded.push(flow);
      const slot = await turns.take({ bytes, account, signal, onYield });
      made.push({ flow, slot });
    },
    end: async (flow) => {
      const at = made.findIndex((one) => one.flow === flow);
      for (const { slot } of made.splice(at, 1)) slot[Symbol.dispose]();
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
    },
  };
}

test('RequestTurns lets equals and near classes make as many requests as they like', async (t) => {
  const { ask, turns, yielded } = begin();
  for (const priority of ['interactive', 'normal'] as const) {
    for (let count = 0; count < 20; count += 1) await ask(priority, `${priority} ${count}`);
  }
  t.is(turns.running, 40);
  t.deepEqual(yielded, []);
});

test('RequestTurns: while a release runs, warm-ups have one request under way, each task in its turn', async (t) => {
  const { ask, end, made, turns, yielded, clock } = begin();
  for (let task = 0; task < 8; task += 1) await ask('warm-up', `warm ${task}`);
  await ask('release', 'release 1');
  t.deepEqual(yielded, [], 'one request may wait for something else');
  await ask('release', 'release 2');
  t.is(yielded.length, 8, 'they are taken back where nothing has come');
  for (let task = 0; task < 8; task += 1) await end(`warm ${task}`);
  const waiting: Promise<void>[] = [];
  for (let task = 0; task < 8; task += 1) {
    for (let count = 0; count < 3; count += 1) waiting.push(ask('warm-up', `warm ${task}`));
  }
  await Promise.resolve();
  const order: string[] = [];
  const under = (): string[] => made.map(({ flow }) => flow).filter((flow) => /warm/.test(flow));
  for (let round = 0; round < 16; round += 1) {
    t.is(under().length, 1);
    const [flow = ''] = under();
    order.push(flow);
    await end(flow);
  }
  t.is(new Set(order.slice(0, 8)).size, 8, order.join());
  t.is(new Set(order.slice(8)).size, 8, order.join());
  await end('release 1');
  t.is(under().length, 8, 'nothing is held back any more');
  t.is(turns.running, 9);
  await ask('release', 'release 3');
  t.is(yielded.length, 8, 'not again so soon');
  clock.advance(2_000);
  await end('release 3');
  await ask('release', 'release 4');
  t.is(yielded.length, 16);
  await Promise.all(waiting);
});

test('RequestTurns: who gives up leaves no turn behind', async (t) => {
  const { ask, end, made, turns } = begin();
  for (const flow of ['1', '2']) await ask('release', flow);
  await ask('warm-up', 'running');
  const gone = new AbortController();
  const waiting = ask('warm-up', 'gone', gone.signal);
  const next = ask('warm-up', 'next');
  gone.abort(new Error('enough'));
  await t.throwsAsync(waiting, { message: 'enough' });
  await end('running');
  await next;
  t.deepEqual(
    made.map(({ flow }) => flow),
    ['1', '2', 'next'],
  );
  // At the very moment of its turn.
  const late = new AbortController();
  const both = ask('warm-up', 'late', late.signal);
  made.at(-1)?.slot[Symbol.dispose]();
  late.abort(new Error('too late'));
  await both.catch(() => undefined);
  t.true(turns.running <= 3);
});

const KIB = 1_024;

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

/** Makes so many requests of a flow and lets them come as far as they may; what may not waits. */
async function askMany(
  ask: (priority: Priority, flow: string) => Promise<void>,
  requests: { readonly flow: string; readonly count: number; readonly priority?: Priority },
): Promise<void> {
  const { flow, count, priority = 'normal' } = requests;
  for (let at = 0; at < count; at += 1) void ask(priority, flow);
  await settle();
}

test('RequestTurns under a limit: half a second of it is asked for ahead, however low it is two pieces', async (t) => {
  const fast = begin(10_000_000, 256 * KIB);
  await askMany(fast.ask, { flow: 'a', count: 64 });
  t.is(fast.turns.running, 20);
  await fast.end('a');
  t.is(fast.turns.running, 20);
  const slow = begin(100_000, 16 * 1_024 * KIB);
  await askMany(slow.ask, { flow: 'a', count: 64 });
  t.is(slow.turns.running, 2);
});

test('RequestTurns under a limit: each task has something under way, and each its part of what is asked', async (t) => {
  const { ask, end, made, turns } = begin(1_000_000, 256 * KIB);
  await askMany(ask, { flow: 'first', count: 64 });
  t.is(turns.running, 2);
  for (const flow of ['second', 'third']) await askMany(ask, { flow, count: 64 });
  t.deepEqual(
    made.map(({ flow }) => flow),
    ['first', 'first', 'second', 'third'],
  );
  const ended: string[] = [];
  for (let round = 0; round < 30; round += 1) {
    const flow = made[0]?.flow ?? '';
    ended.push(flow);
    await end(flow);
  }
  for (const flow of ['first', 'second', 'third']) {
    const count = ended.filter((one) => one === flow).length;
    t.true(Math.abs(count - 10) <= 2, `${flow}: ${count}`);
  }
});

test("RequestTurns under a limit: what one task asked for ahead is no other task's place", async (t) => {
  const { ask, turns, made } = begin(100_000, 256 * KIB);
  await askMany(ask, { flow: 'first', count: 8 });
  for (let task = 1; task < 20; task += 1) await askMany(ask, { flow: `${task}`, count: 8 });
  t.is(new Set(made.map(({ flow }) => flow)).size, 16, '4 MiB');
  t.is(turns.running, 17);
});

test('RequestTurns under a limit: what matters more finds room at once, and what matters less none', async (t) => {
  const { ask, made, turns } = begin(100_000, 16 * 1_024 * KIB);
  await askMany(ask, { flow: 'warm', count: 8, priority: 'warm-up' });
  t.is(turns.running, 2);
  await askMany(ask, { flow: 'release', count: 8, priority: 'release' });
  t.is(made.filter(({ flow }) => flow === 'release').length, 2);
  await askMany(ask, { flow: 'other', count: 8 });
  t.is(turns.running, 4);
});

test('RequestTurns: a limit that is raised, or that slow parents do not reach, lets more ask by and by', async (t) => {
  const { ask, clock, limiter, turns } = begin(100_000, 256 * KIB);
  limiter.reserve(1_000_000);
  await askMany(ask, { flow: 'a', count: 64 });
  t.is(turns.running, 0, 'what is owed comes first');
  clock.advance(9_600);
  await settle();
  t.is(turns.running, 2);
  clock.advance(400);
  await settle();
  t.is(turns.running, 2);
  clock.advance(700);
  await settle();
  t.true(turns.running > 4 && turns.running <= 9, `${turns.running}`);
  limiter.setRate(0);
  clock.advance(100);
  await settle();
  t.is(turns.running, 64);
});

test('RequestTurns takes back what is asked for beyond a limit that is lowered, but one of each task', async (t) => {
  const { ask, limiter, yielded, turns } = begin();
  for (let count = 0; count < 10; count += 1) await ask('normal', 'a task');
  await ask('normal', 'another');
  limiter.setRate(1_000);
  t.is(yielded.length, 5, 'five come in half a second');
  yielded.length = 0;
  limiter.setRate(2_000);
  t.deepEqual(yielded, [], 'it is raised');
  limiter.setRate(1);
  t.is(yielded.length, 8, 'two are asked for however low it is');
  t.false(yielded.includes('another'));
  t.is(turns.running, 11, 'they end when they are taken back');
});
