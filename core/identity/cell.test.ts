import test from 'ava';
import { issueCellMap, issueCertificate, openCellMap, openCertificate } from './cell.ts';
import { seal } from './envelope.ts';
import { HostKey } from './host-key.ts';

const cell = HostKey.generate();
const { peerId } = HostKey.generate();

test('openCertificate() reads what issueCertificate() signed with the cell key', (t) => {
  const envelope = issueCertificate(cell, { supernode: peerId, now: 1000 });
  const expected = { supernode: peerId, notBefore: 1000, expires: 1000 + 90 * 86_400_000 };
  t.deepEqual(openCertificate(envelope, cell.peerId), expected);
});

test('openCertificate() refuses a certificate of another cell', (t) => {
  const envelope = issueCertificate(HostKey.generate(), { supernode: peerId, now: 1000 });
  t.throws(() => openCertificate(envelope, cell.peerId), {
    code: 'ERR_SIGNATURE',
    message: /another cell/,
  });
});

test('openCellMap() reads what issueCellMap() signed', (t) => {
  const map = {
    epoch: 3,
    supernodes: [{ peerId, addresses: ['192.0.2.1:8002', '[2001:db8::1]:8002'] }],
    revoked: [HostKey.generate().peerId],
  };
  t.deepEqual(openCellMap(issueCellMap(cell, map)), { map, signer: cell.peerId });
});

test('openCellMap() refuses lists that are too long or hold something else', (t) => {
  const map = { v: 1, epoch: 1, supernodes: [] as unknown, revoked: [] as unknown };
  const wrong = [
    { epoch: -1 },
    { revoked: ['me'] },
    { revoked: 'none' },
    { revoked: { length: 0 } },
    { supernodes: [null] },
    { supernodes: [{ peerId }] },
    { supernodes: [{ peerId: 'x', addresses: [] }] },
    { supernodes: [{ peerId, addresses: [7] }] },
    { supernodes: [{ peerId, addresses: [''] }] },
    { supernodes: [{ peerId, addresses: ['x'.repeat(257)] }] },
    { supernodes: [{ peerId, addresses: Array.from({ length: 17 }, () => 'a:1') }] },
    { supernodes: Array.from({ length: 1001 }, () => ({ peerId, addresses: [] })) },
  ];
  for (const part of wrong) {
    const [field = ''] = Object.keys(part);
    t.throws(() => openCellMap(seal('map', { ...map, ...part }, cell)), {
      code: 'ERR_SIGNATURE',
      message: `the map has a wrong field "${field}"`,
    });
  }
});

test('issueCellMap() has room for 14,000 revoked peers, and says when it has no more', (t) => {
  const revoked = Array.from({ length: 14_000 }, () => peerId);
  const envelope = issueCellMap(cell, { epoch: 1, supernodes: [], revoked });
  t.is(openCellMap(envelope).map.revoked.length, 14_000);
  const more = [...revoked, peerId];
  t.throws(() => issueCellMap(cell, { epoch: 1, supernodes: [], revoked: more }), {
    code: 'ERR_SIGNATURE',
  });
});
