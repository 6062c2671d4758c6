import { tmpdir, totalmem } from 'node:os';
import test from 'ava';
import { ManualClock, SystemClock } from '../base/clock.ts';
import type { DiskSpace } from '../store/capacity.ts';
import { LiveValues } from '../wire/messages.ts';
import { parser } from '../wire/parse-message.ts';
import { HostGauge } from './host-gauge.ts';

const clock = new SystemClock();
const plain = (): Record<string, number> => ({ calls: 2, tasks: 0 });
const odd = (): Record<string, number> => ({ tasks: Number.NaN, calls: -1 });

test('HostGauge.read() tells of machine and program what a message may hold', async (t) => {
  const gauge = new HostGauge({ storeDir: tmpdir(), counts: plain, clock });
  const values = parser(LiveValues)(await gauge.read());
  t.like(values, { calls: 2, tasks: 0 });
  const { memoryAvailableBytes = 0, rootFreeBytes = 0, rootTotalBytes = 0 } = values;
  t.true(Number(memoryAvailableBytes) > 0 && Number(memoryAvailableBytes) < totalmem());
  t.true(Number(rootFreeBytes) <= Number(rootTotalBytes));
  for (const name of ['load1', 'storeFreeBytes', 'uptimeSeconds', 'odonataUptimeSeconds']) {
    t.is(typeof values[name], 'number', name);
  }
});

test('HostGauge.read() leaves out what cannot be made out', async (t) => {
  const gauge = new HostGauge({ storeDir: '/no/such/folder', counts: odd, clock });
  const values = await gauge.read();
  for (const name of ['tasks', 'calls', 'storeFreeBytes', 'storeTotalBytes']) {
    t.false(Object.hasOwn(values, name), name);
  }
  t.is(typeof values['rootFreeBytes'], 'number');
});

test('a filesystem that hangs is left out, and not asked again before it has answered', async (t) => {
  const manual = new ManualClock();
  const hanging = Promise.withResolvers<DiskSpace>();
  const asked: string[] = [];
  const room = { freeBytes: 3, totalBytes: 9 };
  const space = async (path: string): Promise<DiskSpace> => {
    asked.push(path);
    return path === '/' ? room : hanging.promise;
  };
  const gauge = new HostGauge({ storeDir: '/mnt/far', counts: plain, space, clock: manual });
  for (let look = 1; look <= 3; look += 1) {
    const reading = gauge.read();
    await new Promise((resolve) => setImmediate(resolve));
    manual.advance(500);
    const values = await reading;
    t.like(values, { rootFreeBytes: 3, rootTotalBytes: 9, calls: 2 });
    t.false(Object.hasOwn(values, 'storeFreeBytes'));
  }
  t.deepEqual(asked, ['/', '/mnt/far', '/', '/']);
  hanging.resolve(room);
  t.like(await gauge.read(), { storeFreeBytes: 3, storeTotalBytes: 9 });
});
