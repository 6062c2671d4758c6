import test from 'ava';
import { summarizeSim } from '../report/sim-report.ts';
import { simCase } from './sim-case.ts';
import { simulate } from './simulate.ts';

const MIB = 1024 * 1024;
const rate = 50e6 / 8;

test('the same case ends the same, another chance ends otherwise', (t) => {
  const swarm = simCase({ hosts: 12, size: 16 * MIB, rate }, { kill: 0.25, joinOverMs: 500 });
  t.deepEqual(simulate(swarm), simulate(swarm));
  const other = simulate({ ...swarm, random: 2 });
  t.notDeepEqual(simulate(swarm).hosts, other.hosts);
});

test('everybody has every byte once, from somebody', (t) => {
  const size = 16 * MIB - 1;
  const { hosts, originBytes, seedBytes } = simulate(simCase({ hosts: 12, size, rate }));
  for (const { fromSeed, fromPeers, fromOrigin, seconds } of hosts) {
    t.is(fromSeed + fromPeers + fromOrigin, size);
    t.true((seconds ?? 0) >= size / rate);
  }
  t.is(originBytes, size);
  t.true(seedBytes >= size);
  const fromSeed = hosts.reduce((sum, host) => sum + host.fromSeed, 0);
  t.true(fromSeed <= seedBytes);
});

test('one host alone takes what its link takes, and a piece more for the way through the seed', (t) => {
  const summary = summarizeSim(simulate(simCase({ hosts: 1, size: 64 * MIB, rate })));
  t.true(summary.ratios.max >= 1 && summary.ratios.max < 1.01, `${summary.ratios.max}`);
});

test('the dead are not waited for, and the slow do finish', (t) => {
  const about = { hosts: 16, size: 16 * MIB, rate };
  const killed = simulate(simCase(about, { kill: 0.25, noticeMs: 300 }));
  t.is(killed.hosts.filter(({ seconds }) => seconds === undefined).length, 4);
  t.true((killed.killedAfter ?? 0) > 0);
  const slow = simulate(simCase(about, { slow: { hosts: 3, factor: 0.2 } }));
  t.true(slow.hosts.every(({ seconds }) => seconds !== undefined));
});
