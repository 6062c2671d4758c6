import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../base/error.ts';
import { issueCellMap, issueCertificate } from './cell.ts';
import type { CellMap } from './cell.ts';
import { seal } from './envelope.ts';
import { HostKey } from './host-key.ts';
import { issueRecord } from './membership.ts';
import { issueTicket } from './ticket.ts';
import { CellTrust, expiryLeewayMs } from './trust.ts';

const NOW = 1_700_000_000_000;
const DAY = 86_400_000;
const TASK = 'ab'.repeat(32);
const VERSION = '0123456789abcdef';

function makeCell() {
  const [cell, supernode, host] = [HostKey.generate(), HostKey.generate(), HostKey.generate()];
  const trust = new CellTrust(cell.peerId);
  trust.addCertificate(issueCertificate(cell, { supernode: supernode.peerId, now: NOW }));
  return { cell, supernode, host, trust };
}

function mapOf(epoch: number, revoked: string[] = []): CellMap {
  return { epoch, supernodes: [], revoked };
}

function ticketFor(supernode: HostKey, child: string, now = NOW): string {
  return issueTicket(supernode, { task: TASK, version: VERSION, scope: '', child, now });
}

function recordFor(supernode: HostKey, peerId: string, role: 'host' | 'seed' = 'host'): string {
  return issueRecord(supernode, { peerId, role, idc: 'north', now: NOW });
}

test('new CellTrust() refuses a cell id that is no peer id', (t) => {
  t.throws(() => new CellTrust('my cell'), { code: 'ERR_SIGNATURE' });
});

test('CellTrust.verifySupernode() holds for certified keys, from notBefore to expiry', (t) => {
  const { trust, supernode, host } = makeCell();
  const end = NOW + 90 * DAY;
  t.notThrows(() => trust.verifySupernode(supernode.peerId, NOW));
  t.notThrows(() => trust.verifySupernode(supernode.peerId, NOW - expiryLeewayMs));
  t.notThrows(() => trust.verifySupernode(supernode.peerId, end + expiryLeewayMs - 1));
  const refusals: [peerId: string, now: number, message: RegExp][] = [
    [host.peerId, NOW, /no certificate/],
    [supernode.peerId, NOW - expiryLeewayMs - 1, /not hold yet/],
    [supernode.peerId, end + expiryLeewayMs, /expired/],
  ];
  for (const [peerId, now, message] of refusals) {
    t.throws(() => trust.verifySupernode(peerId, now), { code: 'ERR_NOT_MEMBER', message });
  }
});

test('CellTrust.addCertificate() takes overlapping certificates, and none of another cell', (t) => {
  const { trust, cell, supernode } = makeCell();
  const next = issueCertificate(cell, { supernode: supernode.peerId, now: NOW + 80 * DAY });
  t.true(trust.addCertificate(next));
  t.false(trust.addCertificate(next));
  for (const day of [0, 79, 85, 100, 169]) {
    t.notThrows(() => trust.verifySupernode(supernode.peerId, NOW + day * DAY), `day ${day}`);
  }
  t.throws(() => trust.verifySupernode(supernode.peerId, NOW + 171 * DAY));
  const foreign = issueCertificate(HostKey.generate(), { supernode: supernode.peerId, now: NOW });
  t.throws(() => trust.addCertificate(foreign), { code: 'ERR_SIGNATURE' });
  t.is(trust.certificates().length, 2);
});

test('CellTrust.addCertificate() bounds what it keeps, dropping what expires first', (t) => {
  const { trust, cell, supernode } = makeCell();
  const later = Array.from({ length: 1024 }, (_, index) =>
    issueCertificate(cell, { supernode: supernode.peerId, now: NOW + DAY + index }),
  );
  for (const certificate of later) trust.addCertificate(certificate);
  t.deepEqual(trust.certificates(), later);
});

test('CellTrust.verifyRecord() gives the record of that peer until it ends', (t) => {
  const { trust, supernode, host } = makeCell();
  const envelope = recordFor(supernode, host.peerId, 'seed');
  const { peerId } = host;
  const record = trust.verifyRecord(envelope, { peerId, now: NOW });
  t.like(record, { peerId, role: 'seed', idc: 'north', expires: NOW + DAY });
  const last = NOW + DAY + expiryLeewayMs - 1;
  t.is(trust.verifyRecord(envelope, { peerId, now: last }), record, 'opened once');
  t.throws(() => trust.verifyRecord(envelope, { peerId, now: last + 1 }), {
    code: 'ERR_NOT_MEMBER',
    message: /expired/,
  });
  t.throws(() => trust.verifyRecord(envelope, { peerId: supernode.peerId, now: NOW }), {
    code: 'ERR_NOT_MEMBER',
    message: /another peer/,
  });
});

test('CellTrust.verifyRecord() refuses records that no supernode of the cell signed', (t) => {
  const { trust, cell, host } = makeCell();
  const { peerId } = host;
  for (const signer of [host, cell, HostKey.generate()]) {
    t.throws(() => trust.verifyRecord(recordFor(signer, peerId), { peerId, now: NOW }), {
      code: 'ERR_SIGNATURE',
      message: /issuer of the record has no certificate/,
    });
  }
  const late = NOW + 90 * DAY + expiryLeewayMs;
  t.throws(() => trust.verifyRecord(recordFor(HostKey.generate(), peerId), { peerId, now: late }), {
    code: 'ERR_SIGNATURE',
  });
});

test('CellTrust.verifyTicket() holds for its child, task and version until it ends', (t) => {
  const { trust, supernode, host } = makeCell();
  const envelope = ticketFor(supernode, host.peerId);
  const expected = { child: host.peerId, task: TASK, version: VERSION, now: NOW };
  const ticket = trust.verifyTicket(envelope, expected);
  t.like(ticket, { child: host.peerId, task: TASK, version: VERSION, expires: NOW + 900_000 });
  const last = NOW + 900_000 + expiryLeewayMs - 1;
  t.is(trust.verifyTicket(envelope, { ...expected, now: last }), ticket, 'opened once');
  const wrong: [part: Partial<typeof expected>, message: RegExp][] = [
    [{ child: supernode.peerId }, /another peer/],
    [{ task: 'cd'.repeat(32) }, /another task/],
    [{ version: 'fedcba9876543210' }, /another version/],
    [{ now: last + 1 }, /expired/],
  ];
  for (const [part, message] of wrong) {
    t.throws(() => trust.verifyTicket(envelope, { ...expected, ...part }), {
      code: 'ERR_TICKET',
      message,
    });
  }
  const record = recordFor(supernode, host.peerId);
  t.throws(() => trust.verifyTicket(record, expected), { code: 'ERR_SIGNATURE' });
});

test('CellTrust.verifyTicket() lets a ticket outlive its expiry until graceUntil', (t) => {
  const { trust, supernode, host } = makeCell();
  const envelope = ticketFor(supernode, host.peerId);
  const expected = { child: host.peerId, task: TASK, version: VERSION, graceUntil: NOW + DAY };
  t.notThrows(() => trust.verifyTicket(envelope, { ...expected, now: NOW + DAY }));
  const now = NOW + DAY + expiryLeewayMs;
  t.throws(() => trust.verifyTicket(envelope, { ...expected, now }), { code: 'ERR_TICKET' });
});

test('CellTrust.applyCellMap() revokes hosts and supernodes, also in what was verified before', (t) => {
  const { trust, cell, supernode, host } = makeCell();
  const { peerId } = host;
  const [record, ticket] = [recordFor(supernode, peerId), ticketFor(supernode, peerId)];
  const expected = { child: peerId, task: TASK, version: VERSION, now: NOW };
  trust.verifyRecord(record, { peerId, now: NOW });
  trust.verifyTicket(ticket, expected);

  t.true(trust.applyCellMap(issueCellMap(supernode, mapOf(1, [peerId])), NOW));
  t.true(trust.isRevoked(peerId));
  t.throws(() => trust.verifyRecord(record, { peerId, now: NOW }), { code: 'ERR_NOT_MEMBER' });
  t.throws(() => trust.verifyTicket(ticket, expected), { code: 'ERR_NOT_MEMBER' });

  t.true(trust.applyCellMap(issueCellMap(cell, mapOf(2, [supernode.peerId])), NOW));
  t.false(trust.isRevoked(peerId));
  const message = /revoked/;
  t.throws(() => trust.verifyRecord(record, { peerId, now: NOW }), {
    code: 'ERR_SIGNATURE',
    message,
  });
  t.throws(() => trust.verifyTicket(ticket, expected), { code: 'ERR_SIGNATURE', message });
  t.throws(() => trust.verifySupernode(supernode.peerId, NOW), { code: 'ERR_NOT_MEMBER' });
  t.throws(() => trust.verifyManifestSigner(supernode.peerId, NOW), { code: 'ERR_SIGNATURE' });
});

test('CellTrust.applyCellMap() ignores a map that is not newer', (t) => {
  const { trust, cell, supernode, host } = makeCell();
  t.true(trust.applyCellMap(issueCellMap(supernode, mapOf(5, [host.peerId])), NOW));
  for (const epoch of [0, 4, 5]) {
    t.false(trust.applyCellMap(issueCellMap(supernode, mapOf(epoch)), NOW));
    t.false(trust.applyCellMap(issueCellMap(cell, mapOf(epoch)), NOW));
  }
  t.true(trust.isRevoked(host.peerId));
  t.is(trust.cellMap()?.epoch, 5);
});

test('CellTrust.applyCellMap() refuses a map that no supernode in good standing signed', (t) => {
  const { trust, cell, supernode, host } = makeCell();
  t.throws(() => trust.applyCellMap(issueCellMap(host, mapOf(9)), NOW), { code: 'ERR_SIGNATURE' });
  const late = NOW + 91 * DAY;
  t.throws(() => trust.applyCellMap(issueCellMap(supernode, mapOf(9)), late), {
    code: 'ERR_SIGNATURE',
    message: /expired/,
  });
  trust.applyCellMap(issueCellMap(cell, mapOf(1, [supernode.peerId])), NOW);
  t.throws(() => trust.applyCellMap(issueCellMap(supernode, mapOf(9)), NOW), {
    code: 'ERR_SIGNATURE',
    message: /revoked/,
  });
});

test('the cell key takes the map back from a stolen supernode key, whatever epoch that set', (t) => {
  const { trust, cell, supernode, host } = makeCell();
  const other = HostKey.generate();
  trust.addCertificate(issueCertificate(cell, { supernode: other.peerId, now: NOW }));
  const hostile = issueCellMap(supernode, mapOf(Number.MAX_SAFE_INTEGER, [other.peerId]));
  t.true(trust.applyCellMap(hostile, NOW));
  t.true(trust.applyCellMap(issueCellMap(cell, mapOf(7, [supernode.peerId])), NOW));
  t.false(trust.isRevoked(other.peerId));
  t.throws(() => trust.applyCellMap(hostile, NOW), { code: 'ERR_SIGNATURE' });
  const next = issueCellMap(other, mapOf(8, [supernode.peerId, host.peerId]));
  t.true(trust.applyCellMap(next, NOW));
  t.is(trust.cellMap()?.epoch, 8);
});

test('one supernode takes the map back from another by a higher epoch only', (t) => {
  const { trust, cell, supernode } = makeCell();
  const other = HostKey.generate();
  trust.addCertificate(issueCertificate(cell, { supernode: other.peerId, now: NOW }));
  t.true(trust.applyCellMap(issueCellMap(supernode, mapOf(9)), NOW));
  t.false(trust.applyCellMap(issueCellMap(other, mapOf(8, [supernode.peerId])), NOW));
  t.true(trust.applyCellMap(issueCellMap(other, mapOf(10, [supernode.peerId])), NOW));
});

test('CellTrust.verifyManifestSigner() takes supernodes, and seeds who show their record', (t) => {
  const { trust, supernode, host } = makeCell();
  const signer = host.peerId;
  t.notThrows(() => trust.verifyManifestSigner(supernode.peerId, NOW));
  t.notThrows(() => trust.verifyManifestSigner(signer, NOW, recordFor(supernode, signer, 'seed')));
  const other = HostKey.generate().peerId;
  const records = [
    undefined,
    recordFor(supernode, signer, 'host'),
    recordFor(supernode, other, 'seed'),
    recordFor(host, signer, 'seed'),
    'v1.record',
  ];
  for (const record of records) {
    t.throws(() => trust.verifyManifestSigner(signer, NOW, record), { code: 'ERR_SIGNATURE' });
  }
  const seed = recordFor(supernode, signer, 'seed');
  t.throws(() => trust.verifyManifestSigner(signer, NOW + 2 * DAY, seed), {
    code: 'ERR_SIGNATURE',
    message: /expired/,
  });
});

test('CellTrust.fromData() rebuilds the trust, and checks signatures again', (t) => {
  const { trust, supernode, host } = makeCell();
  t.deepEqual(CellTrust.fromData(trust.toData()).toData(), trust.toData());
  trust.applyCellMap(issueCellMap(supernode, mapOf(3, [host.peerId])), NOW);
  const data = structuredClone(trust.toData());
  const copy = CellTrust.fromData(data);
  t.deepEqual(copy.toData(), trust.toData());
  t.true(copy.isRevoked(host.peerId));
  t.notThrows(() => copy.verifySupernode(supernode.peerId, NOW));
  const forged = [
    { ...data, cell: host.peerId },
    { ...data, certificates: [] },
    { ...data, map: issueCellMap(host, mapOf(4)) },
  ];
  for (const wrong of forged) {
    t.throws(() => CellTrust.fromData(wrong), { code: 'ERR_SIGNATURE' });
  }
});

test('core/identity is light enough for workers: node:, core/base and lru-cache only', async (t) => {
  const allowed = /^(node:[a-z/]+|\.\.\/base\/[a-z-]+\.ts|\.\/[a-z-]+\.ts|lru-cache)$/;
  const files = (await readdir(import.meta.dirname)).filter((name) => !name.endsWith('.test.ts'));
  t.true(files.includes('trust.ts'));
  for (const file of files) {
    const source = await readFile(new URL(file, import.meta.url), 'utf8');
    const imports = [...source.matchAll(/(?:from|import) '([^']+)'/g)].map(([, name = '']) => name);
    for (const name of imports) t.regex(name, allowed, file);
  }
});

test('a worker thread verifies tickets with a CellTrust from plain data', async (t) => {
  const { trust, supernode, host } = makeCell();
  const code = `
    import { parentPort, workerData } from 'node:worker_threads';
    const { CellTrust } = await import(workerData.module);
    const ticket = CellTrust.fromData(workerData.trust).verifyTicket(workerData.ticket, workerData.expected);
    parentPort.postMessage(ticket);`;
  const expected = { child: host.peerId, task: TASK, version: VERSION, now: NOW };
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
    workerData: {
      module: new URL('./trust.ts', import.meta.url).href,
      trust: trust.toData(),
      ticket: ticketFor(supernode, host.peerId),
      expected,
    },
  });
  const [ticket] = await once(worker, 'message');
  await worker.terminate();
  t.like(ticket, { child: host.peerId, task: TASK });
});

test('CellTrust throws nothing but CodedErrors, whatever a certified supernode signs', (t) => {
  const { trust, supernode, host } = makeCell();
  const { peerId } = host;
  const field = fc.oneof(fc.jsonValue(), fc.constantFrom(peerId, TASK, VERSION, 'host', 1, NOW));
  const names = ['v', 'peerId', 'role', 'idc', 'location', 'issued', 'expires', 'child', 'task'];
  const body = fc.dictionary(fc.constantFrom(...names, 'revoked', 'supernodes', 'epoch'), field);
  fc.assert(
    fc.property(body, (fields) => {
      const signed = { v: 1, ...fields };
      const expected = { child: peerId, task: TASK, version: VERSION, now: NOW };
      const readers = [
        () => trust.verifyRecord(seal('record', signed, supernode), { peerId, now: NOW }),
        () => trust.verifyTicket(seal('ticket', signed, supernode), expected),
        () => trust.applyCellMap(seal('map', signed, supernode), NOW),
        () => trust.addCertificate(seal('cert', signed, supernode)),
      ];
      return readers.every((read) => {
        try {
          read();
          return true;
        } catch (error) {
          return error instanceof CodedError;
        }
      });
    }),
    { numRuns: 200 },
  );
  t.pass();
});
