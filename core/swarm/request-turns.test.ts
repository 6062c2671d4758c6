import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import type { Priority } from '../base/priority.ts';
import { RequestTurns } from './request-turns.ts';

interface Made {
  readonly flow: string;
  readonly slot: Disposable;
}

/** Requests of a host, and the order in which they may be made. */
function begin(): {
  clock: ManualClock;
  made: Made[];
  yielded: string[];
  ask: (priority: Priority, flow: string, signal?: AbortSignal) => Promise<void>;
  end: (flow: string) => Promise<void>;
  turns: RequestTurns;
} {
  const clock = new ManualClock();
  const turns = new RequestTurns(clock);
  const made: Made[] = [];
  const yielded: string[] = [];
  return {
    clock,
    made,
    yielded,
    turns,
    ask: async (priority, flow, signal = new AbortController().signal) => {
      const account = { priority, flow };
      const onYield = (): void => void yielded.push(flow);
      const slot = await turns.take({ bytes: 100, account, signal, onYield });
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
