import test from 'ava';
import { ProxyAccess } from './access.ts';

const access = new ProxyAccess({
  allow: ['10.1.0.0/16', 'fd00::/8'],
  originAllow: ['127.0.0.0/8'],
});

test('userOf() knows programs on this host, hosts that are admitted, and everybody else', (t) => {
  const users = [
    ['127.0.0.1', '127.0.0.1', 'local'],
    ['127.0.0.1', '127.0.0.9', 'local'],
    ['::1', '::1', 'local'],
    ['::ffff:127.0.0.1', '::ffff:127.0.0.1', 'local'],
    // To one of this host's own addresses, from that address.
    ['192.0.2.7', '192.0.2.7', 'local'],
    ['::ffff:192.0.2.7', '::ffff:192.0.2.7', 'local'],
    ['10.1.2.3', '192.0.2.7', 'admitted'],
    ['::ffff:10.1.2.3', '::ffff:192.0.2.7', 'admitted'],
    ['fd00::5', 'fd00::6', 'admitted'],
    ['10.2.0.1', '192.0.2.7', 'stranger'],
    ['2001:db8::1', '2001:db8::2', 'stranger'],
    // Addresses that only look as if they led to loopback.
    ['64:ff9b::7f00:1', '2001:db8::2', 'stranger'],
    ['2002:7f00:1::', '2001:db8::2', 'stranger'],
    ['', '', 'stranger'],
  ] as const;
  for (const [remoteAddress, localAddress, user] of users) {
    t.is(access.userOf({ remoteAddress, localAddress }), user, remoteAddress);
  }
  t.is(access.userOf({}), 'stranger');
});

test('admit() lets nobody in by default but programs on this host, and names who was refused', (t) => {
  const closed = new ProxyAccess({ allow: [], originAllow: [] });
  t.is(closed.admit({ remoteAddress: '127.0.0.1', localAddress: '127.0.0.1' }), 'local');
  t.throws(() => closed.admit({ remoteAddress: '10.1.2.3', localAddress: '10.1.2.4' }), {
    code: 'ERR_FORBIDDEN',
    message: /^10\.1\.2\.3 may not use this proxy/,
  });
});

test('checkFor() opens what --origin-allow names to programs on this host only, and own ports to nobody', (t) => {
  const own = new ProxyAccess({ allow: ['0.0.0.0/0'], originAllow: ['127.0.0.0/8'] });
  own.addOwnPorts([65_001]);
  t.notThrows(() => own.checkFor('local')('127.0.0.1', 80));
  t.notThrows(() => own.checkFor('admitted')('10.0.0.1', 80));
  const code = 'ERR_ORIGIN_FORBIDDEN';
  for (const ip of ['127.0.0.1', '::1', '169.254.169.254', 'fe80::1', '100.100.100.200']) {
    t.throws(() => own.checkFor('admitted')(ip, 80), { code }, ip);
  }
  t.throws(() => own.checkFor('local')('169.254.169.254', 80), { code });
  t.throws(() => own.checkFor('local')('127.0.0.1', 65_001), { code });
});

test('a network that is none is refused', (t) => {
  t.throws(() => new ProxyAccess({ allow: ['ten'], originAllow: [] }), { code: 'ERR_CONFIG' });
});
