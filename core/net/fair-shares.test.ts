import test from 'ava';
import * as fc from 'fast-check';
import { FairShares } from './fair-shares.ts';

const weights = fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 6 });
const bytes = fc.integer({ min: 1, max: 1_000 });

test('FairShares gives each a share by weight, within one turn of each', (t) => {
  fc.assert(
    fc.property(weights, bytes, (given, size) => {
      const shares = new FairShares<number>();
      const keys = given.map((_weight, key) => key);
      const got = given.map(() => 0);
      const turns = 2_000;
      for (let turn = 0; turn < turns; turn += 1) {
        const key = shares.next(keys) ?? 0;
        shares.pay(key, size, given[key]);
        got[key] = (got[key] ?? 0) + 1;
      }
      const sum = given.reduce((all, weight) => all + weight, 0);
      for (const key of keys) {
        const due = (turns * (given[key] ?? 0)) / sum;
        // A turn is whole, and the light ones have their first before the heavy ones.
        t.true(Math.abs((got[key] ?? 0) - due) <= given.length + 1, JSON.stringify({ given, got }));
      }
    }),
  );
});

test('FairShares treats equals alike whatever the sizes of what they want', (t) => {
  fc.assert(
    fc.property(fc.array(bytes, { minLength: 2, maxLength: 6 }), (sizes) => {
      const shares = new FairShares<number>();
      const keys = sizes.map((_size, key) => key);
      const got = sizes.map(() => 0);
      for (let turn = 0; turn < 3_000; turn += 1) {
        const key = shares.next(keys) ?? 0;
        shares.pay(key, sizes[key] ?? 0);
        got[key] = (got[key] ?? 0) + (sizes[key] ?? 0);
      }
      const largest = Math.max(...sizes);
      t.true(Math.max(...got) - Math.min(...got) <= 2 * largest, JSON.stringify({ sizes, got }));
    }),
  );
});

test('FairShares lets nobody wait for ever, whoever comes and goes', (t) => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: 600, maxLength: 600 }), (present) => {
      const shares = new FairShares<string>();
      let since = 0;
      for (const isThere of present) {
        const keys = isThere ? ['heavy', 'other', 'light'] : ['heavy', 'light'];
        const key = shares.next(keys) ?? '';
        shares.pay(key, 10, key === 'light' ? 1 : 64);
        since = key === 'light' ? 0 : since + 1;
        t.true(since <= 2 * 64 + 2, `${since} turns without the light one`);
      }
    }),
  );
});

test('FairShares: who wanted nothing for long has neither saved turns nor debts', (t) => {
  const shares = new FairShares<string>();
  for (let turn = 0; turn < 100; turn += 1) shares.pay('busy', 10);
  const order: string[] = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const key = shares.next(['busy', 'fresh']) ?? '';
    order.push(key);
    shares.pay(key, 10);
  }
  t.deepEqual(order, ['fresh', 'busy', 'fresh', 'busy', 'fresh', 'busy']);
  t.is(shares.next([]), undefined);
});

test('FairShares forgets those who are gone', (t) => {
  const shares = new FairShares<number>();
  for (let key = 0; key < 10_000; key += 1) shares.pay(key, 10);
  t.is(shares.next([9_999, 3]), 3);
  t.is(shares.size, 1_024);
});
