import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { RateLimiter } from '../net/pacing.ts';
import { HostLimits } from './host-limits.ts';
import type { TransferLimits } from './transfer-messages.ts';

test('HostLimits puts the lower of the own limit and the share in force, and a share of nothing is no freedom', async (t) => {
  const download = new RateLimiter(0, new ManualClock());
  const told: TransferLimits[] = [];
  const setWorkers = async (limits: TransferLimits): Promise<void> => void told.push(limits);
  const limits = new HostLimits({ download: 100, upload: 7, origin: 0 }, { download, setWorkers });
  t.deepEqual(limits.inForce, { download: 100, upload: 7, origin: 0 });
  await limits.setShare({ download: 50, origin: 0 });
  t.is(download.bytesPerSecond, 50);
  t.deepEqual(told.at(-1), { uploadBytesPerSecond: 7, originBytesPerSecond: 1 });
  await limits.set({ download: 20, upload: 0 });
  t.is(download.bytesPerSecond, 20);
  await limits.set({ download: 0 });
  t.is(download.bytesPerSecond, 50);
  await limits.setShare({});
  t.deepEqual(limits.inForce, { download: 0, upload: 0, origin: 0 });
  t.deepEqual(told.at(-1), { uploadBytesPerSecond: 0, originBytesPerSecond: 0 });
});
