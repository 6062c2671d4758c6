import test from 'ava';
import type { HostRun, SwarmResult, SwarmRun } from '../scenario/swarm.ts';
import { plotSwarm } from './swarm-plot.ts';
import { renderSwarm, summarizeSwarm, swarmBars } from './swarm-report.ts';
import { ticks } from './swarm-svg.ts';

const MIB = 1024 * 1024;
const RATE = 80_000_000;

function host(seconds: number | undefined, more: Partial<HostRun> = {}): HostRun {
  const sources = {
    started: 0.1,
    fromPeers: 9 * MIB,
    fromSeed: MIB,
    duplicate: 0,
    fromOtherIdcs: 0,
  };
  const curve = [[0, 0] as const, [seconds ?? 0.5, 10 * MIB] as const];
  return { name: 'host', idc: 0, rate: RATE, joined: 0, seconds, ...sources, curve, ...more };
}

function run(hosts: readonly HostRun[], more: Partial<SwarmRun> = {}): SwarmRun {
  const programs = { 'host-1': 1, harness: 5 };
  const cpu = { programs, commands: 1, total: 7, machine: 0.4, others: 0.1 };
  const spread = [{ seconds: 1, rarest: 0, middle: 1, commonest: 2 }];
  const rest = {
    originBytes: 10 * MIB,
    killedAfter: undefined,
    wireBytes: 21 * MIB,
    crossed: undefined,
  };
  return { contender: 'dfget', hosts, spread, cpu, ...rest, ...more };
}

function result(runs: readonly SwarmRun[], more: Partial<SwarmResult['swarm']> = {}): SwarmResult {
  const swarm = {
    hosts: 2,
    size: 10 * MIB,
    rate: RATE,
    delayMs: 0,
    loss: 0,
    kill: 0,
    joinOverMs: 0,
  };
  const rest = {
    slow: undefined,
    idcs: 1,
    thin: 0,
    beside: [],
    form: 'source',
    parent: '/x',
  } as const;
  const shape = { goodput: 10 * MIB, pieceLength: MIB, pieces: 10 };
  return { swarm: { ...swarm, ...rest, ...more }, ...shape, runs };
}

test('summarizeSwarm() sets times against the limit, and leaves the harness out of the costs', (t) => {
  const [summary] = summarizeSwarm(result([run([host(1.1), host(2.2)])]));
  t.is(summary?.fluidLimit, 1);
  t.is(summary?.limit, 1.1);
  t.is(summary?.ratios.p50.toFixed(6), '1.000000');
  t.is(summary?.ratios.max.toFixed(6), '2.000000');
  t.is(summary?.originCopies, 1);
  t.is(summary?.seedShare, 0.1);
  t.is(summary?.wire?.toFixed(6), ((21 / 20) * ((10 * MIB) / (RATE / 8))).toFixed(6));
  t.is(summary?.cpuPerGib, (2 * 1024) / 20);
  t.false(summary?.isVoid);
});

test('summarizeSwarm() judges those who live, by what the dead may have given', (t) => {
  const hosts = [host(1.5), host(1.7), host(undefined)];
  const [summary] = summarizeSwarm(result([run(hosts, { killedAfter: 0.5 })], { kill: 0.33 }));
  t.is(summary?.max, 1.7);
  t.is(summary?.limit, 1.1);
});

test('swarmBars() holds fast hosts against the run without the slow ones', (t) => {
  const slow = { hosts: 1, factor: 0.2 };
  const base = run([host(1), host(2)], { contender: 'dfget without the slow' });
  const all = run([host(1), host(2.2), host(9, { rate: RATE / 5 })]);
  const bars = swarmBars(result([base, all], { slow, hosts: 3 }));
  t.like(bars[0], { what: 'last fast host with slow ones, × without them', limit: 1.05 });
  t.is(bars[0]?.measured.toFixed(6), '1.100000');
});

test('renderSwarm() says that a run on a busy machine is void', (t) => {
  const cpu = { programs: {}, commands: 0, total: 0, machine: 0.7, others: 0.6 };
  t.regex(
    renderSwarm(result([run([host(1), host(1)], { cpu })])),
    /VOID .* dfget, the machine was 70 % busy/,
  );
  t.notRegex(renderSwarm(result([run([host(1), host(1)])])), /VOID/);
});

test('plotSwarm() draws a line for each host and closes every element', (t) => {
  const svg = plotSwarm(result([run([host(1), host(2), host(undefined)])]));
  t.true(svg.startsWith('<svg ') && svg.endsWith('</svg>\n'));
  t.is(svg.match(/stroke="#0b62a4" stroke-width="1"/g)?.length, 2);
  t.is(svg.match(/stroke="#999"/g)?.length, 1);
  t.notRegex(svg, /NaN|Infinity|undefined/);
});

test('ticks() are round numbers, few of them, from 0', (t) => {
  t.deepEqual(ticks(20.6), [0, 5, 10, 15, 20]);
  t.deepEqual(ticks(0.9), [0, 0.2, 0.4, 0.6, 0.8]);
  t.deepEqual(ticks(100), [0, 20, 40, 60, 80, 100]);
});
