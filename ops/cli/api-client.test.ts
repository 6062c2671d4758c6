import { Agent } from 'node:http';
import test from 'ava';
import { silentLog } from '../../core/base/log.ts';
import { newApiApp } from '../../supernode/api/fastify-app.ts';
import { ApiClient } from './api-client.ts';

test('ApiClient with an agent asks and follows over the connection that it has', async (t) => {
  const app = newApiApp(silentLog);
  let connections = 0;
  app.server.on('connection', () => void (connections += 1));
  app.get('/api/v1/keys', async () => ({ items: [] }));
  app.get('/api/v1/calls/:id/events', async () => ({ type: 'begun', peer: 'p' }));
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(async () => app.close());
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const kept = new ApiClient(url, undefined, { agent });
  for (let round = 0; round < 3; round += 1) {
    t.deepEqual(await kept.ask('key.list', {}), { items: [] });
    const events = await Array.fromAsync(kept.follow('call.follow', { id: 'abcdefgh' }));
    t.deepEqual(events, [{ type: 'begun', peer: 'p' }]);
  }
  t.is(connections, 1);
  await new ApiClient(url, undefined).ask('key.list', {});
  t.is(connections, 2, 'without one each has its own');
});
