import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const LENGTH = 24 * MIB;

test.serial('about one copy crosses between idcs, and none comes back', async (t) => {
  // The origin paces the seed, so that pieces spread while others come in.
  const bytesPerSecond = 12 * MIB;
  await using swarm = await TestSwarm.start({ supernode: { idc: 'east' }, bytesPerSecond });
  const content = { seed: 5, length: LENGTH };
  swarm.origin.set('/f', { content });
  const names = ['e1', 'w1', 'e2', 'w2', 'e3', 'w3', 'e4', 'w4', 'e5', 'w5'];
  const hosts = await Promise.all(
    names.map(async (name) => swarm.host(name, { idc: name.startsWith('e') ? 'east' : 'west' })),
  );
  const { signal } = new AbortController();
  for (const { member } of hosts) await member?.client.whenConnected(60_000, { signal });
  const url = swarm.origin.url('/f');
  const digest = await contentDigest(content);
  const done = await Promise.all(
    hosts.map(async (host, at) => {
      // One after the other, within the second that the origin takes for half of it.
      const before = (at / hosts.length) * (LENGTH / 2);
      await until(() => swarm.origin.stats('/f').bodyBytes >= before);
      return doneOf(await swarm.download(host, { url, digest }));
    }),
  );
  const crossed = { east: 0, west: 0 };
  for (const [at, { explain }] of done.entries()) {
    const idc = names[at]?.startsWith('e') === true ? 'east' : 'west';
    for (const { source, role, bytes } of explain?.sources ?? []) {
      const from = role === 'seed' ? 'east' : swarm.supernode.table.hosts.get(source)?.idc;
      if (from !== idc) crossed[idc] += bytes;
    }
  }
  t.is(crossed.east, 0);
  t.true(crossed.west >= LENGTH && crossed.west <= 1.1 * LENGTH, `${crossed.west / LENGTH} copies`);
  t.is(swarm.origin.stats('/f').bodyBytes, LENGTH);
});

test.serial(
  'a host alone in its idc takes all it lacks of another, within the budget',
  async (t) => {
    await using swarm = await TestSwarm.start({ supernode: { idc: 'east' } });
    swarm.origin.set('/f', { content: { seed: 6, length: 8 * MIB } });
    const url = swarm.origin.url('/f');
    const east = await swarm.host('e1', { idc: 'east' });
    const west = await swarm.host('w1', { idc: 'west' });
    doneOf(await swarm.download(east, { url }));
    await swarm.supernode.limits.set({ between: { 'east|west': 8 * MIB, 'west|east': MIB } });
    const { idcs } = west.limits.parts;
    await until(() => idcs.rateOf('east') > 0);
    const done = doneOf(await swarm.download(west, { url, timeoutMs: 20_000 }));
    t.is(done.fromPeers + done.fromSeed, 8 * MIB);
    const { passedBytes, heldBytes } = idcs.limiter('east');
    t.true(passedBytes >= 8 * MIB, `${passedBytes}`);
    t.true(heldBytes > 0, 'it wanted more than its share');
    t.is(east.limits.parts.idcs.limiter('west').passedBytes, 0);
  },
);

test.serial('a supernode that stands nowhere serves every idc', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content: { seed: 7, length: 8 * MIB } });
  const url = swarm.origin.url('/f');
  const hosts = await Promise.all(
    ['east', 'west', 'north'].map(async (idc) => swarm.host(idc, { idc })),
  );
  const done = await Promise.all(
    hosts.map(async (host) => doneOf(await swarm.download(host, { url, timeoutMs: 20_000 }))),
  );
  t.true(done.every(({ fromPeers, fromSeed }) => fromPeers + fromSeed === 8 * MIB));
  t.is(swarm.origin.stats('/f').bodyBytes, 8 * MIB);
});
