import { networkInterfaces } from 'node:os';
import test from 'ava';
import { HostKey } from '../../core/identity/host-key.ts';
import { TASK, openBench } from '../../test/support/http-api-bench.ts';
import { ApiKeys } from './api-keys.ts';

test('HttpApi requires a key for everything but health and public metrics', async (t) => {
  const keys = new ApiKeys(['first-key', 'second-key']);
  const { call } = await openBench(t, { keys });
  t.like(await call('GET', '/healthz'), { status: 200 });
  t.like(await call('GET', '/metrics'), { status: 200, text: 'up 1\n' });
  const attempts = [
    undefined,
    'Bearer wrong',
    'Bearer first-keyx',
    'Bearer ',
    'Basic first-key',
    'first-key',
  ];
  for (const authorization of attempts) {
    for (const [method, path] of [
      ['GET', '/api/v1/tasks'],
      ['GET', `/api/v1/tasks/${TASK}`],
      ['GET', '/api/v1/hosts'],
      ['DELETE', `/api/v1/hosts/${HostKey.generate().peerId}`],
      ['GET', '/api/v1/tokens'],
      ['POST', '/api/v1/tokens'],
    ] as const) {
      const headers = authorization === undefined ? {} : { authorization };
      const answer = await call(method, path, {
        headers,
        body: method === 'POST' ? {} : undefined,
      });
      t.is(answer.status, 401, `${method} ${path} ${authorization}`);
      t.like(answer.json, { error: { code: 'ERR_UNAUTHORIZED', class: 'user', retryable: false } });
      t.is(answer.headers['www-authenticate'], 'Bearer');
    }
  }
  for (const authorization of ['Bearer first-key', 'bearer second-key']) {
    t.is((await call('GET', '/api/v1/tasks', { headers: { authorization } })).status, 200);
  }
});

test('HttpApi guards metrics like the rest when they are not public', async (t) => {
  const { call } = await openBench(t, { keys: new ApiKeys(['k']), isMetricsPublic: false });
  t.is((await call('GET', '/metrics')).status, 401);
  const headers = { authorization: 'Bearer k' };
  t.like(await call('GET', '/metrics', { headers }), { status: 200, text: 'up 1\n' });
});

test('HttpApi without keys answers only this machine, and says why', async (t) => {
  const { call } = await openBench(t, { host: '0.0.0.0' });
  t.is((await call('GET', '/api/v1/tasks')).status, 200);
  t.is((await call('GET', '/api/v1/tasks', { headers: { host: 'localhost:8001' } })).status, 200);
  const rebound = await call('GET', '/api/v1/tasks', { headers: { host: 'evil.example:8001' } });
  t.like(rebound, { status: 403, json: { error: { code: 'ERR_FORBIDDEN' } } });
  const own = Object.values(networkInterfaces())
    .flat()
    .find((address) => address?.family === 'IPv4' && !address.internal)?.address;
  if (own === undefined) {
    t.log('no address but loopback: not tried from elsewhere');
    return;
  }
  const remote = await call('GET', '/api/v1/tasks', { host: own });
  t.is(remote.status, 403);
  t.regex(remote.json.error.message, /--api-key-file/);
  t.is((await call('GET', '/healthz', { host: own })).status, 200);
});

test('POST /api/v1/warm-ups orders no class that the API key may not order', async (t) => {
  const { call } = await openBench(t, { keys: new ApiKeys(['all', 'some priority=normal']) });
  const order = async (key: string, priority?: string): Promise<number> => {
    const body = { url: 'https://files.example/a', to: 'all', priority };
    const headers = { authorization: `Bearer ${key}` };
    return (await call('POST', '/api/v1/warm-ups', { headers, body })).status;
  };
  t.is(await order('all', 'release'), 201);
  t.is(await order('some', 'normal'), 201);
  t.is(await order('some', 'warm-up'), 201);
  t.is(await order('some'), 201);
  t.is(await order('some', 'interactive'), 403);
  t.is(await order('some', 'release'), 403);
  t.is(await order('all', 'urgent'), 400);
});

test('whoever has a key that no policy speaks of gets nothing, whatever he asks for', async (t) => {
  const { call, ops } = await openBench(t, { keys: new ApiKeys(['k']), isMetricsPublic: false });
  const effect = await ops.principals.create({ principal: 'eve' });
  await ops.audit.append(
    {
      kind: 'key.create',
      principal: 'root',
      source: '',
      decision: 'allowed',
      object: '',
      detail: {},
    },
    effect,
  );
  const headers = { authorization: `Bearer ${effect.answer().key}` };
  const { paths } = JSON.parse((await call('GET', '/api/v1/openapi.json')).text) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const open = new Set(['/healthz', '/healthy', '/health', '/_ping', '/api/v1/openapi.json']);
  // A list of what waits for him, which is nothing.
  const approvals = await call('GET', '/api/v1/approvals', { headers });
  t.deepEqual([approvals.status, approvals.text], [200, '{"items":[]}']);
  open.add('/api/v1/approvals');
  const quoting = { headers: { ...headers, 'odonata-approval': 'any' } };
  const odd = await call('GET', '/api/v1/approvals', quoting);
  t.deepEqual([odd.status, odd.json.error.code], [400, 'ERR_REQUEST']);
  const asked = Object.entries(paths).flatMap(([path, methods]) =>
    open.has(path) ? [] : Object.keys(methods).map((method) => ({ path, method })),
  );
  t.true(asked.length > 30, String(asked.length));
  for (const { path, method } of asked) {
    const filled = path.replaceAll(/\{\w+\}/g, 'abcdefgh');
    const { status } = await call(method.toUpperCase(), filled, { headers });
    t.true([400, 401, 403, 404, 415].includes(status), `${method} ${path}: ${status}`);
  }
  for (const path of [
    'calls',
    'keys',
    'policies',
    'audit',
    'audit/export',
    'packages',
    'ops/hosts',
  ]) {
    const { status, json } = await call('GET', `/api/v1/${path}`, { headers });
    t.deepEqual([status, json.error.code], [403, 'ERR_DENIED'], path);
  }
});
