import test from 'ava';
import { lossScript, offloadedBytes, rateArguments } from './shaping.ts';

test('rateArguments() makes a bucket that an offloaded packet fits into, and a queue of 50 ms behind it', (t) => {
  const line = rateArguments('eth0', 20_000_000).join(' ');
  t.is(line, 'qdisc replace dev eth0 root tbf rate 20000000bit burst 6778 limit 131778');
});

test('rateArguments() counts the headers of all packets that an offloaded one stands for', (t) => {
  const words = rateArguments('eth0', 1_000_000_000);
  t.true(Number(words[words.indexOf('burst') + 1]) > 65_536 + 46 * 66);
});

test('offloadedBytes() is 2 ms of the rate, between two packets and 64 KiB', (t) => {
  t.is(offloadedBytes(20_000_000), 5000);
  t.is(offloadedBytes(1_000_000), 3028);
  t.is(offloadedBytes(10_000_000_000), 65_536);
  t.is(offloadedBytes(0), 65_536);
});

test('offloadedBytes() is 8 ms of the rate where hosts are many', (t) => {
  t.is(offloadedBytes(20_000_000, true), 20_000);
  t.is(offloadedBytes(1_000_000_000, true), 65_536);
});

test('rateArguments() takes a limit away', (t) => {
  t.is(rateArguments('x', 0).join(' '), 'qdisc replace dev x root pfifo_fast');
});

test('lossScript() replaces what was there before', (t) => {
  t.regex(
    lossScript('eth0', 0.01),
    /delete table inet odonata\n.*random mod 1000000 < 10000 counter drop/s,
  );
  t.notRegex(lossScript('eth0', 0), /drop/);
});
