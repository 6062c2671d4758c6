import test from 'ava';
import { EventQueue } from './event-queue.ts';
import { SimCard } from './sim-card.ts';

const BLOCK = 250;

function cards(queue: EventQueue, rates: readonly { up: number; down: number }[]): SimCard[] {
  const options = { blockBytes: BLOCK, maxActive: 2, delayMs: 3 };
  return rates.map((each) => new SimCard(queue, { ...options, rates: each }));
}

/** When pieces of 1000 bytes came, by number. */
class Log {
  readonly came: [piece: number, ms: number][] = [];
  readonly #queue: EventQueue;

  constructor(queue: EventQueue) {
    this.#queue = queue;
  }

  ask(from: SimCard | undefined, to: SimCard | undefined, piece: number): void {
    if (from === undefined || to === undefined) throw new TypeError('no such card');
    const arrived = (): void => void this.came.push([piece, this.#queue.nowMs]);
    from.send({ to, piece, bytes: 1000, arrived });
  }
}

test('a piece takes its bytes over the slower card, and the delay', (t) => {
  for (const [up, down] of [
    [10, 10],
    [10, 2],
    [2, 10],
  ] as const) {
    const queue = new EventQueue();
    const [from, to] = cards(queue, [
      { up, down: 1 },
      { up: 1, down },
    ]);
    const log = new Log(queue);
    log.ask(from, to, 0);
    while (queue.step());
    const slower = Math.min(up, down);
    // With the faster card first, its first block has to be there before the slower one begins to count.
    const ms = log.came[0]?.[1] ?? 0;
    t.true(Math.abs(ms - (1000 / slower + 3)) <= BLOCK / 2, `${up} ${down}: ${ms}`);
  }
});

test('two senders share the downlink, and one sender shares its uplink in turn', (t) => {
  const queue = new EventQueue();
  const rates = { up: 10, down: 10 };
  const [one, two, three] = cards(queue, [rates, rates, rates]);
  const log = new Log(queue);
  log.ask(one, three, 0);
  log.ask(two, three, 1);
  while (queue.step());
  t.deepEqual(
    log.came.map(([, ms]) => Math.round(ms)),
    [178, 203],
  );

  const other = new Log(queue);
  const startMs = queue.nowMs;
  other.ask(one, two, 0);
  other.ask(one, three, 1);
  while (queue.step());
  t.deepEqual(
    other.came.map(([, ms]) => Math.round(ms - startMs)),
    [178, 203],
  );
});

test('at most so many are sent to at a time; the others wait in line', (t) => {
  const queue = new EventQueue();
  const rates = { up: 10, down: 10 };
  const [from, ...others] = cards(queue, [rates, rates, rates, rates]);
  const log = new Log(queue);
  for (const [at, to] of others.entries()) log.ask(from, to, at);
  t.is(from?.waiting, 3);
  while (queue.step());
  t.deepEqual(
    log.came.map(([piece, ms]) => [piece, Math.round(ms)]),
    [
      [0, 178],
      [1, 203],
      [2, 303],
    ],
  );
  t.is(from?.waiting, 0);
});

test('what was not begun can be taken back, what was begun cannot', (t) => {
  const queue = new EventQueue();
  const rates = { up: 10, down: 10 };
  const [from, to] = cards(queue, [rates, rates]);
  const log = new Log(queue);
  log.ask(from, to, 0);
  log.ask(from, to, 1);
  if (from === undefined || to === undefined) throw new TypeError('no cards');
  t.false(from.cancel(to, 0));
  t.true(from.cancel(to, 1));
  t.false(from.cancel(to, 1));
  while (queue.step());
  t.deepEqual(
    log.came.map(([piece]) => piece),
    [0],
  );
});

test('a card that is cut sends and takes no more; dropping a host frees its turn', (t) => {
  const queue = new EventQueue();
  const rates = { up: 10, down: 10 };
  const [from, gone, to] = cards(queue, [rates, rates, rates]);
  const log = new Log(queue);
  if (from === undefined || gone === undefined || to === undefined) throw new TypeError('no cards');
  log.ask(from, gone, 0);
  log.ask(from, gone, 1);
  gone.cut();
  queue.call(1, () => from.drop(gone));
  queue.call(2, () => log.ask(from, to, 2));
  queue.call(500, () => {
    from.cut();
    log.ask(from, to, 3);
  });
  while (queue.step());
  t.deepEqual(
    log.came.map(([piece]) => piece),
    [2],
  );
  t.is(from.waiting, 0);
});
