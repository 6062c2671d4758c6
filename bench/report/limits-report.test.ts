import test from 'ava';
import { renderLimits, sharesOf, worstOf } from './limits-report.ts';

const sample = {
  limiter: 'download',
  tasks: 2,
  set: 1_000_000,
  windows: [1_000_000, 960_000, 1_030_000],
  lowered: { set: 500_000, rate: 510_000 },
  each: [5_000_000, 6_000_000],
} as const;

test('worstOf() is the window farthest off, in either direction', (t) => {
  t.is(worstOf(sample).toFixed(3), '-0.040');
  t.is(worstOf({ set: 100, windows: [] }), 0);
});

test('sharesOf() compares tasks that had enough', (t) => {
  t.is(sharesOf(sample)?.least.toFixed(2), '0.91');
  t.is(sharesOf({ each: [1_000, 2_000] }), undefined);
  t.is(sharesOf({ each: [50_000_000] }), undefined);
});

test('renderLimits() says of each whether it is within 5 %, changed while it runs too', (t) => {
  const lines = renderLimits([sample, { ...sample, lowered: { set: 500_000, rate: 1_000_000 } }])
    .trim()
    .split('\n');
  t.regex(lines.at(-2) ?? '', /-4\.0 %.*\+2\.0 %.*0\.91 to 1\.09.*yes/);
  t.regex(lines.at(-1) ?? '', /\+100\.0 %.*no/);
});
