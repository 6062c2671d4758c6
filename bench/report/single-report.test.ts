import test from 'ava';
import type { Contender, Sample, SingleResult } from '../scenario/single.ts';
import { barsOf, renderSingle, summarize } from './single-report.ts';

const GIB = 1024 ** 3;

function sample(
  contender: Contender,
  seconds: number,
  of: { size: number; round: number },
): Sample {
  const programs = { 'host-1': 1, 'host-2': 2, supernode: 0.5, origin: 0.25 };
  const cpu = { programs, commands: 0.25, total: 4, machine: 0.5, others: 0.2 };
  return { contender, seconds, cpu, ...of };
}

function resultOf(samples: Sample[]): SingleResult {
  return {
    rate: 0,
    machine: {
      processors: 2,
      model: 'test',
      sha256Rate: GIB,
      writeRate: GIB,
      syncedWriteRate: GIB / 8,
    },
    bareNodeMs: [40, 41, 60],
    samples,
    tinyStartMs: [90, 100, 300],
    localApiMs: [1, 2, 30],
    missing: ['aria2c'],
  };
}

test('summarize() gives the median of each contender, its multiple of curl, and CPU by who per GiB', (t) => {
  const samples = [1, 2, 9].flatMap((seconds, round) => [
    sample('curl', seconds, { size: GIB / 2, round }),
    sample('dfget warm', seconds * 2, { size: GIB / 2, round }),
  ]);
  const [curl, warm] = summarize(samples);
  t.like(curl, { contender: 'curl', rounds: 3, seconds: 2, slowest: 9, timesCurl: 1 });
  t.like(warm, { contender: 'dfget warm', seconds: 4, slowest: 18, timesCurl: 2, cpuPerGib: 8 });
  t.deepEqual(warm?.cpuPerGibBy, {
    'host-1': 2,
    'host-2': 4,
    supernode: 1,
    origin: 0.5,
    command: 0.5,
  });
});

test('summarize() says nothing of CPU where its clock is too coarse, nor of curl where there is none', (t) => {
  const [warm] = summarize([sample('dfget warm', 0.1, { size: 1, round: 1 })]);
  t.is(warm?.cpuPerGib, undefined);
  t.is(warm?.timesCurl, undefined);
});

test('barsOf() measures each promise of the sizes that were run, and renderSingle() says which are missed', (t) => {
  const round = 1;
  const writing = { programs: {}, commands: 0.6, total: 0.6, machine: 0.5, others: 0.2 };
  const result = resultOf([
    sample('curl', 1, { size: GIB, round }),
    sample('dfget warm', 1.4, { size: GIB, round }),
    sample('dfget second host', 1, { size: GIB, round }),
    { ...sample('write', 0.6, { size: GIB, round }), cpu: writing },
  ]);
  const measured = barsOf(result).map((bar) => [bar.limit, bar.measured]);
  t.deepEqual(measured, [
    [1.3, 1.4],
    [4.6, 3],
    [4.6, 3.5],
    [120, 100],
    [5, 2],
  ]);
  const text = renderSingle(result);
  t.regex(text, /1 GiB warm, same host .* MISSED/);
  t.regex(text, /1 byte warm, local API .* met/);
  t.regex(text, /bare Node +41 ms .* 2\.44 × that/);
  t.regex(text, /not on this machine: aria2c/);
  t.regex(text, /Other programs took 20 % of this machine/);
  t.is(barsOf(resultOf([])).length, 2);
});

test('barsOf() holds downloads in a lab to what curl takes there, and to nothing else', (t) => {
  const of = { size: GIB, round: 1 };
  const samples = [
    sample('curl', 10, of),
    sample('dfget cold', 12.1, of),
    sample('dfget second host', 11.5, of),
  ];
  const result = {
    ...resultOf(samples),
    rate: 1e9,
    bareNodeMs: [],
    tinyStartMs: [],
    localApiMs: [],
  };
  const [cold, second, ...others] = barsOf(result);
  t.like(cold, { what: '1.0 GiB cold, one host', limit: 12.15, measured: 12.1 });
  t.like(second, { limit: 11, measured: 11.5 });
  t.deepEqual(others, []);
  const text = renderSingle(result);
  t.regex(text, /1000 Mbit\/s each way/);
  t.regex(text, /to a second host +11 +11\.50 +s +MISSED/);
});
