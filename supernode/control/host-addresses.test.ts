import test from 'ava';
import { HostAddresses } from './host-addresses.ts';

const own = { hosts: ['10.0.0.1'], ports: [8001, 8002, 8003] };
const strict = new HostAddresses({ allow: [], own });
const open = new HostAddresses({ allow: ['0.0.0.0/0', '::/0'], own });

test('choose() takes the address that a host connects from, in any spelling, and no other', (t) => {
  const addresses = ['10.0.0.7:65002', '10.0.0.8:65002', '[::ffff:10.0.0.7]:1', 'node-7:65002'];
  t.deepEqual(strict.choose({ addresses, linkPort: 9 }, '10.0.0.7'), {
    taken: ['10.0.0.7:65002', '[::ffff:10.0.0.7]:1'],
    refused: ['10.0.0.8:65002', 'node-7:65002'],
  });
  const v6 = { addresses: ['[fd00:0::7]:65002'] };
  t.deepEqual(strict.choose(v6, 'fd00::7').refused, []);
});

test('choose() falls back on the address that a host connects from', (t) => {
  const named = { addresses: ['10.0.0.8:65002'], linkPort: 65_002 };
  t.deepEqual(strict.choose(named, '10.0.0.7').taken, ['10.0.0.7:65002']);
  t.deepEqual(strict.choose({ addresses: [], linkPort: 1 }, 'fd00::7').taken, ['[fd00::7]:1']);
  t.deepEqual(strict.choose({ addresses: [] }, '10.0.0.7').taken, []);
});

test('choose() takes what the operator allows, in its networks only', (t) => {
  const some = new HostAddresses({ allow: ['10.1.0.0/16'], own });
  const addresses = ['10.1.0.7:65002', '10.2.0.7:65002', '[fd00::7]:65002'];
  t.deepEqual(some.choose({ addresses }, '10.0.0.7').taken, ['10.1.0.7:65002']);
});

test('choose() takes nothing for a host that is of every machine, of the link, or of the supernode, whatever is allowed', (t) => {
  const addresses = [
    '127.0.0.1:22',
    '0.0.0.0:22',
    '169.254.169.254:80',
    '100.100.100.200:80',
    '224.0.0.1:1',
    '[::1]:22',
    '[fe80::1]:22',
    '[::ffff:127.0.0.1]:22',
    '10.0.0.1:8003',
    '10.0.0.1:22',
    'localhost:22',
    'no-port',
  ];
  t.deepEqual(open.choose({ addresses }, '10.0.0.7'), { taken: [], refused: addresses });
});

test('choose() takes what is of this machine from a host of this machine, and nothing else', (t) => {
  const addresses = ['127.0.0.2:65002', '[::1]:65002', '10.0.0.1:65002'];
  t.deepEqual(strict.choose({ addresses }, '127.0.0.1'), { taken: addresses, refused: [] });
  const others = { addresses: ['10.0.0.7:65002', '169.254.169.254:80'], linkPort: 1 };
  t.deepEqual(strict.choose(others, '::1').taken, ['[::1]:1']);
});

test('choose() takes eight at most, and none twice', (t) => {
  const addresses = Array.from({ length: 16 }, (_unused, at) => `10.1.0.${at + 1}:65002`);
  t.deepEqual(open.choose({ addresses }, '10.0.0.7'), {
    taken: addresses.slice(0, 8),
    refused: addresses.slice(8),
  });
  const twice = { addresses: ['10.0.0.7:1', '10.0.0.7:1'] };
  t.deepEqual(strict.choose(twice, '10.0.0.7'), { taken: ['10.0.0.7:1'], refused: [] });
});
