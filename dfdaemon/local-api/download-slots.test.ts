import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { DownloadSlots } from './download-slots.ts';

test('DownloadSlots gives out as many as may be, and one again when one comes back', (t) => {
  const slots = new DownloadSlots({ max: 2 });
  const first = slots.open();
  slots.open();
  t.throws(() => slots.open(), { code: 'ERR_BUSY' });
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  t.is(slots.active, 1);
  slots.open();
  t.throws(() => slots.open(), { code: 'ERR_BUSY' });
});

test('DownloadSlots.drain() waits for those that end, and aborts those that do not', async (t) => {
  const clock = new ManualClock();
  const slots = new DownloadSlots();
  const quick = slots.open();
  const slow = slots.open();
  const drained = slots.drain({ clock, graceMs: 1000, abortMs: 500 });
  t.throws(() => slots.open(), { code: 'ERR_BUSY', message: /stopping/ });
  quick[Symbol.dispose]();
  clock.advance(999);
  t.false(slow.signal.aborted);
  clock.advance(1);
  await new Promise((resolve) => setImmediate(resolve));
  t.true(slow.signal.aborted);
  t.like(slow.signal.reason, { code: 'ERR_INTERRUPTED' });
  slow[Symbol.dispose]();
  await drained;
  t.is(slots.active, 0);
});

test('DownloadSlots.drain() does not wait for ever for a download that cannot be stopped', async (t) => {
  const clock = new ManualClock();
  const slots = new DownloadSlots();
  slots.open();
  const drained = slots.drain({ clock, graceMs: 1000, abortMs: 500 });
  clock.advance(1000);
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(500);
  await drained;
  t.is(slots.active, 1);
});

test('DownloadSlots.drain() is at once done when nothing is under way', async (t) => {
  await t.notThrowsAsync(
    new DownloadSlots().drain({ clock: new ManualClock(), graceMs: 1, abortMs: 1 }),
  );
});
