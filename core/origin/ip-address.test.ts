import { BlockList, SocketAddress, isIP } from 'node:net';
import test from 'ava';
import * as fc from 'fast-check';
import { embeddedV4, inRange, parseIp, parseIpRange } from './ip-address.ts';

const family = (text: string): 'ipv4' | 'ipv6' => (isIP(text) === 4 ? 'ipv4' : 'ipv6');

const inner = (text: string): bigint | undefined => {
  const address = parseIp(text);
  return address && embeddedV4(address)?.value;
};

test('parseIp() reads v4 and every spelling of v6, and nothing else', (t) => {
  t.deepEqual(parseIp('1.2.3.4'), { family: 4, value: 0x01020304n });
  t.deepEqual(parseIp('::'), { family: 6, value: 0n });
  t.deepEqual(parseIp('::1'), { family: 6, value: 1n });
  t.deepEqual(parseIp('fe80::1%eth0'), { family: 6, value: (0xfe80n << 112n) | 1n });
  t.deepEqual(parseIp('::ffff:1.2.3.4'), { family: 6, value: 0xffff_0102_0304n });
  t.deepEqual(parseIp('1:2:3:4:5:6:7:8'), parseIp('0001:0002:3:4:5:6:0.7.0.8'));
  for (const text of [
    '',
    '1.2.3',
    '01.2.3.4',
    '2130706433',
    'localhost',
    ':::',
    '1::2::3',
    '[::1]',
  ]) {
    t.is(parseIp(text), undefined, text);
  }
});

test('inRange() agrees with the system on random addresses and blocks', (t) => {
  const text = fc.oneof(fc.ipV4(), fc.ipV6());
  fc.assert(
    fc.property(text, text, fc.nat(128), (address, network, bits) => {
      const prefixLength = isIP(network) === 4 ? bits % 33 : bits;
      const block = parseIpRange(`${network}/${prefixLength}`);
      const parsed = parseIp(address);
      if (block === undefined || parsed === undefined) return false;
      if (isIP(network) !== isIP(address)) return !inRange(parsed, block);
      const list = new BlockList();
      list.addSubnet(
        new SocketAddress({ address: network, family: family(network) }),
        prefixLength,
      );
      return inRange(parsed, block) === list.check(address, family(address));
    }),
  );
  t.pass();
});

test('parseIpRange() refuses what is no block and never throws', (t) => {
  for (const text of ['10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/8/8', '/8', '10/8', 'x/8']) {
    t.is(parseIpRange(text), undefined, text);
  }
  t.is(parseIpRange('10.1.2.3')?.prefixLength, 32);
  fc.assert(fc.property(fc.string(), (text) => (parseIpRange(text), true)));
});

test('embeddedV4() finds the v4 address that a v6 one leads to', (t) => {
  for (const text of ['::ffff:127.0.0.1', '::127.0.0.1', '64:ff9b::7f00:1', '2002:7f00:1::']) {
    t.is(inner(text), 0x7f000001n, text);
  }
  for (const text of ['::1', '::', 'fe80::1', '2001:db8::1', '127.0.0.1'])
    t.is(inner(text), undefined);
});
