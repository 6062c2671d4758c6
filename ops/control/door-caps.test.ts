import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import {
  DoorBench,
  benchFolder,
  found,
  ann,
  numbered,
  runner,
} from '../../test/support/door-bench.ts';

const HOUR = 3_600_000;

test('a cap on hosts is not beaten by many calls of one host each, and passes with its window', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { principal } = await ann(bench);
  for (const host of numbered(5)) {
    await bench.run(principal, [host]);
    bench.clock.advance(HOUR / 10);
  }
  const refused = await t.throwsAsync(bench.run(principal, ['host-5']), { code: 'ERR_CAP' });
  t.like(refused, { detail: { cap: 'hosts', max: 5, used: 5, more: 1 } });
  await t.notThrowsAsync(bench.run(principal, ['host-3', 'host-4']), 'those it has used already');
  await t.throwsAsync(bench.run(principal, ['host-4', 'host-5']), { code: 'ERR_CAP' });
  bench.clock.advance(HOUR / 2);
  await t.notThrowsAsync(bench.run(principal, ['host-5']), 'host-0 is an hour ago');
  await t.throwsAsync(bench.run(principal, ['host-6']), { code: 'ERR_CAP' });
  await t.throwsAsync(bench.run(principal, numbered(6)), { code: 'ERR_CAP' });
  bench.clock.advance(2 * HOUR);
  await t.notThrowsAsync(bench.run(principal, numbered(5, 100)));
  t.is((await bench.rows('cap/ann/host/')).length, 5, 'rows of hosts that count no more are gone');
});

test('a cap on hosts is not beaten by a hundred calls at the same time', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const { principal } = await ann(bench);
  const asked = numbered(100).map(async (host) => bench.run(principal, [host]));
  const results = await Promise.allSettled(asked);
  const done = results.filter(({ status }) => status === 'fulfilled');
  t.is(done.length, 5);
  for (const result of results) {
    if (result.status === 'rejected') t.is(CodedError.from(result.reason).code, 'ERR_CAP');
  }
  t.is((await bench.rows('call/')).length, 5, 'and no more calls exist');
});

test('a cap is not beaten by closing and opening the store, by rotating the key, nor by another key', async (t) => {
  const directory = await benchFolder(t);
  const clock = new ManualClock();
  const first = await DoorBench.open(directory, clock);
  const { issued, principal } = await ann(first);
  await first.run(principal, numbered(4));
  await first[Symbol.asyncDispose]();
  await using bench = await DoorBench.open(directory, clock);
  await bench.run(found(bench, issued.key), ['host-4']);
  const rotated = await bench.rotate(issued.id);
  const other = await bench.create('ann');
  for (const { key } of [issued, rotated, other]) {
    const asked = bench.run(found(bench, key), ['host-5']);
    await t.throwsAsync(asked, { code: 'ERR_CAP' });
  }
});

test('a cap on calls counts calls, and what was not committed has used nothing', async (t) => {
  await using bench = await DoorBench.open(await benchFolder(t));
  const issued = await bench.create('ann', { calls: { max: 3, windowMs: HOUR } });
  await bench.put('runner', runner);
  const principal = found(bench, issued.key);
  bench.audit.failure = new CodedError('ERR_AUDIT_UNWRITABLE', 'no space');
  for (let tries = 0; tries < 5; tries += 1) {
    await t.throwsAsync(bench.run(principal, ['host-0']), { code: 'ERR_AUDIT_UNWRITABLE' });
  }
  bench.audit.failure = undefined;
  for (let calls = 0; calls < 3; calls += 1) await bench.run(principal, ['host-0']);
  await t.throwsAsync(bench.run(principal, ['host-0']), { code: 'ERR_CAP' });
  for (let hours = 0; hours < 5; hours += 1) {
    bench.clock.advance(HOUR);
    await bench.run(principal, ['host-0']);
  }
  t.is((await bench.rows('cap/ann/call/')).length, 1, 'rows of calls that count no more are gone');
});

test('what was used by a clock that was ahead counts for one window, and not until that time comes', async (t) => {
  const directory = await benchFolder(t);
  const early = new ManualClock();
  const first = await DoorBench.open(directory, early);
  const { issued, principal } = await ann(first);
  early.jump(10 * HOUR);
  await first.run(principal, numbered(5));
  await first[Symbol.asyncDispose]();
  const clock = new ManualClock();
  await using bench = await DoorBench.open(directory, clock);
  await t.throwsAsync(bench.run(found(bench, issued.key), ['host-5']), { code: 'ERR_CAP' });
  clock.advance(HOUR);
  await t.notThrowsAsync(bench.run(found(bench, issued.key), ['host-5']));
});
