import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SeededRandom } from '../../core/base/random.ts';
import { MemoryWarmHost } from '../warm-up/memory-warm-host.ts';
import { WarmUps } from '../warm-up/warm-ups.ts';
import type { WarmUpsParts } from '../warm-up/warm-ups.ts';
import { ApiKeys } from './api-keys.ts';
import { HttpApi } from './http-api.ts';
import type { HttpApiOptions, ServedParts } from './http-api.ts';

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';
const digest = `sha256:${'c'.repeat(64)}`;

type Call = (
  method: string,
  path: string,
  options?: { readonly body?: unknown; readonly headers?: Record<string, string> },
  // oxlint-disable-next-line typescript/no-explicit-any
) => Promise<{ status: number; json: any }>;

interface Bench {
  readonly call: Call;
  readonly host: MemoryWarmHost;
  /** What the registry was asked for. */
  readonly wishes: Parameters<WarmUpsParts['resolveImage']>[0][];
}

async function openBench(t: ExecutionContext, options: Partial<HttpApiOptions>): Promise<Bench> {
  const directory = await mkdtemp(join(tmpdir(), 'warm-up-hooks-'));
  const wishes: Bench['wishes'] = [];
  const warmUps = await WarmUps.open({
    directory,
    clock: new SystemClock(),
    random: new SeededRandom(1),
    log: silentLog,
    resolveImage: async (wish) => {
      wishes.push(wish);
      const spec = { url: 'http://registry.test/v2/lab/app/blobs/x', digest };
      return { tasks: [{ spec, isAuthorized: true }], authorization: undefined, renew: never };
    },
  });
  const host = new MemoryWarmHost(warmUps.listener, { peer: 'a' });
  warmUps.listener.connected(host);
  const own = { host: '127.0.0.1', port: 0, isMetricsPublic: true, log: silentLog };
  const api = await HttpApi.open({ ...own, ...options });
  const view = { status: () => ({ isReady: true, problems: [] }) };
  api.serve({ view, warmUps } as unknown as ServedParts);
  t.teardown(async () => {
    await api[Symbol.asyncDispose]();
    await warmUps[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });
  const call: Call = async (method, path, { body, headers = {} } = {}) => {
    const text = body === undefined ? '' : JSON.stringify(body);
    const typed = body === undefined ? {} : { 'content-type': 'application/json' };
    const target = { host: '127.0.0.1', port: api.port, method, path, agent: false as const };
    const outgoing = request({ ...target, headers: { ...typed, ...headers } });
    const answered = once(outgoing, 'response');
    outgoing.end(text);
    const [response] = (await answered) as [IncomingMessage];
    let answer = '';
    for await (const chunk of response) answer += String(chunk);
    return { status: response.statusCode ?? 0, json: answer === '' ? {} : JSON.parse(answer) };
  };
  return { call, host, wishes };
}

async function never(): Promise<undefined> {
  return undefined;
}

/** A notification as docker-registry sends it. */
function notification(action: string, mediaType = MANIFEST): object {
  const url = `http://registry.test:5000/v2/lab/app/manifests/${digest}`;
  const target = { mediaType, size: 1, length: 1, digest, repository: 'lab/app', url, tag: 'v1' };
  const request_ = { id: 'r', addr: '10.0.0.9:1', host: 'registry.test:5000', method: 'PUT' };
  return {
    id: 'e',
    timestamp: '2026-01-01T00:00:00Z',
    action,
    target,
    request: request_,
    actor: {},
  };
}

test('POST /api/v1/hooks/registry warms up manifests that were pushed, once, and nothing else', async (t) => {
  const { call, host, wishes } = await openBench(t, { push: { to: 'all' } });
  const type = { 'content-type': 'application/vnd.docker.distribution.events.v1+json' };
  const others = [notification('pull'), notification('push', 'application/octet-stream')];
  const ignored = await call('POST', '/api/v1/hooks/registry', {
    body: { events: others },
    headers: type,
  });
  t.like(ignored, { status: 200, json: { warmUps: [] } });
  const body = { events: [...others, notification('push')] };
  const first = await call('POST', '/api/v1/hooks/registry', { body, headers: type });
  t.is(first.status, 200);
  const again = await call('POST', '/api/v1/hooks/registry', { body, headers: type });
  t.deepEqual(again.json, first.json, 'said again while it runs');
  const [id] = first.json.warmUps;
  const job = await call('GET', `/api/v1/warm-ups/${id}`);
  t.like(job.json, {
    source: 'push',
    image: `http://registry.test:5000/lab/app@${digest}`,
    to: 'all',
  });
  t.is(wishes.length, 1);
  while (host.orders.size === 0) await new Promise((resolve) => setImmediate(resolve));
  host.finishAll();
  const later = await call('POST', '/api/v1/hooks/registry', { body });
  t.notDeepEqual(later.json, first.json);
});

test('POST /registry/notifications takes what Harbor says as to kraken, from the registry that is configured', async (t) => {
  const push = { to: 'seeds', registry: 'https://inner.test:8443/' };
  const { call, wishes } = await openBench(t, { push });
  const Target = {
    MediaType: MANIFEST,
    Digest: digest,
    Repository: 'p/app',
    Url: 'http://x',
    Tag: 'v1',
  };
  const body = { Events: [{ Id: '1', Action: 'push', Target, Request: null, Actor: null }] };
  t.is((await call('POST', '/registry/notifications', { body })).status, 200);
  t.is(wishes[0]?.image, `https://inner.test:8443/p/app@${digest}`);
  t.is((await call('GET', '/health')).status, 200);
});

test('notifications are refused where nothing is to be done, where they are malformed, and without the key', async (t) => {
  const none = await openBench(t, {});
  const refused = await none.call('POST', '/api/v1/hooks/registry', { body: { events: [] } });
  t.like(refused, { status: 404, json: { error: { code: 'ERR_NOT_FOUND' } } });
  const pushKeys = new ApiKeys(['push-key']);
  const keys = new ApiKeys(['api-key']);
  const { call } = await openBench(t, { push: { to: 'all' }, keys, pushKeys });
  const body = { events: [] };
  const status = async (authorization: string | undefined, path = '/api/v1/hooks/registry') =>
    (
      await call('POST', path, {
        body,
        headers: authorization === undefined ? {} : { authorization },
      })
    ).status;
  const basic = `Basic ${Buffer.from('registry:push-key').toString('base64')}`;
  t.deepEqual(
    [await status(undefined), await status('Bearer no'), await status('Bearer push-key')],
    [401, 401, 200],
  );
  t.deepEqual([await status('Bearer api-key'), await status(basic)], [200, 200]);
  t.is(await status('Bearer push-key', '/api/v1/warm-ups'), 401, 'good for nothing else');
  t.is(await status('Bearer push-key', '/oapi/v1/jobs'), 401);
  const headers = { authorization: 'Bearer push-key' };
  const bad = await call('POST', '/api/v1/hooks/registry', { body: { events: [{}] }, headers });
  t.like(bad, { status: 400, json: { error: { code: 'ERR_REQUEST' } } });
  t.regex(bad.json.error.message, /events\/0\/action/);
});

test('/oapi/v1/jobs is what Harbor expects of dragonfly, /preheats of the dragonfly of before', async (t) => {
  const { call, host, wishes } = await openBench(t, { keys: new ApiKeys(['k']) });
  const headers = { authorization: `Basic ${Buffer.from('admin:k').toString('base64')}` };
  t.is((await call('GET', '/healthy')).status, 200);
  const url = 'https://harbor.test/v2/lab/app/manifests/v1';
  const args = {
    type: 'image',
    url,
    tag: '',
    filtered_query_params: '',
    headers: { Authorization: 'Bearer pull-token' },
    scope: 'all_peers',
    concurrent_count: 0,
    timeout: 0,
  };
  const body = { type: 'preheat', args, scheduler_cluster_ids: null };
  const begun = await call('POST', '/oapi/v1/jobs', { body, headers });
  t.like(begun, { status: 200, json: { state: 'PENDING' } });
  t.is(typeof begun.json.id, 'number');
  t.false(Number.isNaN(Date.parse(begun.json.created_at)));
  t.like(wishes[0], { image: url, to: 'all', credentials: { token: 'pull-token' } });
  while (host.orders.size === 0) await new Promise((resolve) => setImmediate(resolve));
  t.like(await call('GET', `/oapi/v1/jobs/${begun.json.id}`, { headers }), {
    json: { state: 'PENDING' },
  });
  host.finishAll();
  const look = async () => (await call('GET', `/oapi/v1/jobs/${begun.json.id}`, { headers })).json;
  let done = await look();
  while (done.state === 'PENDING') done = await look();
  t.is(done.state, 'SUCCESS');
  t.deepEqual(done.result.job_states[0].results[0].success_tasks, [
    { url, hostname: 'memory', ip: '' },
  ]);

  const old = { type: 'image', url, headers: {} };
  const made = await call('POST', '/preheats', { body: old, headers });
  t.is(made.status, 201);
  let shown = await call('GET', `/preheats/${made.json.ID}`, { headers });
  while (['WAITING', 'RUNNING'].includes(shown.json.status)) {
    shown = await call('GET', `/preheats/${made.json.ID}`, { headers });
  }
  t.is(shown.json.status, 'FAILED');
  t.regex(shown.json.errorMsg, /ERR_NOT_FOUND/, 'there is no seed among the hosts');
  const wrong = await call('POST', '/oapi/v1/jobs', {
    body: { type: 'preheat', args: { ...args, scope: 'some' } },
    headers,
  });
  t.is(wrong.status, 400);
});
