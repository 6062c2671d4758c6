import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { CodedError } from './error.ts';
import { PortCaller, servePort } from './port-rpc.ts';
import type { PortHandlers } from './port-rpc.ts';

interface Ops {
  double: { args: number; result: number };
  wait: { args: undefined; result: void };
  odd: { args: unknown; result: unknown };
}

interface Events {
  tick: number;
}

const handlers: PortHandlers<Ops> = {
  double: (value) => value * 2,
  wait: async (_args, { signal }) => {
    const { promise, reject } = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => reject(signal.reason as Error));
    return promise;
  },
  odd: () => {
    throw new CodedError('ERR_BUSY', 'not now', { detail: { retryAfterMs: 7 } });
  },
};

function pair(
  t: ExecutionContext,
  onEvent: (name: string, value: number) => void = () => undefined,
): { caller: PortCaller<Ops, Events>; far: MessagePort } {
  const { port1, port2 } = new MessageChannel();
  servePort<Ops>(port2, handlers);
  const caller = new PortCaller<Ops, Events>(port1, onEvent);
  t.teardown(() => port1.close());
  return { caller, far: port2 };
}

test('PortCaller.call() answers with what the other side returned, each call its own', async (t) => {
  const { caller } = pair(t);
  t.deepEqual(
    await Promise.all([1, 2, 3].map(async (value) => caller.call('double', value))),
    [2, 4, 6],
  );
});

test('PortCaller.call() throws the error of the other side with code and detail', async (t) => {
  const { caller } = pair(t);
  const error = await t.throwsAsync(caller.call('odd', 1), { instanceOf: CodedError });
  t.is(error.code, 'ERR_BUSY');
  t.deepEqual(error.detail, { retryAfterMs: 7 });
});

test('PortCaller.call() throws the reason of its signal, not that the other side was cancelled', async (t) => {
  const { caller } = pair(t);
  const controller = new AbortController();
  const reason = new CodedError('ERR_ORIGIN_CHANGED', 'another version');
  const call = caller.call('wait', undefined, { signal: controller.signal });
  controller.abort(reason);
  t.is(await t.throwsAsync(call), reason);
});

test('PortCaller.call() with an aborted signal sends nothing', async (t) => {
  const { caller, far } = pair(t);
  const seen: unknown[] = [];
  far.on('message', (message) => seen.push(message));
  await t.throwsAsync(caller.call('double', 1, { signal: AbortSignal.abort() }));
  t.is(await caller.call('double', 2), 4);
  t.is(seen.length, 1);
});

test('PortCaller.call() refuses arguments that cannot be sent and goes on', async (t) => {
  const { caller } = pair(t);
  await t.throwsAsync(
    caller.call('odd', () => undefined),
    { name: 'DataCloneError' },
  );
  t.is(caller.pending, 0);
  t.is(await caller.call('double', 4), 8);
});

test('PortCaller.fail() rejects what waits and everything after', async (t) => {
  const { caller } = pair(t);
  const waiting = caller.call('wait', undefined);
  const gone = new CodedError('ERR_INTERNAL', 'the thread ended');
  caller.fail(gone);
  t.is(await t.throwsAsync(waiting), gone);
  t.is(await t.throwsAsync(caller.call('double', 1)), gone);
});

test('PortCaller passes events on by name', async (t) => {
  const events: [string, number][] = [];
  const { caller, far } = pair(t, (name, value) => events.push([name, value]));
  far.postMessage({ kind: 'event', name: 'tick', value: 1 });
  await caller.call('double', 1);
  t.deepEqual(events, [['tick', 1]]);
});
