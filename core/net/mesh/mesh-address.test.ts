import { multiaddr } from '@multiformats/multiaddr';
import test from 'ava';
import { endpointOf, resolveAddress, tcpMultiaddr } from './mesh-address.ts';

const signal = new AbortController().signal;

async function texts(address: string): Promise<string[]> {
  return (await resolveAddress(address, signal)).map(String);
}

test('endpointOf() gives IP and port, and v4 in place of v4 mapped into v6', (t) => {
  const cases: readonly [string, string][] = [
    ['/ip4/10.0.0.1/tcp/8002', '10.0.0.1'],
    ['/ip6/fd00::1/tcp/8002', 'fd00::1'],
    ['/ip6/::ffff:192.168.1.200/tcp/8002', '192.168.1.200'],
    ['/ip6/::ffff:ff01:2/tcp/8002', '255.1.0.2'],
  ];
  for (const [text, ip] of cases) t.deepEqual(endpointOf(multiaddr(text)), { ip, port: 8002 });
});

test('tcpMultiaddr() speaks v4, v6, and v6 with a zone', (t) => {
  t.is(tcpMultiaddr('10.0.0.1', 1).toString(), '/ip4/10.0.0.1/tcp/1');
  t.is(tcpMultiaddr('::1', 1).toString(), '/ip6/::1/tcp/1');
  t.is(tcpMultiaddr('fe80::1%eth0', 1).toString(), '/ip6zone/eth0/ip6/fe80::1/tcp/1');
});

test('resolveAddress() takes addresses and names, and says what is neither', async (t) => {
  t.deepEqual(await texts('[::1]:8002'), ['/ip6/::1/tcp/8002']);
  t.true((await texts('localhost:8002')).includes('/ip4/127.0.0.1/tcp/8002'));
  for (const bad of ['', 'host', 'host:0', '::1:8002x', 'http://host:1', '1.2.3:80']) {
    await t.throwsAsync(texts(bad), { code: 'ERR_USAGE' }, bad);
  }
});
