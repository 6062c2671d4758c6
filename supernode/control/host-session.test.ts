import test from 'ava';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { Rogue } from '../../test/support/rogue.ts';
import { TestSwarm } from '../../test/support/swarm.ts';

const COUNT = 800;

test('of registrations that wait a host has so many bytes; past them it is told when to come again', async (t) => {
  await using swarm = await TestSwarm.start();
  const { meshPort } = swarm.supernode;
  await using rogue = await Rogue.member(swarm.supernode);
  const talk = await rogue.control(`127.0.0.1:${meshPort}`);
  swarm.origin.set('/f', { content: { seed: 1, length: 1024 }, slowHeadMs: 60_000 });
  // Some 24 KB each, none of which concerns the origin but the URL.
  const filteredQueryParams = Array.from({ length: 64 }, (_unused, at) => `${at}`.padEnd(250, 'y'));
  for (let id = 0; id < COUNT; id += 1) {
    const url = `${swarm.origin.url('/f')}?${id}=${'z'.repeat(7_000)}`;
    const task = taskIdOf({ url, filteredQueryParams });
    talk.say({ type: 'register', id, task, spec: { url, filteredQueryParams } });
    await talk.session.drained();
  }
  const first = await talk.next('rejected');
  t.like(first, { error: { code: 'ERR_BUSY', detail: { retryAfterMs: 2_000 } } });
  t.true(await talk.synced(), 'the session goes on');
  const refused = [first, ...talk.heard].filter((message) => message?.['type'] === 'rejected');
  t.true(refused.length > 50 && refused.length < 200, `${refused.length} of ${COUNT} were refused`);
});
