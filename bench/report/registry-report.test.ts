import test from 'ava';
import type { PullRun, PullWay, RegistryResult } from '../scenario/registry.ts';
import { registryBars, renderRegistry, summarizeRegistry } from './registry-report.ts';

const MIB = 1024 * 1024;

const run = (way: PullWay, seconds: readonly number[], machine = 0.3): PullRun => ({
  way,
  seconds,
  registryBytes: way === 'direct' ? seconds.length * 100 * MIB : 100 * MIB,
  peerBytes: way === 'direct' ? 0 : (seconds.length - 1) * 100 * MIB,
  cpu: { programs: {}, commands: 0, total: 0, machine, others: 0 },
});

const eight = (last: number): number[] => [...Array.from({ length: 7 }, () => last - 1), last];

/** 1 MiB a second: 100 s for an image. */
const result: RegistryResult = {
  registry: {
    hosts: 8,
    size: 100 * MIB,
    layers: 5,
    rate: 10_000_000,
    rounds: 1,
    blob: 10 * MIB,
    form: 'package',
    parent: '/dev/shm',
  },
  goodput: MIB,
  imageBytes: 100 * MIB,
  pieces: 400,
  runs: [
    run('direct', [100]),
    run('mirror', [105]),
    run('direct', eight(810)),
    run('mirror', eight(110)),
  ],
  firstBytes: [{ direct: 0.005, mirror: 0.51, roundTrip: 0.001, machine: 0.2 }],
};

test('summarizeRegistry() compares each way with its limit and with the registry itself', (t) => {
  const [, alone, direct, mirror] = summarizeRegistry(result);
  t.like(alone, { way: 'mirror', hosts: 1, limit: 100, timesDirect: 1.05, registryCopies: 1 });
  t.like(direct, { way: 'direct', hosts: 8, limit: 800, all: 810, registryCopies: 8 });
  // Three doublings of 400 pieces.
  t.like(mirror, { p50: 109, max: 110, limit: 100.75, peerShare: 7 / 8, isVoid: false });
});

test('registryBars() judges alone, together, and the first byte', (t) => {
  const bars = registryBars(result);
  t.deepEqual(
    bars.map(({ is, limit }) => [is, Number(limit.toFixed(3))]),
    [
      ['at most', 1.1],
      ['at least', 5],
      ['at most', 1.25],
      // 5 + 10 + 1, and twice 256 KiB.
      ['at most', 516],
    ],
  );
  const measured = bars.map((bar) => Number(bar.measured.toFixed(3)));
  t.deepEqual(measured, [1.05, 7.364, 1.092, 510]);
  t.notRegex(renderRegistry(result), /MISSED|VOID/);
});

test('renderRegistry() says what was missed, and what busy processors make void', (t) => {
  const slow = { ...result, runs: [...result.runs.slice(0, 3), run('mirror', eight(200))] };
  t.regex(renderRegistry(slow), /faster than direct +at least 5.00 +4.050 +MISSED/);
  const busy = { ...result, runs: [...result.runs.slice(0, 3), run('mirror', eight(110), 0.7)] };
  t.regex(renderRegistry(busy), /VOID as a result about networks: mirror on 8/);
  t.regex(renderRegistry(busy), /last of 8 hosts, × limit +at most 1.25 +1.092 +VOID/);
});
