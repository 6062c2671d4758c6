import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { HostLimits, limitNames } from './host-limits.ts';

test('HostLimits puts the lower of the own limit and the share in force, and a share of nothing is no freedom', (t) => {
  const limits = new HostLimits({ download: 100, upload: 7, origin: 0 }, new ManualClock());
  const rates = (): number[] => limitNames.map((name) => limits.limiters[name].bytesPerSecond);
  t.deepEqual(limits.inForce, { download: 100, upload: 7, origin: 0 });
  t.deepEqual(rates(), [100, 7, 0]);
  limits.setShare({ download: 50, origin: 0 });
  t.deepEqual(rates(), [50, 7, 1]);
  limits.set({ download: 20, upload: 0 });
  t.deepEqual(rates(), [20, 0, 1]);
  limits.set({ download: 0 });
  t.deepEqual(rates(), [50, 0, 1]);
  limits.setShare({});
  t.deepEqual(rates(), [0, 0, 0]);
});

test('HostLimits puts what other programs leave in force beside own limit and share, and lifts it again', (t) => {
  const limits = new HostLimits({ download: 100, upload: 0, origin: 0 }, new ManualClock());
  limits.setShare({ download: 50 });
  limits.setCeilings({ download: 80, upload: 7, origin: 9 });
  t.deepEqual(limits.inForce, { download: 50, upload: 7, origin: 9 });
  // What the host would move without the cell: more is of no use to it.
  t.deepEqual(limits.alone, { download: 80, upload: 7, origin: 9 });
  limits.setCeilings({ download: 20, upload: 7, origin: 9 });
  t.is(limits.limiters.download.bytesPerSecond, 20);
  limits.setCeilings({ download: 0, upload: 0, origin: 0 });
  t.deepEqual(limits.inForce, { download: 50, upload: 0, origin: 0 });
  t.deepEqual(limits.own, { download: 100, upload: 0, origin: 0 });
});
