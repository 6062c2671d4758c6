import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { request } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { newApiApp, spareRequest } from '../../supernode/api/fastify-app.ts';
import { nobodyRevoked } from '../../test/support/revocations.ts';
import { OpsControl } from './index.ts';
import { addPackageRoutes } from './package-routes.ts';
import { operator } from './principal.ts';

const CONTENT = Buffer.alloc(200_000, 'content');
const DIGEST = `sha256:${createHash('sha256').update(CONTENT).digest('hex')}`;

interface Bench {
  readonly ops: OpsControl;
  /** Files in the folder of blobs, and of those that are coming. */
  readonly files: () => Promise<string[]>;
  /** What the server logged as its own failure. */
  readonly failures: readonly string[];
  /** Begins a request; `as`: who asks, or the operator. */
  readonly begin: (
    path: string,
    options: { method?: string; as?: string; headers?: Record<string, string | number> },
  ) => ClientRequest;
}

async function openBench(t: ExecutionContext): Promise<Bench> {
  const dataDir = await mkdtemp(join(tmpdir(), 'package-routes-'));
  const cell = HostKey.generate();
  const failures: string[] = [];
  const log: Log = { ...silentLog, error: (_facts, message) => void failures.push(message) };
  const ops = await OpsControl.open({
    dataDir,
    cell: cell.peerId,
    cellKey: async () => cell,
    revocations: nobodyRevoked,
    clock: new ManualClock(),
    random: new SeededRandom(1),
    log,
  });
  const app = newApiApp(log);
  addPackageRoutes(app, {
    parts: () => ops,
    callerOf: ({ headers: { authorization: name } }) =>
      name === undefined
        ? { principal: operator, source: 'test' }
        : { principal: { name, key: 'k' }, source: 'test' },
    spare: spareRequest,
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => {
    await app.close();
    await ops[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true, force: true });
  });
  const address = app.server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    ops,
    failures,
    files: async () => {
      const names = await readdir(join(dataDir, 'ops-blobs'), { recursive: true });
      return names.filter((name) => name !== 'coming' && name !== 'socket');
    },
    begin: (path, { method = 'PUT', as, headers = {} }) => {
      const authorization = as === undefined ? {} : { authorization: as };
      const all = { ...headers, ...authorization };
      return request({ host: '127.0.0.1', port, path, method, headers: all, agent: false });
    },
  };
}

async function answerTo(asked: ClientRequest): Promise<{ status: number; body: unknown }> {
  const [response]: IncomingMessage[] = await once(asked, 'response');
  return { status: response?.statusCode ?? 0, body: response && (await json(response)) };
}

test('PUT /api/v1/blobs takes a body of any type as it is, and the audit has a record of it', async (t) => {
  const { ops, begin, files } = await openBench(t);
  const headers = { 'content-type': 'application/json', 'content-length': CONTENT.length };
  const asked = begin(`/api/v1/blobs/${DIGEST}`, { headers });
  asked.end(CONTENT);
  t.like(await answerTo(asked), { status: 201, body: { digest: DIGEST, length: CONTENT.length } });
  t.deepEqual(await files(), [DIGEST.slice(7)]);
  const { records } = await ops.audit.list({ limit: 10 });
  t.like(records.at(-1), { kind: 'blob.put', decision: 'allowed', object: DIGEST });
});

test('PUT /api/v1/blobs reads nothing of who is denied', async (t) => {
  const { ops, begin, files } = await openBench(t);
  const headers = { 'content-length': CONTENT.length };
  const asked = begin(`/api/v1/blobs/${DIGEST}`, { headers, as: 'eve' });
  asked.flushHeaders();
  // The answer comes though the body never does.
  t.like(await answerTo(asked), { status: 403, body: { error: { code: 'ERR_DENIED' } } });
  asked.destroy();
  t.deepEqual(await files(), []);
  const { records } = await ops.audit.list({ limit: 10 });
  t.like(records.at(-1), { kind: 'blob.put', decision: 'denied', principal: 'eve' });
});

test('PUT /api/v1/blobs wants to know the length beforehand', async (t) => {
  const { begin } = await openBench(t);
  const asked = begin(`/api/v1/blobs/${DIGEST}`, { headers: { 'transfer-encoding': 'chunked' } });
  asked.end(CONTENT);
  const { status, body } = await answerTo(asked);
  t.is(status, 400);
  t.like(body, { error: { code: 'ERR_REQUEST', detail: { path: 'content-length' } } });
});

test('an upload that breaks off leaves nothing, and is no failure of the server', async (t) => {
  const { begin, files, failures } = await openBench(t);
  const headers = { 'content-length': CONTENT.length };
  const asked = begin(`/api/v1/blobs/${DIGEST}`, { headers });
  asked.on('error', () => undefined);
  asked.write(CONTENT.subarray(0, 1_000));
  let coming: string[] = [];
  const look = async (): Promise<void> => {
    coming = await files();
  };
  await look();
  while (coming.length === 0) await look();
  asked.destroy();
  while (coming.length > 0) await look();
  const again = begin(`/api/v1/blobs/${DIGEST}`, { headers });
  again.end(CONTENT);
  t.is((await answerTo(again)).status, 201);
  t.deepEqual(failures, []);
});

test('packages are published of what was uploaded, and listed', async (t) => {
  const { begin } = await openBench(t);
  const ask = async (path: string, method: string, sent?: object): Promise<unknown> => {
    const headers = { 'content-type': 'application/json' };
    const asked = begin(path, { method, ...(sent === undefined ? {} : { headers }) });
    asked.end(sent === undefined ? '' : JSON.stringify(sent));
    return (await answerTo(asked)).body;
  };
  const web = { name: 'web', version: '1.0', digest: DIGEST, length: CONTENT.length };
  t.like(await ask('/api/v1/packages', 'POST', web), { error: { code: 'ERR_NOT_FOUND' } });
  const put = begin(`/api/v1/blobs/${DIGEST}`, { headers: { 'content-length': CONTENT.length } });
  put.end(CONTENT);
  t.is((await answerTo(put)).status, 201);
  t.like(await ask('/api/v1/packages', 'POST', web), { ...web, publishedBy: 'operator' });
  t.like(await ask('/api/v1/packages', 'POST', { ...web, length: 1 }), {
    error: { code: 'ERR_REQUEST' },
  });
  for (const path of ['/api/v1/packages', '/api/v1/packages/web']) {
    t.like(await ask(path, 'GET'), { items: [web] });
  }
  t.deepEqual(await ask('/api/v1/packages/other', 'GET'), { items: [] });
});
