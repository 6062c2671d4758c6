import test from 'ava';
import { isKept, summarizeCompression } from './compression-report.ts';

const row = {
  kind: 'elf',
  rate: 50e6,
  rawSeconds: 6,
  seconds: 3,
  gain: 2,
  wire: 0.4,
  tried: 1,
  rawCpuSeconds: 1,
  cpuSeconds: 2,
} as const;

test('isKept() asks for twice as fast at 50 Mbit/s where content shrinks, and elsewhere for 0.95', (t) => {
  t.true(isKept(row));
  t.false(isKept({ ...row, gain: 1.99 }));
  t.true(isKept({ ...row, gain: 0.95, rate: 200e6 }));
  t.true(isKept({ ...row, gain: 0.95, rate: 0 }));
  t.false(isKept({ ...row, gain: 0.94, rate: 0 }));
  t.true(isKept({ ...row, kind: 'random', gain: 0.95 }));
});

test('isKept() lets nothing be spent on gzip', (t) => {
  t.true(isKept({ ...row, kind: 'gzip', gain: 1, tried: 0 }));
  t.false(isKept({ ...row, kind: 'gzip', gain: 1, tried: 0.01 }));
});

test('summarizeCompression() takes the median of each way', (t) => {
  const about = {
    kind: 'elf',
    rate: 50e6,
    wireBytes: 50,
    triedBytes: 100,
    compressSeconds: 1,
  } as const;
  const rest = { cpuSeconds: 1, machine: 0, others: 0 };
  const runs = [6, 8, 7].map((seconds) => ({ ...about, ...rest, seconds, isCompressing: false }));
  const auto = [3.5, 2, 9].map((seconds) => ({ ...about, ...rest, seconds, isCompressing: true }));
  const [found] = summarizeCompression({ size: 100, goodput: new Map(), runs: [...runs, ...auto] });
  t.like(found, { rawSeconds: 7, seconds: 3.5, gain: 2, wire: 0.5, tried: 1 });
});
