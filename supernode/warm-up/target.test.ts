import test from 'ava';
import { parseTarget, pickHosts } from './target.ts';
import type { Candidate } from './target.ts';

const hosts: Candidate[] = [
  { peer: 'supernode', role: 'supernode' },
  ...Array.from({ length: 8 }, (_unused, at) => ({
    peer: `east-${at}`,
    idc: 'east',
    role: 'host' as const,
  })),
  { peer: 'west-0', idc: 'west', role: 'host' },
  { peer: 'west-seed', idc: 'west', role: 'seed' },
];

function picked(text: string, salt = 's'): string[] {
  return pickHosts(parseTarget(text, 'to'), hosts, salt).map(({ peer }) => peer);
}

test('pickHosts() knows seeds, an idc, a count, a share and all', (t) => {
  t.deepEqual(picked('seeds'), ['supernode', 'west-seed']);
  t.deepEqual(picked('idc=west'), ['west-0', 'west-seed']);
  t.is(picked('all').length, 10);
  t.false(picked('all').includes('supernode'));
  t.is(picked('count=99').length, 10);
  t.is(picked('percent=100').length, 10);
  t.is(picked('percent=1').length, 1);
  t.is(picked('percent=25').length, 3, 'rounded up');
});

test('pickHosts() takes a count of each idc in turn, the same ones for one job and others for another', (t) => {
  const four = picked('count=4');
  t.is(four.filter((peer) => peer.startsWith('west')).length, 2);
  t.deepEqual(picked('count=4'), four);
  t.is(
    new Set(Array.from({ length: 20 }, (_unused, at) => picked('count=1', `${at}`)[0])).size > 1,
    true,
  );
});

test('parseTarget() names the field of what it does not know', (t) => {
  for (const text of [
    '',
    'ALL',
    'count=',
    'count=-1',
    'count=1.5',
    'percent=0',
    'idc=',
    'host=a',
  ]) {
    t.throws(() => parseTarget(text, 'to'), { code: 'ERR_REQUEST', message: /^to: / }, text);
  }
});
