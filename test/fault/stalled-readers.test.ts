import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { createConnection } from 'node:net';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import test from 'ava';
import type { ClusterHost } from '../../bench/cluster/cluster-host.ts';
import { eventually } from '../../bench/cluster/eventually.ts';
import { askJson } from '../../bench/cluster/local-api.ts';
import { contentDigest } from '../../bench/origin/content.ts';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import { processMemory } from '../../bench/measure/process-usage.ts';
import { fileDigest, withCluster } from '../support/with-cluster.ts';

const MIB = 1024 * 1024;
const big = { seed: 76, length: 48 * MIB } as const;
/** The largest that comes inside the reply, and so inside the last event. */
const inline = { seed: 77, length: 128 * 1024 } as const;
/** Far above what the daemon needs, far below what it would hold if it read ahead for everybody. */
const MOST_RSS = 400 * MIB;
const CONTENT_READERS = 40;
const EVENT_READERS = 60;
/** Requests of one reader of events, who sends them all at once; together their answers would be 600 MiB. */
const PIPELINED = 60;

/** Begins to take stored content and does not read on. */
async function stalledContent(host: ClusterHost, task: string): Promise<IncomingMessage> {
  const path = `/v1/tasks/${task}/content`;
  const request = httpRequest({ socketPath: host.socket, path, agent: false }).end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return response.pause();
}

async function digestOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of bytes) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}

/** Asks for many downloads on one connection, and reads no answer. */
async function stalledEvents(host: ClusterHost, url: string): Promise<Socket> {
  const socket = createConnection(host.socket).pause();
  await once(socket, 'connect');
  const body = JSON.stringify({ url });
  const head = `POST /v1/downloads HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  socket.write(`${head}${body}`.repeat(PIPELINED));
  return socket;
}

async function doneDownloads(host: ClusterHost): Promise<number> {
  const status = await askJson({ socketPath: host.socket }, '/v1/status');
  return (status as { downloads: { done: number } }).downloads.done;
}

async function peakRss(host: ClusterHost): Promise<number> {
  return (await processMemory(host.daemon.pid))?.peakRss ?? Infinity;
}

test.serial(
  'readers of content who stop reading cost dfdaemon no memory, hold nobody up, and get the rest when they read on',
  async (t) => {
    const other = { seed: 78, length: 20 * MIB };
    await using origin = await startOrigin({
      routes: { '/big': { content: big }, '/other': { content: other } },
    });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const { done } = await host.dfget(origin.url('/big'));
      const task = done?.task ?? '';
      const readers = await Promise.all(
        Array.from({ length: CONTENT_READERS }, async () => stalledContent(host, task)),
      );
      for (const [path, content] of [
        ['/other', other],
        ['/big', big],
      ] as const) {
        const { exitCode, stderr } = await host.dfget(origin.url(path));
        t.is(exitCode, 0, stderr);
        t.is(await fileDigest(host.output), await contentDigest(content));
      }
      const rss = await peakRss(host);
      t.log(`${Math.round(rss / MIB)} MiB at most, with ${CONTENT_READERS} readers`);
      t.true(rss < MOST_RSS);
      await t.throwsAsync(host.forget(task), { code: 'ERR_REQUEST' }, 'it is in use');

      const [first, second, ...rest] = readers;
      const expected = await contentDigest(big);
      for (const reader of [first, second]) {
        if (reader !== undefined) t.is(await digestOf(reader), expected);
      }
      for (const reader of rest) reader.destroy();
      await eventually('nobody using it', async () =>
        host.forget(task).then(
          () => true,
          () => undefined,
        ),
      );
    });
  },
);

test.serial(
  'readers of events who stop reading cost dfdaemon little, hold nobody up, and do not keep it from stopping',
  async (t) => {
    await using origin = await startOrigin({
      routes: { '/inline': { content: inline }, '/big': { content: big } },
    });
    await withCluster(t, { hosts: 1 }, async (cluster) => {
      const host = cluster.host(1);
      const url = origin.url('/inline');
      const sockets = await Promise.all(
        Array.from({ length: EVENT_READERS }, async () => stalledEvents(host, url)),
      );
      await eventually(
        'a download for each',
        async () => ((await doneDownloads(host)) >= EVENT_READERS ? true : undefined),
        { withinMs: 120_000 },
      );
      const { exitCode, stderr } = await host.dfget(origin.url('/big'));
      t.is(exitCode, 0, stderr);
      t.is(await fileDigest(host.output), await contentDigest(big));
      const rss = await peakRss(host);
      t.log(
        `${Math.round(rss / MIB)} MiB at most, ${EVENT_READERS} times ${PIPELINED} unread downloads`,
      );
      t.true(rss < MOST_RSS, `${rss / MIB} MiB`);

      // One who reads on gets what he asked for first; the rest was refused, as it came too early.
      const [socket] = sockets;
      if (socket === undefined) return t.fail();
      const statuses: string[] = [];
      let done = 0;
      for await (const line of createInterface({ input: socket })) {
        if (line.startsWith('{"type":"done"')) done += 1;
        statuses.push(...[...line.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status = '']) => status));
        if (statuses.length === PIPELINED) break;
      }
      t.is(done, 1);
      t.deepEqual([statuses[0], ...new Set(statuses.slice(1))], ['200', '400']);

      await host.daemon.kill('SIGTERM');
      t.regex(await readFile(host.daemon.logFile, 'utf8'), /"msg":"dfdaemon stopped"/);
    });
  },
);
