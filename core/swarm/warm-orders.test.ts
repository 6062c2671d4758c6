import test from 'ava';
import { ManualClock, abortable } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import type { FromHost, WarmState } from '../wire/messages.ts';
import type { DownloadEvent, DownloadRequest } from './download-events.ts';
import { WarmOrders } from './warm-orders.ts';

const sources = { fromPeers: 3, fromSeed: 4, fromOrigin: 0, fromCache: 0 };
const done: DownloadEvent = {
  type: 'done',
  task: 'a'.repeat(64),
  version: 'b'.repeat(16),
  length: 7,
  seconds: 1,
  duplicate: 0,
  ...sources,
};

interface Bench {
  readonly clock: ManualClock;
  readonly orders: WarmOrders;
  readonly said: WarmState[];
  readonly asked: DownloadRequest[];
  /** Ends the download of a URL. */
  readonly end: (url: string, event: DownloadEvent) => void;
  readonly stopped: string[];
}

function begin(): Bench {
  const clock = new ManualClock();
  const said: WarmState[] = [];
  const asked: DownloadRequest[] = [];
  const stopped: string[] = [];
  const ends = new Map<string, (event: DownloadEvent) => void>();
  const download = async function* download(
    request: DownloadRequest,
    { signal }: { signal: AbortSignal },
  ): AsyncGenerator<DownloadEvent> {
    asked.push(request);
    const { url } = request;
    const { promise, resolve } = Promise.withResolvers<DownloadEvent>();
    ends.set(url, resolve);
    signal.addEventListener('abort', () => stopped.push(url));
    yield { type: 'progress', received: 2, length: 7, bytesPerSecond: 1, ...sources };
    yield await abortable(promise, signal);
  };
  const send = (message: FromHost): void => {
    if (message.type === 'warmed') said.push(...message.orders);
  };
  const orders = new WarmOrders({ downloader: { download }, send, clock, log: silentLog });
  const end: Bench['end'] = (url, event) => ends.get(url)?.(event);
  return { clock, orders, said, asked, end, stopped };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

function order(id: string): { type: 'warm'; id: string; spec: { url: string } } {
  return { type: 'warm', id, spec: { url: `http://origin.test/${id}` } };
}

test('WarmOrders fetches what is ordered, never from the origin, and tells how far it is and when it ended', async (t) => {
  const { clock, orders, said, asked, end } = begin();
  orders.take(order('1.0'));
  await settle();
  t.deepEqual(asked, [{ url: 'http://origin.test/1.0', priority: 'warm-up', backToSource: false }]);
  clock.advance(1_000);
  t.like(said, [{ id: '1.0', state: 'running', received: 2, length: 7, fromPeers: 3 }]);
  end('http://origin.test/1.0', done);
  await settle();
  clock.advance(100);
  t.like(said[1], { id: '1.0', state: 'done', received: 7, fromSeed: 4 });
  clock.advance(5_000);
  t.is(said.length, 2, 'nothing more is said of it');
  await orders[Symbol.asyncDispose]();
});

test('WarmOrders runs four at a time, holds 64, and has one only once', async (t) => {
  const { clock, orders, said, asked, end } = begin();
  for (let count = 0; count < 64; count += 1) orders.take(order(`1.${count}`));
  orders.take(order('1.0'));
  orders.take(order('2.0'));
  await settle();
  t.is(asked.length, 4);
  clock.advance(100);
  t.like(said, [{ id: '2.0', state: 'failed', error: { code: 'ERR_BUSY' } }]);
  end('http://origin.test/1.0', done);
  await settle();
  t.is(asked.length, 5);
  await orders[Symbol.asyncDispose]();
});

test('WarmOrders tells the code of a failure, and stops without a word what is taken back', async (t) => {
  const { clock, orders, said, end, stopped } = begin();
  orders.take(order('1.0'));
  orders.take(order('1.1'));
  await settle();
  const failure = { code: 'ERR_NO_SPACE', class: 'environment', message: 'full' } as const;
  end('http://origin.test/1.0', { type: 'failed', ...failure, retryable: true, next: '' });
  orders.take({ type: 'warm-stop', ids: ['1.1', '9.9'] });
  await settle();
  clock.advance(2_000);
  t.like(said, [{ id: '1.0', state: 'failed', error: { code: 'ERR_NO_SPACE' } }]);
  t.deepEqual(stopped, ['http://origin.test/1.1']);
  await orders[Symbol.asyncDispose]();
});

test('WarmOrders says nothing when the program stops: what ran is ordered again', async (t) => {
  const { clock, orders, said, stopped } = begin();
  orders.take(order('1.0'));
  await settle();
  await orders[Symbol.asyncDispose]();
  orders.take(order('1.1'));
  clock.advance(10_000);
  t.deepEqual([said, stopped], [[], ['http://origin.test/1.0']]);
});
