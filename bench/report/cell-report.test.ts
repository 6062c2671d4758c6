import test from 'ava';
import { isKept, renderCell } from './cell-report.ts';

const run = {
  hosts: 8,
  budget: 12_500_000,
  all: 12_300_000,
  half: 12_400_000,
  reusedAfter: 1.2,
  again: 12_200_000,
  most: 12_900_000,
  least: 0.97,
  largest: 1.02,
  cpu: 0.4,
} as const;

test('isKept() asks for every sum within 5 %, and for what became free within 2 s', (t) => {
  t.true(isKept(run));
  t.false(isKept({ ...run, all: 11_800_000 }));
  t.false(isKept({ ...run, half: 13_200_000 }));
  t.false(isKept({ ...run, again: 0 }));
  t.false(isKept({ ...run, reusedAfter: 2.1 }));
  t.false(isKept({ ...run, reusedAfter: undefined }));
});

test('renderCell() shows how far each sum is off', (t) => {
  t.regex(renderCell([run]), /-1\.6 % .* -0\.8 % .* 1\.2 s .* -2\.4 % .* \+3\.2 % .* yes$/m);
});
