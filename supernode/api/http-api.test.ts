import { createServer } from 'node:net';
import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { TASK, metrics, openBench } from '../../test/support/http-api-bench.ts';
import { ApiKeys } from './api-keys.ts';
import { HttpApi } from './http-api.ts';
import { TableView } from './table-view.ts';

test('GET /healthz says what is not ready: starting, a problem, stopping', async (t) => {
  const bench = await openBench(t, { isServing: false, keys: new ApiKeys(['k']) });
  const health = async () => bench.call('GET', '/healthz');
  t.like(await health(), { status: 503, json: { status: 'not ready', problems: ['starting'] } });
  t.like(await bench.call('GET', '/metrics'), { status: 503 });
  const view = new TableView({
    table: bench.table,
    clock: new ManualClock(),
    status: () => bench.status,
    seed: () => undefined,
  });
  const { warmUps, limits, ops } = bench;
  bench.api.serve({ view, actions: bench.authority, warmUps, limits, ops, metrics });
  t.like(await health(), { status: 200, json: { status: 'ok', problems: [] } });
  bench.status = { isReady: false, problems: ['the disk is full'] };
  t.like(await health(), { status: 503, json: { problems: ['the disk is full'] } });
  bench.api.retire();
  t.like(await health(), { status: 503, json: { problems: ['stopping'] } });
});

test('HttpApi answers what is not there with ERR_NOT_FOUND', async (t) => {
  const { call } = await openBench(t);
  const { peerId } = HostKey.generate();
  for (const path of ['/', '/api/v1/nothing', `/api/v1/tasks/${TASK}`, `/api/v1/hosts/${peerId}`]) {
    const { status, json } = await call('GET', path);
    t.is(status, 404, path);
    t.is(json.error.code, 'ERR_NOT_FOUND');
  }
  t.is((await call('GET', '/api/v1/tasks/xyz')).status, 400);
  t.is((await call('PUT', '/api/v1/tasks')).status, 404);
});

test('HttpApi tells nobody what went wrong inside', async (t) => {
  const lines: string[] = [];
  const log = { ...silentLog, error: (facts: object) => lines.push(JSON.stringify(facts)) };
  const { call, authority } = await openBench(t, { log: { ...log, child: () => silentLog } });
  await authority[Symbol.asyncDispose]();
  const { status, json } = await call('GET', '/api/v1/tokens');
  t.is(status, 500);
  t.is(json.error.code, 'ERR_STORE_IO');
  t.is(lines.length, 1);
});

test('HttpApi.open() names the flag when the port is taken', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  t.teardown(() => other.close());
  const address = other.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const options = { host: '127.0.0.1', port, isMetricsPublic: true, log: silentLog };
  await t.throwsAsync(HttpApi.open(options), {
    code: 'ERR_ADDRESS_IN_USE',
    message: `--http-port: 127.0.0.1:${port} is taken`,
  });
  await t.throwsAsync(HttpApi.open({ ...options, host: '192.0.2.1' }), { code: 'ERR_CONFIG' });
});
