import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { ForwardHeads } from './forward-heads.ts';
import type { AskedHead } from './forward-heads.ts';

const url = new URL('http://files.test/a_1.deb');
const asked: AskedHead = { url, user: 'local', headers: {} };

function at(number: number): AskedHead {
  return { ...asked, url: new URL(`http://files.test/${number}`) };
}

function headsAfter(headers: Record<string, string>, ms: number): ForwardHeads {
  const clock = new ManualClock();
  // At its very beginning the cache takes nothing for old.
  clock.advance(1);
  const heads = new ForwardHeads(clock);
  heads.keep(asked, { headers: { etag: '"1"', ...headers }, length: 10 });
  clock.advance(ms);
  return heads;
}

test('ForwardHeads remembers as long as the origin allows, and a minute at most', (t) => {
  const cases: [caching: string, age: string, keptMs: number][] = [
    ['public, max-age=600', '0', 60_000],
    ['max-age=20', '0', 20_000],
    ['max-age="20"', '5', 15_000],
    ['max-age=600, s-maxage=10', '0', 10_000],
    ['max-age=20', '20', 0],
    ['max-age=20, no-cache', '0', 0],
    ['max-age=x', '0', 0],
    ['', '0', 0],
  ];
  for (const [caching, age, keptMs] of cases) {
    const headers = { 'cache-control': caching, age };
    t.is(headsAfter(headers, keptMs + 1).find(asked), undefined, `${caching} ${age}`);
    if (keptMs === 0) continue;
    const heads = headsAfter(headers, keptMs - 1);
    t.is(heads.find(asked)?.length, 10, `${caching} ${age}`);
  }
});

test('ForwardHeads gives to others what they might be told themselves, and its age', (t) => {
  const heads = headsAfter({ 'cache-control': 'max-age=60', age: '7' }, 3_000);
  t.deepEqual(heads.find(asked)?.headers['age'], '10');
  t.is(heads.find({ ...asked, url: new URL('http://files.test/b_1.deb') }), undefined);
  t.is(heads.find({ ...asked, user: 'admitted' }), undefined, 'who may not reach the same');
  for (const caching of ['no-cache', 'max-age=0', 'x, min-fresh=9']) {
    t.is(heads.find({ ...asked, headers: { 'cache-control': caching } }), undefined, caching);
  }
  t.is(heads.find({ ...asked, headers: { pragma: 'no-cache' } }), undefined);
  heads.forget(asked);
  t.is(heads.find(asked), undefined);
});

test('ForwardHeads has a bound', (t) => {
  const heads = new ForwardHeads(new ManualClock());
  const headers = { 'cache-control': 'max-age=60', x: 'x'.repeat(1024 * 1024) };
  for (let number = 0; number < 5; number += 1) heads.keep(at(number), { headers, length: 1 });
  t.is(heads.find(at(0)), undefined);
  t.is(heads.find(at(4))?.length, 1);
});
