import test from 'ava';
import { nearest } from './did-you-mean.ts';

const names = ['data-dir', 'download-limit', 'upload-limit', 'idc'];

test('nearest() finds the word that was meant', (t) => {
  t.is(nearest('dat-dir', names), 'data-dir');
  t.is(nearest('datadir', names), 'data-dir');
  t.is(nearest('uplaod-limit', names), 'upload-limit');
  t.is(nearest('idx', names), 'idc');
});

test('nearest() stays silent when nothing is near, and does no long work', (t) => {
  t.is(nearest('quota', names), undefined);
  t.is(nearest('d'.repeat(100_000), ['d'.repeat(100_000)]), undefined);
});
