import test from 'ava';
import { array, assert, integer, property, record } from 'fast-check';
import type { TaskShape } from '../../core/wire/messages.ts';
import { SwarmTable } from './swarm-table.ts';

const KIB = 1024;
const pieceLength = 256 * KIB;

function hex(number: number, digits: number): string {
  return number.toString(16).padStart(digits, '0');
}

/** The shape of a version of four pieces, unless `rest` says otherwise. */
function shapeOf(version: number, rest: Partial<TaskShape> = {}): TaskShape {
  const length = 3 * pieceLength + 1;
  return { version: hex(version, 16), pieceLength, length, validators: {}, ...rest };
}

test('the first copy of a piece is told from the others, and what is nowhere is missing', (t) => {
  const table = new SwarmTable();
  const version = table.addVersion(hex(1, 64), shapeOf(1));
  const one = table.join(version, 'one');
  const other = table.join(version, 'other');
  t.true(version.had(one, 2));
  t.false(version.had(other, 2));
  t.false(version.had(one, 2), 'it had it before');
  t.false(version.had(one, 4), 'there is no such piece');
  t.is(version.copies(2), 2);
  t.deepEqual(version.missing(), [0, 1, 3]);
  version.lost(one, 2);
  version.lost(one, 2);
  t.is(version.copies(2), 1);
  table.removeHost('other');
  t.deepEqual(version.missing(), [0, 1, 2, 3]);
});

test('a host is complete once it has every piece, and no longer when it loses one', (t) => {
  const table = new SwarmTable();
  const version = table.addVersion(hex(1, 64), shapeOf(1));
  const entry = table.join(version, 'one');
  entry.isActive = true;
  t.is(version.activePeers, 1);
  for (const piece of [0, 1, 2, 3]) version.had(entry, piece);
  t.true(entry.isComplete);
  t.is(version.activePeers, 0);
  version.lost(entry, 0);
  t.false(entry.isComplete);
  version.hasAll(entry);
  t.true(entry.isComplete);
});

test('copies are counted right whatever hosts say, in whatever order', (t) => {
  const step = record({
    host: integer({ min: 0, max: 3 }),
    piece: integer({ min: 0, max: 5 }),
    what: integer({ min: 0, max: 4 }),
  });
  assert(
    property(array(step, { maxLength: 60 }), (steps) => {
      const table = new SwarmTable();
      const version = table.addVersion(hex(1, 64), shapeOf(1));
      const held = new Map<string, Set<number>>();
      for (const { host, piece, what } of steps) {
        const peer = `host ${host}`;
        const pieces = held.get(peer) ?? new Set<number>();
        held.set(peer, pieces);
        if (what === 0) {
          table.removeHost(peer);
          pieces.clear();
        } else if (what === 1) {
          version.lost(table.join(version, peer), piece);
          pieces.delete(piece);
        } else if (what === 2) {
          version.hasAll(table.join(version, peer));
          for (const each of [0, 1, 2, 3]) pieces.add(each);
        } else {
          version.had(table.join(version, peer), piece);
          if (piece < 4) pieces.add(piece);
        }
      }
      for (const piece of [0, 1, 2, 3]) {
        const copies = [...held.values()].filter((pieces) => pieces.has(piece)).length;
        t.is(version.copies(piece), copies);
      }
    }),
  );
});

test('a length that is learned later completes the shape, and private stays private', (t) => {
  const table = new SwarmTable();
  const { length: _length, ...open } = shapeOf(1);
  const version = table.addVersion(hex(1, 64), open);
  const entry = table.join(version, 'one');
  version.had(entry, 9);
  t.is(version.pieceCount, undefined);
  t.is(
    table.addVersion(hex(1, 64), shapeOf(1, { length: 10 * pieceLength, isPrivate: true })),
    version,
  );
  t.is(version.pieceCount, 10);
  t.is(version.copies(9), 1);
  table.addVersion(hex(1, 64), shapeOf(1));
  t.true(version.shape.isPrivate);
});

test('parents count their children, and forget those that are gone', (t) => {
  const table = new SwarmTable();
  const version = table.addVersion(hex(1, 64), shapeOf(1));
  const parent = table.join(version, 'parent');
  const child = table.join(version, 'child');
  version.link(child, 'parent');
  version.link(child, 'parent');
  t.is(parent.children, 1);
  table.removeHost('child');
  t.is(parent.children, 0);
  const again = table.join(version, 'child');
  version.link(again, 'parent');
  table.removeHost('parent');
  t.is(again.parents.size, 0, 'it may be given another');
});

test('a version is pruned when nobody has it and the seed does not', (t) => {
  const table = new SwarmTable();
  const held = table.addVersion(hex(1, 64), shapeOf(1));
  table.join(held, 'one');
  table.addVersion(hex(1, 64), shapeOf(2));
  const seeded = table.addVersion(hex(2, 64), shapeOf(3));
  t.is(
    table.prune((version) => version === seeded),
    1,
  );
  t.deepEqual([...table.versions()], [held, seeded]);
  table.removeHost('one');
  t.is(
    table.prune(() => false),
    2,
  );
  t.deepEqual([...table.versions()], []);
});

test('of one host so many versions are known: the one it spoke of longest ago goes, and none it downloads', (t) => {
  const table = new SwarmTable({ maxVersions: 3, maxPieces: 1_000 });
  const versions = [1, 2, 3, 4].map((number) => table.addVersion(hex(number, 64), shapeOf(number)));
  const [first, second, third, fourth] = versions;
  if (!first || !second || !third || !fourth) return t.fail();
  table.join(first, 'one').isActive = true;
  for (const version of [second, third]) version.had(table.join(version, 'one'), 0);
  table.join(second, 'one');
  table.join(fourth, 'one');
  t.deepEqual([...table.versionsOf('one')], [first, second, fourth]);
  t.is(third.copies(0), 0);
  t.false(third.peers.has('one'));
  table.join(third, 'other');
  t.deepEqual([...table.versionsOf('other')], [third], 'hosts do not crowd each other out');
});

test('a host that downloads as much as is known of one is refused more', (t) => {
  const table = new SwarmTable({ maxVersions: 2, maxPieces: 1_000 });
  for (const number of [1, 2]) {
    table.join(table.addVersion(hex(number, 64), shapeOf(number)), 'one').isActive = true;
  }
  const third = table.addVersion(hex(3, 64), shapeOf(3));
  t.throws(() => table.join(third, 'one'), { code: 'ERR_BUSY' });
  t.is(table.version(third.task, third.shape.version), undefined, 'nobody else has it');
  t.is([...table.versionsOf('one')].length, 2);
});

test('the pieces of one host are bounded too, as large versions cost more', (t) => {
  const table = new SwarmTable({ maxVersions: 100, maxPieces: 10 });
  const versions = [1, 2, 3].map((number) => table.addVersion(hex(number, 64), shapeOf(number)));
  for (const version of versions) table.join(version, 'one');
  t.deepEqual([...table.versionsOf('one')], versions.slice(1));
  const large = table.addVersion(hex(4, 64), shapeOf(4, { length: 11 * pieceLength }));
  t.throws(() => table.join(large, 'one'), { code: 'ERR_BUSY' });
});

test('removeHost() forgets a host in every version and leaves the others', (t) => {
  const table = new SwarmTable();
  const versions = [1, 2, 3].map((number) => table.addVersion(hex(1, 64), shapeOf(number)));
  for (const version of versions) {
    for (const peer of ['one', 'other']) version.hasAll(table.join(version, peer));
  }
  table.removeHost('one');
  t.deepEqual([...table.versionsOf('one')], []);
  for (const version of versions) t.deepEqual([...version.peers.keys()], ['other']);
});

test('failures are forgotten by half', (t) => {
  const table = new SwarmTable();
  const version = table.addVersion(hex(1, 64), shapeOf(1));
  const entry = table.join(version, 'one');
  entry.failures = 3;
  version.forgive();
  t.is(entry.failures, 1);
  version.forgive();
  t.is(entry.failures, 0);
});
