import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import test from 'ava';
import { startOrigin } from '../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../bench/origin/fault-origin.ts';
import { SystemClock } from '../core/base/clock.ts';
import { silentLog } from '../core/base/log.ts';
import type { DownloadEvent } from '../core/swarm/download-events.ts';
import { openEngine } from '../core/swarm/engine.ts';
import type { Engine } from '../core/swarm/engine.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { watchMachine } from './adaptive/adaptive-io.ts';
import { EngineHost } from './engine-host.ts';
import type { LocalApi } from './local-api/local-api.ts';
import { ask, askDownload, openApi, send } from './local-api/memory-host.contract.ts';

interface Daemon extends AsyncDisposable {
  readonly engine: Engine;
  readonly host: EngineHost;
  readonly api: LocalApi & { readonly path: string };
  readonly origin: FaultOrigin;
}

/** A daemon without supernode over a real origin. */
async function daemon(
  routes: Parameters<typeof startOrigin>[0],
  watch?: ReturnType<typeof watchMachine>,
): Promise<Daemon> {
  const stack = new AsyncDisposableStack();
  const clock = new SystemClock();
  const origin = stack.use(await startOrigin(routes));
  const engine = stack.use(
    await openEngine({
      dataDir: temporaryFolder('dfd'),
      supernodes: [],
      originAllow: ['127.0.0.0/8'],
      workers: 1,
      clock,
    }),
  );
  const host = stack.use(
    new EngineHost(engine, { clock, log: silentLog, quotaBytes: 2 ** 30, watch }),
  );
  const api = stack.use(await openApi(host));
  return { engine, host, api, origin, [Symbol.asyncDispose]: async () => stack.disposeAsync() };
}

function last(events: readonly DownloadEvent[]): Extract<DownloadEvent, { type: 'done' }> {
  const event = events.at(-1);
  if (event?.type !== 'done') throw new Error(`not done: ${JSON.stringify(event)}`);
  return event;
}

const MIB = 2 ** 20;

test('EngineHost downloads from the origin once, then serves from its store', async (t) => {
  await using it = await daemon({
    routes: { '/x': { content: { seed: 1, length: 3 * MIB + 1 } } },
  });
  const url = it.origin.url('/x');
  const first = await askDownload(it.api.path, { url });
  t.like(first[0], { type: 'started', length: 3 * MIB + 1 });
  const done = last(first);
  t.like(done, { length: 3 * MIB + 1, fromOrigin: 3 * MIB + 1, fromCache: 0, explain: undefined });
  t.like(last(await askDownload(it.api.path, { url })), { fromOrigin: 0, fromCache: 3 * MIB + 1 });

  const path = `/v1/tasks/${done.task}/content?version=${done.version}`;
  const { response } = await send(it.api.path, { path });
  t.is(response.headers['content-length'], String(3 * MIB + 1));
  const got = createHash('sha256');
  for await (const chunk of response) got.update(chunk as Buffer);
  const kept = await readFile(done.path ?? '');
  t.is(got.digest('hex'), createHash('sha256').update(kept).digest('hex'));
});

test('EngineHost tells what it did: status, metrics, tasks', async (t) => {
  await using it = await daemon({ routes: { '/x': { content: { seed: 2, length: 1 } } } });
  const url = it.origin.url('/x');
  await askDownload(it.api.path, { url: `${url}?sig=s3cret` });
  const missing = await ask(it.api.path, {
    method: 'POST',
    path: '/v1/downloads',
    body: JSON.stringify({ url: it.origin.url('/none') }),
  });
  t.like(JSON.parse(missing.text), {
    error: { code: 'ERR_ORIGIN_REFUSED', detail: { status: 404 } },
  });

  const status: unknown = JSON.parse((await ask(it.api.path, { path: '/v1/status' })).text);
  t.like(status, {
    status: 'ok',
    peer: it.engine.key.peerId,
    supernode: { state: 'none' },
    link: { isReady: false },
    downloads: { active: 0, done: 1, failed: 1 },
    storage: { bytes: 1, tasks: 1, quotaBytes: 2 ** 30 },
    traffic: { originReceivedBytes: 1 },
  });
  const { text } = await ask(it.api.path, { path: '/metrics' });
  t.regex(text, /^odonata_dfdaemon_downloads_total\{result="ERR_ORIGIN_REFUSED"\} 1$/m);
  t.regex(text, /^odonata_dfdaemon_download_bytes_total\{source="origin"\} 1$/m);
  t.regex(text, /^odonata_dfdaemon_store_bytes 1$/m);
  const tasks = (await ask(it.api.path, { path: '/v1/tasks' })).text;
  t.like(JSON.parse(tasks), { total: 1, tasks: [{ url, isComplete: true, isInUse: false }] });
  t.false(tasks.includes('s3cret'));
});

test('EngineHost says why it yields to other programs or does not, and that it is off where it is', async (t) => {
  const routes = { routes: { '/x': { content: { seed: 2, length: 1 } } } };
  await using off = await daemon(routes);
  t.deepEqual(off.host.limits().adaptive, { isOn: false, blind: [] });
  const silent = (await ask(off.api.path, { path: '/metrics' })).text;
  t.notRegex(silent, /^odonata_dfdaemon_adaptive/m);
  await using on = await daemon(routes, watchMachine(tmpdir()));
  const shown = JSON.parse((await ask(on.api.path, { path: '/v1/limits' })).text) as object;
  t.like(shown, { adaptive: { isOn: true, receive: { ceiling: 0, cause: 'starting' } } });
  const { text } = await ask(on.api.path, { path: '/metrics' });
  t.regex(text, /^odonata_dfdaemon_adaptive_ceiling_bytes_per_second\{direction="send"\} 0$/m);
  t.regex(
    text,
    /^odonata_dfdaemon_adaptive_decision_info\{direction="disk",cause="starting"\} 1$/m,
  );
});

test('EngineHost removes a task that nobody uses, and no other', async (t) => {
  await using it = await daemon({ routes: { '/x': { content: { seed: 3, length: 10 } } } });
  const { task, version } = last(await askDownload(it.api.path, { url: it.origin.url('/x') }));
  const path = `/v1/tasks/${task}`;
  const stored = it.engine.store.find(task, version);
  const use = stored?.acquire();
  t.is((await ask(it.api.path, { method: 'DELETE', path })).status, 409);
  await t.throwsAsync(it.host.remove({ task, version }), { code: 'ERR_TASK_IN_USE' });
  use?.[Symbol.dispose]();
  t.is((await ask(it.api.path, { method: 'DELETE', path })).status, 200);
  t.is((await ask(it.api.path, { path })).status, 404);
  await t.throwsAsync(it.host.remove({ task, version }), { code: 'ERR_NOT_FOUND' });
});

test('EngineHost lets one download go on for those who still want it', async (t) => {
  const route = { content: { seed: 4, length: 2 * MIB }, bytesPerSecond: 2 * MIB };
  await using it = await daemon({ routes: { '/x': route } });
  const url = it.origin.url('/x');
  const body = JSON.stringify({ url });
  const leaver = await send(it.api.path, { method: 'POST', path: '/v1/downloads', body });
  const stayer = askDownload(it.api.path, { url });
  await leaver.response[Symbol.asyncIterator]().next();
  leaver.request.destroy();
  t.is(last(await stayer).length, 2 * MIB);
  t.is(it.host.slots.active, 0);
});

test('EngineHost asks the origin once for all who ask at the same time', async (t) => {
  const route = { content: { seed: 5, length: 300_000 }, slowHeadMs: 50 };
  for (const ranges of [true, false]) {
    await using it = await daemon({ routes: { '/x': { ...route, ranges } } });
    const url = it.origin.url('/x');
    const all = await Promise.all(
      Array.from({ length: 300 }, async () => askDownload(it.api.path, { url })),
    );
    t.true(all.every((events) => last(events).length === 300_000));
    const { requests, bodyBytes } = it.origin.stats('/x');
    t.true(requests < 30, `${requests} requests for 300 downloads`);
    // Who asks while the first answer is being written down may get a body, which is closed unread.
    t.true(bodyBytes <= 10 * 300_000, `${bodyBytes} bytes for 300 downloads`);
  }
});
