import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';

const MIB = 1024 * 1024;

test('a host that can link with nobody gets a turn at the origin from the supernode', async (t) => {
  // Nothing listens there: the seed has everything, and cannot be reached.
  await using swarm = await TestSwarm.start({ supernode: { advertise: ['127.0.0.9'] } });
  const content = { seed: 51, length: 4 * MIB };
  swarm.origin.set('/f', { content });
  const host = await swarm.host('host');
  const stalls: string[] = [];
  const last = await swarm.download(
    host,
    { url: swarm.origin.url('/f'), timeoutMs: 60_000 },
    { onEvent: (event) => event.type === 'stalled' && stalls.push(event.reason) },
  );
  const done = doneOf(last);
  t.is(done.fromOrigin, content.length);
  t.is(done.digest, await contentDigest(content));
  t.regex(stalls.join('\n'), /no parent reachable/);
  t.regex(done.explain?.notes.join('\n') ?? '', /the supernode lets this host go to the origin/);
});
