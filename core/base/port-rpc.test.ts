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
): {
  caller: PortCaller<Ops, Events>;
  far: MessagePort;
  emit: (name: 'tick', value: number) => void;
  refused: CodedError[];
} {
  const { port1, port2 } = new MessageChannel();
  const emit = servePort<Ops, Events>(port2, handlers);
  const refused: CodedError[] = [];
  const caller = new PortCaller<Ops, Events>(port1, onEvent, (error) => refused.push(error));
  t.teardown(() => port1.close());
  return { caller, far: port2, emit, refused };
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

test('PortCaller passes events on by name, in order with the answers', async (t) => {
  const events: [string, number][] = [];
  const { caller, emit } = pair(t, (name, value) => events.push([name, value]));
  emit('tick', 1);
  emit('tick', 2);
  await caller.call('double', 1);
  t.deepEqual(events, [
    ['tick', 1],
    ['tick', 2],
  ]);
});

test('PortCaller.tell() runs before what is called later, is not answered, and says when it failed', async (t) => {
  const { caller, far, refused } = pair(t);
  const seen: unknown[] = [];
  far.on('message', (messages) => seen.push(messages));
  caller.tell('double', 1);
  caller.tell('odd', 2);
  caller.tell('odd', () => undefined);
  t.is(caller.pending, 0);
  t.is(await caller.call('double', 3), 6);
  t.deepEqual(
    refused.map(({ code }) => code),
    ['ERR_INTERNAL', 'ERR_BUSY'],
  );
  caller.fail(new CodedError('ERR_INTERNAL', 'the thread ended'));
  caller.tell('odd', 3);
  t.is(refused.length, 2);
});

test('what is said in one turn goes over the port at once, and one that cannot keeps none back', async (t) => {
  const { caller, far } = pair(t);
  const sizes: number[] = [];
  far.on('message', (messages: unknown[]) => sizes.push(messages.length));
  t.deepEqual(await Promise.all([caller.call('double', 1), caller.call('double', 2)]), [2, 4]);
  t.deepEqual(sizes, [2]);
  const [first, refused, last] = await Promise.allSettled([
    caller.call('double', 3),
    caller.call('odd', () => undefined),
    caller.call('double', 4),
  ]);
  t.like(first, { value: 6 });
  t.is(refused.status, 'rejected');
  t.like(last, { value: 8 });
});

test('a handler that looks at its signal late sees that it was cancelled before', async (t) => {
  const { port1, port2 } = new MessageChannel();
  t.teardown(() => port1.close());
  const { promise: looks, resolve: look } = Promise.withResolvers<void>();
  const reasons: unknown[] = [];
  servePort<{ late: Ops['wait']; sync: Ops['wait'] }>(port2, {
    late: async (_args, context) => {
      await looks;
      reasons.push(context.signal.aborted);
      context.signal.throwIfAborted();
    },
    sync: () => look(),
  });
  const caller = new PortCaller<{ late: Ops['wait']; sync: Ops['wait'] }, Events>(
    port1,
    () => undefined,
  );
  const controller = new AbortController();
  const late = caller.call('late', undefined, { signal: controller.signal });
  controller.abort(new Error('enough'));
  await caller.call('sync', undefined);
  await t.throwsAsync(late, { message: 'enough' });
  t.deepEqual(reasons, [true]);
});
