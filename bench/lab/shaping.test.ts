import test from 'ava';
import { lossScript, rateArguments } from './shaping.ts';

test('rateArguments() makes a bucket that an offloaded packet fits into, and a queue of 50 ms behind it', (t) => {
  const line = rateArguments('eth0', 20_000_000, { hasOffload: true }).join(' ');
  t.is(line, 'qdisc replace dev eth0 root tbf rate 20000000bit burst 68000 limit 193000');
});

test('rateArguments() without offload makes a bucket of 5 ms, of two packets at least', (t) => {
  t.regex(rateArguments('x', 20_000_000, { hasOffload: false }).join(' '), / burst 12500 /);
  t.regex(rateArguments('x', 1_000_000, { hasOffload: false }).join(' '), / burst 3028 /);
});

test('rateArguments() takes a limit away', (t) => {
  t.is(
    rateArguments('x', 0, { hasOffload: true }).join(' '),
    'qdisc replace dev x root pfifo_fast',
  );
});

test('lossScript() replaces what was there before', (t) => {
  t.regex(
    lossScript('eth0', 0.01),
    /delete table inet odonata\n.*random mod 1000000 < 10000 counter drop/s,
  );
  t.notRegex(lossScript('eth0', 0), /drop/);
});
