import type { Worker } from 'node:worker_threads';
import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const never = new AbortController().signal;

/** The threads that are started from now on, until it is disposed. */
function watchThreads(): { readonly started: Worker[] } & Disposable {
  const started: Worker[] = [];
  const add = (worker: Worker): void => void started.push(worker);
  process.on('worker', add);
  return { started, [Symbol.dispose]: () => void process.off('worker', add) };
}

/** A host of one worker, and that worker's thread. */
async function hostWithThread(
  swarm: TestSwarm,
  name: string,
): Promise<{ host: Engine; thread: Worker | undefined }> {
  using threads = watchThreads();
  const host = await swarm.host(name);
  return { host, thread: threads.started[0] };
}

test.serial(
  'a host whose worker ended goes on, and serves what it keeps on the same port',
  async (t) => {
    await using swarm = await TestSwarm.start();
    const content = { seed: 41, length: 8 * MIB };
    swarm.origin.set('/f', { content, bytesPerSecond: 4 * MIB });
    const url = swarm.origin.url('/f');
    const { host, thread } = await hostWithThread(swarm, 'host');
    const port = host.pool.linkPort;
    let received = 0;
    const download = swarm.download(
      host,
      { url, timeoutMs: 60_000 },
      { onEvent: (event) => event.type === 'progress' && (received = event.received) },
    );
    await until(() => received > 0);
    await thread?.terminate();
    t.deepEqual(host.pool.workers, { alive: 0, total: 1 });
    const done = doneOf(await download);
    t.is(
      await host.pool.digest(done.path ?? '', 'sha256', { signal: never }),
      await contentDigest(content),
    );
    t.deepEqual(host.pool.workers, { alive: 1, total: 1 });
    t.is(host.pool.linkPort, port);
    t.false(done.explain?.sources.some(({ wrongPieces }) => wrongPieces > 0));

    // The seed gives no bytes any more: whoever comes now takes them from the host, over its new worker.
    const other = await swarm.host('other');
    const second = doneOf(await swarm.download(other, { url, timeoutMs: 60_000 }));
    t.true(second.fromPeers > 0, JSON.stringify(second));
  },
);

test.serial('a download straight from the origin survives the end of its worker', async (t) => {
  await using swarm = await TestSwarm.start();
  const content = { seed: 42, length: 8 * MIB };
  swarm.origin.set('/f', { content, bytesPerSecond: 4 * MIB });
  const { host, thread } = await hostWithThread(swarm, 'host');
  let received = 0;
  const download = swarm.download(
    host,
    { url: swarm.origin.url('/f'), pattern: 'source', timeoutMs: 60_000 },
    { onEvent: (event) => event.type === 'progress' && (received = event.received) },
  );
  await until(() => received > 0);
  await thread?.terminate();
  const done = doneOf(await download);
  const { signal } = new AbortController();
  t.is(await host.pool.digest(done.path ?? '', 'sha256', { signal }), await contentDigest(content));
});
