import test from 'ava';
import * as fc from 'fast-check';
import { isInCidr, normaliseCidr } from './cidr.ts';

test('isInCidr() knows v4, v6, single addresses and v4-mapped v6 addresses', (t) => {
  const inside: [address: string, cidr: string][] = [
    ['10.1.2.3', '10.0.0.0/8'],
    ['10.1.2.3', '10.1.2.3/8'],
    ['10.1.2.3', '0.0.0.0/0'],
    ['10.1.2.3', '10.1.2.3'],
    ['::ffff:10.1.2.3', '10.0.0.0/8'],
    ['::ffff:0a01:0203', '10.0.0.0/8'],
    ['0:0:0:0:0:FFFF:10.1.2.3', '10.0.0.0/8'],
    ['10.1.2.3', '::ffff:10.0.0.0/104'],
    ['::ffff:10.1.2.3', '::ffff:10.1.2.3'],
    ['fd00::1', 'fd00::/8'],
    ['fe80::1%eth0', 'fe80::/10'],
    ['::1', '::1/128'],
    ['2001:db8::1', '::/0'],
  ];
  for (const [address, cidr] of inside) t.true(isInCidr(address, cidr), `${address} ${cidr}`);
  const outside: [address: string, cidr: string][] = [
    ['11.1.2.3', '10.0.0.0/8'],
    ['::ffff:11.1.2.3', '10.0.0.0/8'],
    ['10.1.2.4', '10.1.2.3'],
    ['10.1.2.3', '::/0'],
    ['::1', '0.0.0.0/0'],
    ['fc00::1', 'fd00::/8'],
    ['', '0.0.0.0/0'],
    ['10.1.2', '0.0.0.0/0'],
    ['10.1.2.3', '0.0.0.0/33'],
    ['10.1.2.3', ''],
  ];
  for (const [address, cidr] of outside) t.false(isInCidr(address, cidr), `${address} ${cidr}`);
});

function dotted(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

test('isInCidr() agrees with arithmetic on v4 addresses', (t) => {
  const number = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(number, number, fc.integer({ min: 0, max: 32 }), (net, noise, prefix) => {
      // Half of the addresses share the network's first bits.
      const host = noise % 2 === 0 ? noise : (net ^ (noise >>> prefix)) >>> 0;
      const size = 2 ** (32 - prefix);
      const expected = Math.floor(host / size) === Math.floor(net / size);
      return isInCidr(`::ffff:${dotted(host)}`, `${dotted(net)}/${prefix}`) === expected;
    }),
  );
  t.pass();
});

test('normaliseCidr() gives the plain form, or undefined for what is no network', (t) => {
  t.is(normaliseCidr('10.0.0.0/8'), '10.0.0.0/8');
  t.is(normaliseCidr('10.0.0.7'), '10.0.0.7/32');
  t.is(normaliseCidr('FD00:0::/8'), 'fd00::/8');
  t.is(normaliseCidr('::1'), '::1/128');
  t.is(normaliseCidr('::ffff:10.0.0.0/104'), '10.0.0.0/8');
  const malformed = ['', '/', '/8', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/8'];
  malformed.push('10.0.0.0/08', '10.0.0.0/8 ', '10.0/8', 'fd00::/129', '::ffff:10.0.0.0/95', 'x/8');
  for (const text of malformed) t.is(normaliseCidr(text), undefined, text);
  const pair = fc.tuple(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6()), fc.string());
  fc.assert(
    fc.property(pair, ([address, prefix]) => {
      const text = normaliseCidr(`${address}/${prefix}`);
      return text === undefined || normaliseCidr(text) === text;
    }),
  );
});
