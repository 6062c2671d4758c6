import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { deviceOf, parseDiskstats, parseOwnIo, parsePressure } from './disk-counters.ts';
import { ownInterfaces, parseInterfaces, readLine } from './line-counters.ts';

const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 900000 10 0 0 0 0 0 0 900000 10 0 0 0 0 0 0
  eth0:151400     100    0    0    0     0          0         0  6600      100    0    0    0     0       0          0
 wlan0: 1066 1 0 0 0 0 0 0 2132 2 0 0 0 0 0 0
`;

test('parseInterfaces() adds the payload of the interfaces that count', (t) => {
  const all = parseInterfaces(NET_DEV, (name) => name !== 'lo');
  t.deepEqual(all, { received: 144_800 + 1000, sent: 2000 });
  t.deepEqual(
    parseInterfaces('garbage\n x: 1', () => true),
    { received: 1, sent: 0 },
  );
});

test('ownInterfaces() counts each byte once: hardware, else what stands on nothing else', async (t) => {
  const folder = temporaryFolder('net');
  const add = (name: string, ...parts: string[]): void => {
    mkdirSync(join(folder, name));
    for (const part of ['mtu', ...parts]) writeFileSync(join(folder, name, part), '');
  };
  add('lo');
  add('eth0');
  add('br0', 'bridge');
  add('vx0', 'lower_eth0');
  add('tun0', 'tun_flags');
  writeFileSync(join(folder, 'bonding_masters'), '');
  t.deepEqual(await ownInterfaces(folder), ['eth0']);
  add('ens1', 'device');
  t.deepEqual(await ownInterfaces(folder), ['ens1']);
});

test('readLine() reads this machine', (t) => {
  const { received, sent } = readLine(['lo']);
  t.true(Number.isFinite(received) && Number.isFinite(sent));
  t.is(received, sent);
});

const DISKSTATS = ` 254       0 vda 559909 76854 65288218 1899830 1666783 889667 1383422208 16905512 0 1076596 19261883 796392 3023 1359280048 384031 295445 72509
 254       1 vda1 1 2 3 4 5 6 7 8 9 10 11
`;

test('parseDiskstats() finds the device, and says so when there is none', (t) => {
  t.deepEqual(parseDiskstats(DISKSTATS, { major: 254, minor: 0 }), {
    read: 65_288_218 * 512,
    written: 1_383_422_208 * 512,
    busyMs: 1_076_596,
  });
  t.like(parseDiskstats(DISKSTATS, { major: 254, minor: 1 }), { read: 3 * 512, busyMs: 10 });
  t.is(parseDiskstats(DISKSTATS, { major: 0, minor: 25 }), undefined);
});

test('parseOwnIo() and parsePressure() read what the kernel tells of this process and its waits', (t) => {
  const io = 'rchar: 6976\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 1024\n';
  t.deepEqual(parseOwnIo(io), { ownRead: 4096, ownWritten: 7168 });
  t.deepEqual(parseOwnIo(''), { ownRead: 0, ownWritten: 0 });
  t.is(
    parsePressure('some avg10=0.16 avg60=0.35 avg300=0.58 total=556380258\nfull total=9'),
    556_380.258,
  );
  t.is(parsePressure(''), undefined);
});

test('deviceOf() names the device of a folder as /proc/self/mountinfo does', async (t) => {
  const { major, minor } = await deviceOf('/proc');
  t.is(major, 0);
  t.true(minor > 0);
});
