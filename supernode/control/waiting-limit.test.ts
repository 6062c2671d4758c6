import test from 'ava';
import { WaitingLimit } from './waiting-limit.ts';

const wide = { max: 100, maxBytes: 1_000, retryAfterMs: 7 };

test('WaitingLimit refuses what is too many, with the time to wait, and takes again when one is done', (t) => {
  const limit = new WaitingLimit({ max: 2, maxBytes: 1_000, retryAfterMs: 7 });
  const first = limit.take(1);
  limit.take(1);
  t.throws(() => limit.take(1), { code: 'ERR_BUSY' });
  t.like(
    t.throws(() => limit.take(1)),
    { detail: { retryAfterMs: 7, waiting: 2 } },
  );
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  t.is(limit.count, 1);
  limit.take(1);
  t.throws(() => limit.take(1), { code: 'ERR_BUSY' });
});

test('WaitingLimit refuses what is too large', (t) => {
  const limit = new WaitingLimit({ max: 100, maxBytes: 10, retryAfterMs: 7 });
  const first = limit.take(6);
  t.throws(() => limit.take(5), { code: 'ERR_BUSY' });
  limit.take(4);
  first[Symbol.dispose]();
  limit.take(6);
});

test('WaitingLimit counts within a wider one, whose refusal leaves nothing taken', (t) => {
  const cell = new WaitingLimit({ ...wide, max: 3 });
  const hosts = [new WaitingLimit(wide, cell), new WaitingLimit(wide, cell)] as const;
  const held = hosts[0].take(1);
  hosts[0].take(1);
  hosts[1].take(1);
  t.throws(() => hosts[1].take(1), { code: 'ERR_BUSY' });
  t.is(hosts[1].count, 1);
  t.is(cell.count, 3);
  held[Symbol.dispose]();
  hosts[1].take(1);
  t.is(cell.count, 3);
});
