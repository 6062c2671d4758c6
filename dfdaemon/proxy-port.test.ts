import test from 'ava';
import { silentLog } from '../core/base/log.ts';
import { MemoryHost, warmDownload } from './local-api/memory-host.contract.ts';
import { openProxyPort } from './proxy-port.ts';

const host = '127.0.0.1';

test('openProxyPort() answers /healthz and /metrics, and nothing of the local API', async (t) => {
  const served = new MemoryHost(warmDownload);
  await using proxy = await openProxyPort({
    host: served,
    listen: { host, port: 0 },
    log: silentLog,
  });
  const base = `http://${host}:${proxy.port}`;
  const health = await fetch(`${base}/healthz`);
  t.is(health.status, 200);
  t.like(await health.json(), { status: 'ok' });
  t.is(await (await fetch(`${base}/metrics`)).text(), 'x 1\n');
  t.is((await fetch(`${base}/v1/tasks`)).status, 404);
  t.is((await fetch(`${base}/v1/downloads`, { method: 'POST', body: '{}' })).status, 404);
});

test('openProxyPort() names flag and address when it cannot listen', async (t) => {
  const served = new MemoryHost(warmDownload);
  await using proxy = await openProxyPort({
    host: served,
    listen: { host, port: 0 },
    log: silentLog,
  });
  const { port } = proxy;
  await t.throwsAsync(openProxyPort({ host: served, listen: { host, port }, log: silentLog }), {
    code: 'ERR_ADDRESS_IN_USE',
    message: `--proxy-port: 127.0.0.1:${port} is taken`,
  });
  const elsewhere = { host: '192.0.2.1', port: 0 };
  await t.throwsAsync(openProxyPort({ host: served, listen: elsewhere, log: silentLog }), {
    code: 'ERR_USAGE',
    message: /^--listen: cannot listen on 192.0.2.1:0/,
  });
});
