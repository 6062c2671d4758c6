import test from 'ava';
import { assert, domain, integer, ipV4, ipV6, oneof, property } from 'fast-check';
import { formatHostPort, parseCidr, parseHostPort, parseIp } from './addresses.ts';

test('parseHostPort() reads names, v4 and bracketed v6', (t) => {
  t.deepEqual(parseHostPort('seed.example:8002'), { host: 'seed.example', port: 8002 });
  t.deepEqual(parseHostPort('10.0.0.1:80'), { host: '10.0.0.1', port: 80 });
  t.deepEqual(parseHostPort('[::1]:8002'), { host: '::1', port: 8002 });
});

test('parseHostPort() fills in the default port, for a bare v6 address too', (t) => {
  t.deepEqual(parseHostPort('seed', 8002), { host: 'seed', port: 8002 });
  t.deepEqual(parseHostPort('[fd00::2]', 8002), { host: 'fd00::2', port: 8002 });
  t.deepEqual(parseHostPort('fd00::2', 8002), { host: 'fd00::2', port: 8002 });
  t.is(parseHostPort('seed'), undefined);
});

test('parseHostPort() refuses what is neither', (t) => {
  const wrong = [
    '',
    ':80',
    'a:',
    'a:0',
    'a:65536',
    'a:b',
    'a b:1',
    '[::1',
    '[x]:1',
    '1.2.3:1',
    '::1:',
  ];
  for (const text of [...wrong, '256.1.1.1:80', 'a..b:1', '-a:1', 'http://a:1', 'a:1:2']) {
    t.is(parseHostPort(text, 8002), undefined, text);
  }
});

test('formatHostPort() is read back as the same address', (t) => {
  const host = oneof(ipV4(), ipV6(), domain());
  assert(
    property(host, integer({ min: 1, max: 65_535 }), (name, port) => {
      t.deepEqual(parseHostPort(formatHostPort({ host: name, port })), { host: name, port });
    }),
  );
});

test('parseIp() takes v6 with or without brackets', (t) => {
  t.is(parseIp('[::]'), '::');
  t.is(parseIp('::1'), '::1');
  t.is(parseIp('0.0.0.0'), '0.0.0.0');
  t.is(parseIp('localhost'), undefined);
});

test('parseCidr() reads networks and single addresses, and refuses long prefixes', (t) => {
  t.deepEqual(parseCidr('10.0.0.0/8'), { address: '10.0.0.0', prefix: 8, family: 'ipv4' });
  t.deepEqual(parseCidr('fd00::/8'), { address: 'fd00::', prefix: 8, family: 'ipv6' });
  t.deepEqual(parseCidr('127.0.0.1'), { address: '127.0.0.1', prefix: 32, family: 'ipv4' });
  for (const text of [
    '',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '::/129',
    'a/8',
    '10.0.0.0/-1',
  ]) {
    t.is(parseCidr(text), undefined, text);
  }
});
