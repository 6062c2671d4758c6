import test from 'ava';
import { isKept, renderAdaptive } from './adaptive-report.ts';

const run = {
  part: 'receive',
  isAdaptive: true,
  alone: 1000,
  beside: 900,
  before: 1000,
  during: 100,
  backAfter: 5,
  reasons: [],
  cpu: 0.3,
} as const;

test('isKept() asks for 90 % of a line and 5 s, for 80 % of a disk, and for nothing where it is off', (t) => {
  t.true(isKept(run));
  t.false(isKept({ ...run, beside: 899 }));
  t.false(isKept({ ...run, backAfter: 5.1 }));
  t.false(isKept({ ...run, backAfter: undefined }));
  const disk = { ...run, part: 'disk', backAfter: undefined } as const;
  t.true(isKept({ ...disk, beside: 800 }));
  t.false(isKept({ ...disk, beside: 799 }));
  t.is(isKept({ ...run, isAdaptive: false, beside: 0 }), undefined);
});

test('renderAdaptive() says which promise was missed', (t) => {
  t.regex(renderAdaptive([run]), / 90\.0 % .* kept$/m);
  t.regex(renderAdaptive([{ ...run, backAfter: undefined }]), / not in 10 s .* missed$/m);
});
