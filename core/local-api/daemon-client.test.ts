import test from 'ava';
import type { DownloadEvent } from '../swarm/download-events.ts';
import { DaemonClient } from './daemon-client.ts';
import { LocalApi, TASK, doneEvent, freshSocketPath, inlineDone } from './local-api.contract.ts';
import type { Script } from './local-api.contract.ts';

const request = { url: 'http://o/f', headers: { A: 'é' }, range: { start: 0, end: 10 } };
const signal = new AbortController().signal;

async function eventsOf(script: Script): Promise<DownloadEvent[]> {
  await using api = await LocalApi.open(script);
  const client = new DaemonClient(api.socketPath);
  const events = await Array.fromAsync(client.download(request, { signal }));
  return events;
}

test('DaemonClient.download() sends the request and gives the events as they come', async (t) => {
  const started: DownloadEvent = { type: 'started', task: TASK, url: 'http://o/f' };
  await using api = await LocalApi.open((_, { send }) => {
    send(started);
    send(inlineDone('x'.repeat(100_000)));
  });
  const client = new DaemonClient(api.socketPath);
  const events = await Array.fromAsync(client.download(request, { signal }));
  t.deepEqual(events, [started, inlineDone('x'.repeat(100_000))]);
  t.deepEqual(api.requests, [request]);
});

test('DaemonClient.download() asks before its first event is awaited', async (t) => {
  const { promise: asked, resolve } = Promise.withResolvers<void>();
  await using api = await LocalApi.open((_, { send }) => {
    resolve();
    send(doneEvent(1));
  });
  const events = new DaemonClient(api.socketPath).download(request, { signal });
  await asked;
  t.is((await Array.fromAsync(events)).length, 1);
});

test('DaemonClient.download() that nobody listens to fails for nobody', async (t) => {
  const events = new DaemonClient(freshSocketPath()).download(request, { signal });
  // An unhandled rejection would end the process by now.
  await new Promise((resolve) => setImmediate(resolve));
  await t.throwsAsync(Array.fromAsync(events), { code: 'ERR_DAEMON_UNAVAILABLE' });
});

test('DaemonClient.download() ends at done although the daemon keeps the connection', async (t) => {
  const events = await eventsOf(async (_, { send, closed }) => {
    send(doneEvent(1));
    await closed;
  });
  t.is(events.at(-1)?.type, 'done');
});

test('DaemonClient.download() throws what a refusal says', async (t) => {
  const refused = eventsOf((_, { response }) => {
    response.statusCode = 400;
    response.write(JSON.stringify({ error: { code: 'ERR_REQUEST', message: 'url: expected' } }));
  });
  await t.throwsAsync(refused, { code: 'ERR_REQUEST', message: 'url: expected' });
  const odd = eventsOf((_, { response }) => void (response.statusCode = 500));
  await t.throwsAsync(odd, { code: 'ERR_PROTOCOL' });
});

test('DaemonClient.download() tells "nobody there" from "went away"', async (t) => {
  const client = new DaemonClient(freshSocketPath());
  const nobody = Array.fromAsync(client.download(request, { signal }));
  const error = await t.throwsAsync(nobody, { code: 'ERR_DAEMON_UNAVAILABLE' });
  t.like(error, { detail: { reached: false } });
  const gone = eventsOf((_, { send, response }) => {
    send({ type: 'started', task: TASK, url: 'u' });
    response.socket?.destroy();
  });
  t.like(await t.throwsAsync(gone, { code: 'ERR_DAEMON_UNAVAILABLE' }), {
    detail: { reached: true },
  });
  const early = eventsOf((_, { send }) => send({ type: 'started', task: TASK, url: 'u' }));
  t.like(await t.throwsAsync(early, { code: 'ERR_DAEMON_UNAVAILABLE' }), {
    detail: { reached: true },
  });
});

test('DaemonClient.download() refuses lines that are no events', async (t) => {
  for (const line of ['{', '[]', '{"type":"done"}']) {
    const events = eventsOf((_, { response }) => void response.write(`${line}\n`));
    await t.throwsAsync(events, { code: 'ERR_PROTOCOL' }, line);
  }
});

test('DaemonClient.download() aborted ends with failed, and the daemon sees the connection close', async (t) => {
  const controller = new AbortController();
  let seenClosed: Promise<unknown> | undefined;
  await using api = await LocalApi.open(async (_, { send, closed }) => {
    seenClosed = closed;
    send({ type: 'started', task: TASK, url: 'u' });
    await closed;
  });
  const events: DownloadEvent[] = [];
  const client = new DaemonClient(api.socketPath);
  for await (const event of client.download(request, { signal: controller.signal })) {
    events.push(event);
    controller.abort();
  }
  t.like(events.at(-1), { type: 'failed', code: 'ERR_INTERRUPTED' });
  await seenClosed;
});

test('DaemonClient.content() streams the bytes of a finished task', async (t) => {
  await using api = await LocalApi.open(() => undefined);
  api.content = Buffer.alloc(3_000_000, 'c');
  const client = new DaemonClient(api.socketPath);
  const chunks = await Array.fromAsync(client.content({ task: TASK, version: '0f' }, { signal }));
  t.true(Buffer.concat(chunks).equals(api.content));
  t.deepEqual(api.contentCalls, [`/v1/tasks/${TASK}/content?version=0f`]);
});
