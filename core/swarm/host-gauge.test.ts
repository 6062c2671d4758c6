import { tmpdir, totalmem } from 'node:os';
import test from 'ava';
import { SystemClock } from '../base/clock.ts';
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
