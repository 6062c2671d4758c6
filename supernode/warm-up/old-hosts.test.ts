import test from 'ava';
import { Rogue } from '../../test/support/rogue.ts';
import { TestSwarm } from '../../test/support/swarm.ts';

test('a host whose hello names no features is sent no orders, keeps its session, and is told of as failed', async (t) => {
  await using swarm = await TestSwarm.start();
  const { warmUps, meshPort } = swarm.supernode;
  await using old = await Rogue.member(swarm.supernode);
  const talk = await old.control(`127.0.0.1:${meshPort}`);
  t.true(await talk.synced());
  const { id } = await warmUps.submit({ url: swarm.origin.url('/f'), to: 'all' }, 'api');
  let record = warmUps.find(id);
  while (record?.finished === undefined) {
    await new Promise((resolve) => setImmediate(resolve));
    record = warmUps.find(id);
  }
  t.like(record, { state: 'failed', hosts: { total: 1, failed: 1 } });
  t.like(record.results[0]?.failures, [{ code: 'ERR_PROTOCOL' }]);
  t.true(await talk.synced(), 'the session goes on');
  t.deepEqual(
    talk.heard.filter((message) => String(message?.['type']).startsWith('warm')),
    [],
  );
});
