import test from 'ava';
import { issueCellMap, issueCertificate } from './cell.ts';
import { issueControlCertificate } from './control-certificate.ts';
import { HostKey } from './host-key.ts';
import { RevocationAge } from './revocation-age.ts';
import type { StampedList } from './revocation-age.ts';
import { digestOfRevoked, issueRevocationStamp, openRevocationStamp } from './revocation-stamp.ts';
import type { RevocationStamp } from './revocation-stamp.ts';
import { CellTrust } from './trust.ts';

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A cell with real keys, and what one of its hosts knows. */
class Cell {
  readonly cellKey = HostKey.generate();
  readonly supernode = HostKey.generate();
  readonly control = HostKey.generate();
  readonly trust = new CellTrust(this.cellKey.peerId);
  readonly age = new RevocationAge(this.trust);

  constructor() {
    const { peerId: supernode } = this.supernode;
    this.trust.addCertificate(issueCertificate(this.cellKey, { supernode, now: NOW }));
  }

  map(epoch: number, revoked: readonly string[] = [], now = NOW): void {
    const envelope = issueCellMap(this.supernode, { epoch, supernodes: [], revoked });
    this.trust.applyCellMap(envelope, now);
  }

  stamp(
    fields: Partial<RevocationStamp> & { readonly revoked?: readonly string[] } = {},
    signer = this.control,
  ): StampedList {
    const { revoked = [], ...rest } = fields;
    const cell = this.cellKey.peerId;
    const digest = digestOfRevoked(revoked);
    const stamp = { cell, epoch: 1, digest, issued: NOW, ...rest };
    return { stamp: issueRevocationStamp(signer, stamp), certificate: this.certificate(signer) };
  }

  certificate(control: HostKey, now = NOW): string {
    return issueControlCertificate(this.cellKey, { control: control.peerId, now });
  }

  problem(now: number, epoch?: number): string | undefined {
    return this.age.problem({ now, maxAgeMs: DAY_MS, epoch });
  }
}

test('RevocationAge finds a list young for as long as it is told, and clocks 10 minutes apart change nothing', (t) => {
  const cell = new Cell();
  cell.map(1);
  t.true(cell.age.take(cell.stamp(), NOW));
  t.is(cell.problem(NOW), undefined);
  t.is(cell.problem(NOW + DAY_MS), undefined);
  t.regex(cell.problem(NOW + DAY_MS + HOUR_MS) ?? '', /is 25\.0 h old, and may be 24\.0 h$/);
  t.is(cell.problem(NOW - 600_000), undefined, 'the clock of the cell was set back');
  t.regex(cell.problem(NOW - DAY_MS) ?? '', /future/);
  t.true(cell.age.take(cell.stamp({ issued: NOW + DAY_MS }), NOW + DAY_MS - 600_000));
  t.is(cell.problem(NOW + DAY_MS + HOUR_MS), undefined);
});

test('RevocationAge holds the newest date, by version and then by time', (t) => {
  const cell = new Cell();
  cell.map(7);
  t.true(cell.age.take(cell.stamp({ epoch: 7 }), NOW));
  const { stamp } = cell.age.toData() ?? cell.stamp();
  const older = [
    cell.stamp({ epoch: 7 }),
    cell.stamp({ epoch: 7, issued: NOW - 1 }),
    cell.stamp({ epoch: 6, issued: NOW + HOUR_MS }),
  ];
  for (const list of older) t.false(cell.age.take(list, NOW));
  t.is(cell.age.toData()?.stamp, stamp);
  t.true(cell.age.take(cell.stamp({ epoch: 7, issued: NOW + 1 }), NOW));
  // A clock that was set back: the version tells.
  cell.map(8);
  t.true(cell.age.take(cell.stamp({ epoch: 8, issued: NOW - 600_000 }), NOW));
});

test('RevocationAge lets what is dated far in the future give way, for it counts for nothing', (t) => {
  const cell = new Cell();
  cell.map(1);
  t.true(cell.age.take(cell.stamp({ issued: NOW + 365 * DAY_MS }), NOW));
  t.regex(cell.problem(NOW) ?? '', /future/);
  t.true(cell.age.take(cell.stamp(), NOW));
  t.is(cell.problem(NOW), undefined);
});

test('RevocationAge takes dates from a control key of the cell alone, and of this cell', (t) => {
  const cell = new Cell();
  const [other, stranger] = [HostKey.generate(), HostKey.generate()];
  cell.map(1);
  const good = cell.stamp();
  const elsewhere = issueControlCertificate(other, { control: stranger.peerId, now: NOW });
  const [version, kind, , signer, signature] = good.stamp.split('.');
  const body = { ...openRevocationStamp(good.stamp).stamp, v: 1, issued: NOW + DAY_MS };
  const edited = Buffer.from(JSON.stringify(body)).toString('base64url');
  const wrong: StampedList[] = [
    // A supernode's own, with the certificate of the real key, and with one of another cell.
    { ...cell.stamp({}, cell.supernode), certificate: good.certificate },
    { ...cell.stamp({}, stranger), certificate: elsewhere },
    { ...good, stamp: [version, kind, edited, signer, signature].join('.') },
    cell.stamp({ cell: other.peerId }),
    { ...good, certificate: cell.certificate(cell.control, NOW - 400 * DAY_MS) },
    { ...good, certificate: cell.certificate(cell.control, NOW + DAY_MS) },
  ];
  for (const list of wrong) {
    t.throws(() => cell.age.take(list, NOW), { code: 'ERR_SIGNATURE' });
  }
  t.is(cell.age.toData(), undefined);
  t.true(cell.age.take(good, NOW));
});

test('RevocationAge knows when the list is not the one that was dated', (t) => {
  const gone = HostKey.generate().peerId;
  const withheld = new Cell();
  withheld.map(1);
  t.true(withheld.age.take(withheld.stamp({ epoch: 2, revoked: [gone] }), NOW));
  t.regex(withheld.problem(NOW) ?? '', /not given it/);
  withheld.map(2, [gone]);
  t.is(withheld.problem(NOW), undefined);
  // Whoever passes lists on holds a supernode's key, and makes a newer one without the revocation.
  withheld.map(3);
  t.false(withheld.trust.isRevoked(gone));
  t.regex(withheld.problem(NOW) ?? '', /another than the control key dated/);
});

test('RevocationAge believes the epoch of an order, also where no list was ever dated', (t) => {
  const cell = new Cell();
  t.is(cell.problem(NOW), undefined, 'a cell of an earlier version dates nothing');
  t.regex(cell.problem(NOW, 1) ?? '', /newer list/);
  cell.map(1);
  t.regex(cell.problem(NOW, 1) ?? '', /never given a dated list/);
  t.true(cell.age.take(cell.stamp(), NOW));
  t.is(cell.problem(NOW, 1), undefined);
  t.regex(cell.problem(NOW, 2) ?? '', /newer list/);
});

test('RevocationAge: a control key that is revoked dates nothing any more, and gives way to the next', (t) => {
  const cell = new Cell();
  const next = HostKey.generate();
  const revoked = [cell.control.peerId];
  cell.map(1);
  t.true(cell.age.take(cell.stamp({ issued: NOW + 60_000 }), NOW));
  cell.map(2, revoked);
  t.regex(cell.problem(NOW) ?? '', /is revoked$/);
  t.throws(() => cell.age.take(cell.stamp({ epoch: 3, revoked }), NOW), { code: 'ERR_SIGNATURE' });
  t.true(cell.age.take(cell.stamp({ epoch: 2, revoked }, next), NOW));
  t.is(cell.problem(NOW), undefined);
});

test('RevocationAge is as old after a restart as it was', (t) => {
  const cell = new Cell();
  cell.map(1);
  t.true(cell.age.take(cell.stamp(), NOW));
  const data = cell.age.toData();
  const again = new RevocationAge(CellTrust.fromData(cell.trust.toData()));
  if (data !== undefined) again.recall(data);
  const limit = { maxAgeMs: DAY_MS };
  t.is(again.problem({ ...limit, now: NOW + DAY_MS }), undefined);
  t.regex(again.problem({ ...limit, now: NOW + 200 * DAY_MS }) ?? '', /4800\.0 h old/);
  t.false(again.take(cell.stamp({ issued: NOW - 1 }), NOW));
});
