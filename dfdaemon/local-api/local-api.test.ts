import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createConnection } from 'node:net';
import test from 'ava';
import { CodedError } from '../../core/base/error.ts';
import type { DownloadEvent } from '../../core/swarm/download-events.ts';
import {
  TASK,
  VERSION,
  ask,
  askDownload,
  doneEvent,
  MemoryHost,
  openApi,
  progressEvent,
  send,
  storedVersion,
  warmDownload,
} from './memory-host.contract.ts';

const started: DownloadEvent = { type: 'started', task: TASK, url: 'http://o/' };
const download = { method: 'POST', path: '/v1/downloads', body: '{"url":"http://o/"}' };

interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string; readonly detail?: object };
}

function errorOf(answer: { readonly text: string }): ErrorBody['error'] {
  return (JSON.parse(answer.text) as ErrorBody).error;
}

test('POST /v1/downloads sends each event as a line, at once', async (t) => {
  const next = Promise.withResolvers<void>();
  const host = new MemoryHost(async function* () {
    yield started;
    await next.promise;
    yield doneEvent();
  });
  await using api = await openApi(host);
  const { response } = await send(api.path, download);
  t.is(response.statusCode, 200);
  t.is(response.headers['content-type'], 'application/x-ndjson');
  const chunks = response[Symbol.asyncIterator]();
  const first = await chunks.next();
  t.deepEqual(JSON.parse(String(first.value)), started);
  t.is(host.slots.active, 1);
  next.resolve();
  const last = await chunks.next();
  t.deepEqual(JSON.parse(String(last.value)), doneEvent());
  t.true((await chunks.next()).done);
});

test('POST /v1/downloads hands over the whole request, and nothing that was not asked', async (t) => {
  const seen: unknown[] = [];
  const host = new MemoryHost((request) => {
    seen.push(request);
    return warmDownload(request);
  });
  await using api = await openApi(host);
  const full = {
    url: 'http://o/x?a=1',
    headers: { Authorization: 'Basic eA==', 'X-A': '' },
    tag: 't',
    application: 'a',
    filteredQueryParams: ['sig'],
    digest: `sha256:${'0'.repeat(64)}`,
    range: { start: 0, end: 10 },
    backToSource: false,
    pattern: 'source',
    limitRate: 0,
    priority: 'release',
    timeoutMs: 1000,
    explain: true,
  };
  await askDownload(api.path, full);
  await askDownload(api.path, { url: 'http://o/' });
  t.deepEqual(seen, [full, { url: 'http://o/' }]);
});

test('POST /v1/downloads refuses a bad body with 400 and the name of the field', async (t) => {
  const host = new MemoryHost(warmDownload);
  await using api = await openApi(host);
  const cases: [unknown, string][] = [
    [{}, '/url'],
    [[], '/'],
    [null, '/'],
    [{ url: 1 }, '/url'],
    [{ url: '' }, '/url'],
    [{ url: 'x'.repeat(9000) }, '/url'],
    [{ url: 'http://o/', uri: 1 }, '/uri'],
    [{ url: 'http://o/', digest: 'sha256:00' }, '/digest'],
    [{ url: 'http://o/', range: { start: 5, end: 5 } }, '/range/end'],
    [{ url: 'http://o/', range: { start: -1 } }, '/range/start'],
    [{ url: 'http://o/', range: { start: 0, stop: 1 } }, '/range/stop'],
    [{ url: 'http://o/', timeoutMs: 0 }, '/timeoutMs'],
    [{ url: 'http://o/', timeoutMs: 2 ** 31 }, '/timeoutMs'],
    [{ url: 'http://o/', limitRate: -1 }, '/limitRate'],
    [{ url: 'http://o/', priority: 'urgent' }, '/priority'],
    [{ url: 'http://o/', backToSource: 'no' }, '/backToSource'],
    [{ url: 'http://o/', pattern: 'cdn' }, '/pattern'],
    [{ url: 'http://o/', headers: { A: 1 } }, '/headers/A'],
    [{ url: 'http://o/', headers: { A: 'x\r\nHost: evil' } }, '/headers/A'],
    [{ url: 'http://o/', headers: { 'A:': 'x' } }, '/headers'],
    [{ url: 'http://o/', headers: { '': 'x' } }, '/headers'],
    [{ url: 'http://o/', filteredQueryParams: 'a' }, '/filteredQueryParams'],
  ];
  for (const [body, path] of cases) {
    const answer = await ask(api.path, { ...download, body: JSON.stringify(body) });
    const error = errorOf(answer);
    t.is(answer.status, 400, answer.text);
    t.is(error.code, 'ERR_REQUEST');
    t.deepEqual(error.detail, { path }, JSON.stringify(body));
    t.true(error.message.startsWith(path));
  }
  t.is(host.slots.active, 0);
});

test('what never reaches a route is answered with an error object too', async (t) => {
  await using api = await openApi(new MemoryHost(warmDownload));
  const cases: [Parameters<typeof ask>[1], number, string][] = [
    [{ ...download, body: '{"url":' }, 400, 'ERR_REQUEST'],
    [{ ...download, body: '' }, 400, 'ERR_REQUEST'],
    [{ ...download, headers: { 'content-type': 'text/html' } }, 415, 'ERR_REQUEST'],
    [{ path: '/v1/downloads' }, 404, 'ERR_NOT_FOUND'],
    [{ path: '/v2?secret=1' }, 404, 'ERR_NOT_FOUND'],
    [{ path: '/%zz' }, 400, 'ERR_REQUEST'],
    [{ path: '/healthz', headers: { 'x-long': 'y'.repeat(20_000) } }, 431, 'ERR_REQUEST'],
  ];
  for (const [request, status, code] of cases) {
    const answer = await ask(api.path, request);
    t.is(answer.status, status, answer.text);
    t.is(errorOf(answer).code, code);
    t.false(answer.text.includes('secret'));
  }
  const socket = createConnection(api.path);
  socket.end('NOT HTTP\r\n\r\n');
  const text = (await socket.setEncoding('utf8').toArray()).join('');
  t.regex(text, /^HTTP\/1.1 400 Bad Request\r\n.*"ERR_REQUEST"/s);
  const long = createConnection(api.path);
  const fields = 'host: x\r\ncontent-type: application/json\r\ncontent-length: 1048577\r\n';
  long.write(`POST /v1/downloads HTTP/1.1\r\n${fields}\r\n`);
  const [refusal] = (await once(long, 'data')) as [Buffer];
  t.regex(String(refusal), /^HTTP\/1.1 413 .*"ERR_REQUEST"/s);
  long.destroy();
});

test('a download that fails before its first event is the HTTP status of its code', async (t) => {
  const refused = new CodedError('ERR_ORIGIN_REFUSED', 'http://o/ answered 404', {
    detail: { status: 404 },
  });
  const host = new MemoryHost(async function* () {
    yield { type: 'failed', ...refused.toObject() };
  });
  await using api = await openApi(host);
  const answer = await ask(api.path, download);
  t.is(answer.status, refused.facts.http);
  t.deepEqual(JSON.parse(answer.text), { error: refused.toObject() });
  t.is(host.slots.active, 0);
});

test('a download that fails later ends with its failed event; one that breaks its promise too', async (t) => {
  const failed: DownloadEvent = {
    type: 'failed',
    ...new CodedError('ERR_TIMEOUT', 'too slow').toObject(),
  };
  const good = new MemoryHost(async function* () {
    yield started;
    yield failed;
  });
  await using one = await openApi(good);
  t.deepEqual(await askDownload(one.path, { url: 'http://o/' }), [started, failed]);
  const bad = new MemoryHost(async function* () {
    yield started;
    throw new Error('boom');
  });
  await using other = await openApi(bad);
  const events = await askDownload(other.path, { url: 'http://o/' });
  t.like(events.at(-1), { type: 'failed', code: 'ERR_INTERNAL' });
  const silent = new MemoryHost(async function* () {
    // A downloader that says nothing at all.
  });
  await using third = await openApi(silent);
  t.is((await ask(third.path, download)).status, 500);
});

test('closing the connection aborts that download and gives its slot back', async (t) => {
  const aborted = Promise.withResolvers<unknown>();
  const left = Promise.withResolvers<void>();
  const host = new MemoryHost(async function* (_request, { signal }) {
    try {
      yield started;
      await once(signal, 'abort');
      aborted.resolve(signal.reason);
    } finally {
      left.resolve();
    }
  });
  await using api = await openApi(host);
  const { request, response } = await send(api.path, download);
  await once(response, 'data');
  request.destroy();
  const reason = await aborted.promise;
  t.true(reason instanceof CodedError && reason.code === 'ERR_INTERRUPTED');
  await left.promise;
  await api[Symbol.asyncDispose]();
  t.is(host.slots.active, 0);
});

test('one download more than may be is answered with 503, and taken later', async (t) => {
  const next = Promise.withResolvers<void>();
  const host = new MemoryHost(
    async function* (request) {
      yield started;
      await next.promise;
      yield* warmDownload(request);
    },
    { max: 1 },
  );
  await using api = await openApi(host);
  const { response } = await send(api.path, download);
  const answer = await ask(api.path, download);
  t.is(answer.status, 503);
  t.is(answer.headers['retry-after'], '1');
  t.is(errorOf(answer).code, 'ERR_BUSY');
  next.resolve();
  await response.resume().toArray();
  t.is((await ask(api.path, download)).status, 200);
});

test('a thousand downloads at a time are all served', async (t) => {
  const all = Promise.withResolvers<void>();
  const host = new MemoryHost(async function* (request) {
    yield { type: 'started', task: TASK, url: request.url };
    if (host.slots.active === 1000) all.resolve();
    await all.promise;
    yield progressEvent(1);
    yield doneEvent();
  });
  await using api = await openApi(host);
  const answers = await Promise.all(
    Array.from({ length: 1000 }, async (_, index) =>
      askDownload(api.path, { url: `http://o/${index}` }),
    ),
  );
  t.true(answers.every((events) => events.at(-1)?.type === 'done'));
  t.deepEqual(answers[999]?.[0], { type: 'started', task: TASK, url: 'http://o/999' });
});

test('GET /v1/tasks/:task/content streams the bytes with their length; HEAD gives the length alone', async (t) => {
  const bytes = Buffer.from('0123456789');
  const host = new MemoryHost(warmDownload);
  host.stored.push(storedVersion(bytes), storedVersion(bytes, { version: '1'.repeat(16) }));
  await using api = await openApi(host);
  const path = `/v1/tasks/${TASK}/content`;
  for (const query of [`?version=${VERSION}`, '']) {
    const got = await ask(api.path, { path: path + query });
    t.is(got.status, 200);
    t.is(got.text, String(bytes));
    t.is(got.headers['content-length'], '10');
    t.is(got.headers['x-odonata-version'], query === '' ? '1'.repeat(16) : VERSION);
  }
  const head = await ask(api.path, { method: 'HEAD', path });
  t.is(head.status, 200);
  t.is(head.headers['content-length'], '10');
  t.is(head.text, '');
});

test('GET /v1/tasks/:task/content refuses what is not complete here, and what is no task', async (t) => {
  const host = new MemoryHost(warmDownload);
  host.stored.push(storedVersion(Buffer.from('half'), { isComplete: false }));
  await using api = await openApi(host);
  const cases: [string, number][] = [
    [`/v1/tasks/${TASK}/content`, 404],
    [`/v1/tasks/${'b'.repeat(64)}/content`, 404],
    [`/v1/tasks/${TASK}/content?version=${'2'.repeat(16)}`, 404],
    [`/v1/tasks/${TASK}/content?version=x`, 400],
    [`/v1/tasks/${TASK}/content?versoin=${VERSION}`, 400],
    ['/v1/tasks/../content', 400],
    ['/v1/tasks/xyz', 400],
  ];
  for (const [path, status] of cases) {
    const answer = await ask(api.path, { path });
    t.is(answer.status, status, path);
    t.truthy(errorOf(answer).code);
  }
});

test('content is not read ahead of a reader that stops, and is let go when he leaves', async (t) => {
  const chunk = Buffer.alloc(64 * 1024);
  const host = new MemoryHost(warmDownload);
  let produced = 0;
  const left = Promise.withResolvers<void>();
  host.stored.push({
    ...storedVersion(chunk, { length: 1024 * chunk.length }),
    bytes: async function* () {
      try {
        for (; produced < 1024; produced += 1) yield chunk;
      } finally {
        left.resolve();
      }
    },
  });
  await using api = await openApi(host);
  const { request, response } = await send(api.path, { path: `/v1/tasks/${TASK}/content` });
  await once(response, 'readable');
  // The reader takes nothing; whatever the buffers on the way hold has been produced once this answer is here.
  for (let turn = 0; turn < 20; turn += 1) await ask(api.path, { path: '/healthz' });
  t.true(produced < 64, `${produced} chunks of 64 KiB were made for a reader of none`);
  request.destroy();
  await left.promise;
});

test('GET /v1/tasks lists the last used first, as many as asked for', async (t) => {
  const host = new MemoryHost(warmDownload);
  for (let index = 0; index < 5; index += 1) {
    const task = String(index).repeat(64);
    host.stored.push(storedVersion(Buffer.from('x'), { task, accessedMs: index }));
  }
  await using api = await openApi(host);
  const { text } = await ask(api.path, { path: '/v1/tasks?limit=2' });
  const { tasks, total } = JSON.parse(text) as { tasks: { task: string }[]; total: number };
  t.is(total, 5);
  t.deepEqual(
    tasks.map(({ task }) => task[0]),
    ['4', '3'],
  );
  t.is((await ask(api.path, { path: '/v1/tasks?limit=0' })).status, 400);
  const one = await ask(api.path, { path: `/v1/tasks/${'3'.repeat(64)}` });
  t.like(JSON.parse(one.text), { task: '3'.repeat(64), versions: [{ version: VERSION }] });
});

test('DELETE /v1/tasks/:task removes all versions or the named one, and none when one is in use', async (t) => {
  const host = new MemoryHost(warmDownload);
  const other = '1'.repeat(16);
  const bytes = Buffer.from('x');
  host.stored.push(storedVersion(bytes), storedVersion(bytes, { version: other, isInUse: true }));
  await using api = await openApi(host);
  const path = `/v1/tasks/${TASK}`;
  const busy = await ask(api.path, { method: 'DELETE', path });
  t.is(busy.status, 409);
  t.is(errorOf(busy).code, 'ERR_TASK_IN_USE');
  t.is(host.stored.length, 2);
  const removed = await ask(api.path, { method: 'DELETE', path: `${path}?version=${VERSION}` });
  t.deepEqual(JSON.parse(removed.text), { task: TASK, removed: [VERSION] });
  t.deepEqual(
    host.stored.map(({ version }) => version),
    [other],
  );
  const gone = await ask(api.path, { method: 'DELETE', path: `/v1/tasks/${'b'.repeat(64)}` });
  t.is(gone.status, 404);
});

test('GET /healthz is 200 while it serves, degraded without its supernode, and 503 once it stops', async (t) => {
  const host = new MemoryHost(warmDownload);
  await using api = await openApi(host);
  t.like(JSON.parse((await ask(api.path, { path: '/healthz' })).text), { status: 'ok' });
  host.supernode = { state: 'disconnected', code: 'ERR_TOKEN', reason: 'the token has expired' };
  const degraded = await ask(api.path, { path: '/healthz' });
  t.is(degraded.status, 200);
  t.like(JSON.parse(degraded.text), { status: 'degraded', supernode: { code: 'ERR_TOKEN' } });
  host.workers = { alive: 0, total: 1 };
  const down = await ask(api.path, { path: '/healthz' });
  t.is(down.status, 503);
  t.like(JSON.parse(down.text), { status: 'down', workers: { alive: 0 } });
  t.like(JSON.parse((await ask(api.path, { path: '/v1/status' })).text), { peer: 'peer' });
  t.is((await ask(api.path, { path: '/metrics' })).text, 'x 1\n');
  const { SystemClock } = await import('../../core/base/clock.ts');
  await host.slots.drain({ clock: new SystemClock(), graceMs: 1, abortMs: 1 });
  t.is((await ask(api.path, { path: '/healthz' })).status, 503);
  const late = await ask(api.path, download);
  t.is(late.status, 503);
});

test('LocalApi closes its connections and removes its socket, once', async (t) => {
  const api = await openApi(new MemoryHost(warmDownload));
  t.is(statSync(api.path).mode & 0o777, 0o600);
  const idle = createConnection(api.path);
  await once(idle, 'connect');
  const closed = once(idle, 'close');
  await api[Symbol.asyncDispose]();
  await closed;
  t.throws(() => statSync(api.path));
  await api[Symbol.asyncDispose]();
});

test('PUT /v1/limits changes what it names and nothing else, and answers what is in force', async (t) => {
  const host = new MemoryHost(warmDownload);
  await using api = await openApi(host);
  const put = async (body: object): ReturnType<typeof ask> =>
    ask(api.path, { method: 'PUT', path: '/v1/limits', body: JSON.stringify(body) });
  await put({ download: 100, tasks: [{ task: TASK, bytesPerSecond: 7 }] });
  const answer = await put({ origin: 0, upload: 5 });
  t.is(answer.status, 200);
  const own = { download: 100, upload: 5, origin: 0 };
  t.deepEqual(JSON.parse(answer.text), {
    own,
    cell: {},
    inForce: own,
    adaptive: { isOn: false, blind: [] },
    tasks: [],
  });
  const shown = await ask(api.path, { method: 'GET', path: '/v1/limits' });
  t.is(shown.text, answer.text);
});

for (const [field, body] of [
  ['/download', { download: -1 }],
  ['/upload', { upload: '5' }],
  ['/total', { total: 1 }],
  ['/tasks/0/task', { tasks: [{ task: 'x', bytesPerSecond: 1 }] }],
] as const) {
  test(`PUT /v1/limits refuses ${JSON.stringify(body)}, naming ${field}`, async (t) => {
    await using api = await openApi(new MemoryHost(warmDownload));
    const call = { method: 'PUT', path: '/v1/limits', body: JSON.stringify(body) };
    const answer = await ask(api.path, call);
    t.is(answer.status, 400);
    t.like(errorOf(answer), { code: 'ERR_REQUEST', detail: { path: field } });
  });
}
