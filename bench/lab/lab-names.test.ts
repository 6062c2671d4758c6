import test from 'ava';
import { LabAddresses, MAX_LABS, MAX_LAB_HOSTS, harnessDevice, labName } from './lab-names.ts';

test('LabAddresses of two labs have nothing in common, and none leaves the network set aside', (t) => {
  const [first, second, last] = [0, 1, MAX_LABS - 1].map((network) => new LabAddresses(network));
  t.is(first?.wire(1), '198.18.0.1');
  t.is(first?.over(MAX_LAB_HOSTS), '198.19.3.232');
  t.is(first?.harness, '198.18.15.254');
  t.is(second?.wire(1), '198.18.16.1');
  t.is(last?.harness, '198.18.255.254');
});

test('labName() refuses what would not fit a device name', (t) => {
  t.true(harnessDevice(labName('abcdefg8')).length <= 15);
  for (const bad of ['', 'abcdefghi', 'A', 'a-b', '../x', 'a b']) {
    t.throws(() => labName(bad), { code: 'ERR_USAGE', message: /a lab is named by/ });
  }
});
