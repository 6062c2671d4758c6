import test from 'ava';
import { CodedError } from '../base/error.ts';
import { AddressGuard } from './address-guard.ts';

const own = { ownAddresses: () => ['10.1.1.1', 'fd00::1'] };
const strict = new AddressGuard({ allow: [], ...own });

function refusal(guard: AddressGuard, ip: string, port = 80): CodedError | undefined {
  try {
    guard.check(ip, port);
    return undefined;
  } catch (error) {
    if (error instanceof CodedError) return error;
    throw error;
  }
}

test('AddressGuard.check() refuses the machine, its link and metadata services, naming the address', (t) => {
  const refused = [
    ['127.0.0.1', 'loopback'],
    ['127.8.8.8', 'loopback'],
    ['::1', 'loopback'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['64:ff9b::7f00:1', 'loopback'],
    ['169.254.169.254', 'link-local'],
    ['::ffff:169.254.169.254', 'link-local'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['febf::1', 'link-local'],
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['::', 'unspecified'],
    ['224.0.0.1', 'multicast'],
    ['ff02::1', 'multicast'],
    ['255.255.255.255', 'broadcast'],
    ['100.100.100.200', 'cloud metadata'],
    ['fd00:ec2::254', 'cloud metadata'],
    ['localhost', 'not an address'],
  ] as const;
  for (const [ip, reason] of refused) {
    const error = refusal(strict, ip, 443);
    t.is(error?.code, 'ERR_ORIGIN_FORBIDDEN', ip);
    t.deepEqual(error?.detail, { address: ip, port: 443, reason });
    t.true(error?.message.includes(ip));
  }
});

test('AddressGuard.check() lets private and public addresses pass', (t) => {
  const allowed = [
    '10.0.0.1',
    '192.168.1.1',
    '172.16.0.1',
    '100.64.0.1',
    '8.8.8.8',
    'fd00::2',
    '2001:db8::1',
    '::ffff:10.0.0.1',
  ];
  for (const ip of allowed) t.is(refusal(strict, ip), undefined, ip);
});

test('AddressGuard.check() opens what an allow entry names, in any spelling, and no more', (t) => {
  const guard = new AddressGuard({ allow: ['127.0.0.0/8', 'fe80::/64'], ...own });
  for (const ip of ['127.0.0.1', '::ffff:127.0.0.1', 'fe80::5'])
    t.is(refusal(guard, ip), undefined, ip);
  for (const ip of ['::1', '169.254.1.1', 'fe80:0:0:1::5']) {
    t.is(refusal(guard, ip)?.code, 'ERR_ORIGIN_FORBIDDEN', ip);
  }
});

test('AddressGuard.check() keeps its own ports shut on its own addresses even when they are allowed', (t) => {
  const guard = new AddressGuard({ allow: ['0.0.0.0/0', '::/0'], ...own });
  guard.addOwnPorts([8001]);
  guard.addOwnPorts([8002]);
  for (const ip of [
    '127.0.0.1',
    '127.9.9.9',
    '::1',
    '::ffff:127.0.0.1',
    '0.0.0.0',
    '10.1.1.1',
    '::ffff:10.1.1.1',
    'fd00::1',
  ]) {
    for (const port of [8001, 8002]) {
      t.is(refusal(guard, ip, port)?.detail['reason'], "one of this host's own ports", ip);
    }
    t.is(refusal(guard, ip, 80), undefined, ip);
  }
  t.is(refusal(guard, '10.1.1.2', 8002), undefined, "another host's port of that number");
});

test('AddressGuard.check() knows the addresses of its interfaces', (t) => {
  const guard = new AddressGuard({ allow: ['127.0.0.0/8'] });
  guard.addOwnPorts([8001]);
  t.is(refusal(guard, '127.0.0.1', 8001)?.code, 'ERR_ORIGIN_FORBIDDEN');
  t.is(refusal(guard, '192.0.2.1', 8001), undefined);
});

test('AddressGuard refuses a malformed range with ERR_CONFIG', (t) => {
  const error = t.throws(() => new AddressGuard({ allow: ['10.0.0.0/99'] }));
  t.is(error instanceof CodedError && error.code, 'ERR_CONFIG');
});

test('AddressGuard.open allows everything', (t) => {
  for (const ip of ['127.0.0.1', '::1', '169.254.169.254', '10.0.0.1']) {
    t.is(refusal(AddressGuard.open, ip, 8001), undefined, ip);
  }
});
