import test from 'ava';
import { isKept, renderPriorities } from './priorities-report.ts';

const run = {
  source: 'seed',
  line: 6_000_000,
  before: 5_900_000,
  release: 5_000_000,
  warmUps: 500_000,
  reachedAfter: 0.8,
  moved: 8,
  of: 8,
  cpu: 0.5,
} as const;

test('isKept() asks for the share, in time, kept, and for every warm-up', (t) => {
  t.true(isKept(run));
  t.false(isKept({ ...run, reachedAfter: 2.1 }));
  t.false(isKept({ ...run, reachedAfter: undefined }));
  t.false(isKept({ ...run, release: 4_700_000 }));
  t.false(isKept({ ...run, moved: 7 }));
});

test('renderPriorities() says what the release had of the line', (t) => {
  t.regex(renderPriorities([run]), /^seed .* 83 % .* 0\.8 s .* 8 of 8 .* yes$/m);
  t.regex(renderPriorities([{ ...run, reachedAfter: undefined }]), / never .* no$/m);
});
