import test from 'ava';
import { SeededRandom } from '../../core/base/random.ts';
import { OFFER_PATIENCE_MS, Offers } from './offers.ts';
import type { Offer } from './offers.ts';

const children = Array.from({ length: 5 }, (_unused, index) => `12D3KooWchild${index}`);
const [first = '', second = '', third = ''] = children;
const pieces = Array.from({ length: 1_000 }, (_unused, piece) => piece);

/** Who each piece was offered to last. */
function note(owners: Map<number, string | undefined>, offers: readonly Offer[]): void {
  for (const { piece, to } of offers) owners.set(piece, to);
}

function offering(of: readonly string[], what: readonly number[] = pieces): Map<number, string> {
  const offers = new Offers();
  const owners = new Map<number, string>();
  for (const child of of) offers.join(child, 0);
  for (const piece of what) {
    for (const { to } of offers.add(piece, 0)) if (to !== undefined) owners.set(piece, to);
  }
  return owners;
}

test('Offers.add() offers each piece to one child, and as many to each', (t) => {
  const owners = offering(children);
  t.is(owners.size, pieces.length);
  for (const child of children) {
    const share = owners
      .values()
      .filter((owner) => owner === child)
      .toArray().length;
    t.is(share, pieces.length / children.length);
  }
});

test('Offers.add() offers a piece once, and to nobody while there is no child', (t) => {
  const offers = new Offers();
  t.deepEqual(offers.add(7, 0), []);
  t.deepEqual(offers.join(first, 0), [{ piece: 7, to: first }]);
  t.deepEqual(offers.add(7, 0), []);
  t.deepEqual(offers.join(first, 0), [], 'it is there already');
});

test('Offers: who has shown what it was offered has the next turn', (t) => {
  const offers = new Offers();
  for (const child of [first, second, third]) offers.join(child, 0);
  t.deepEqual(offers.add(0, 0), [{ piece: 0, to: first }]);
  t.deepEqual(offers.add(1, 0), [{ piece: 1, to: second }]);
  offers.seen(1, 10);
  t.deepEqual(offers.add(2, 10), [{ piece: 2, to: third }]);
  t.deepEqual(offers.add(3, 10), [{ piece: 3, to: second }], 'the first is still busy');
});

test('Offers: a child that takes long is offered nothing more while there are others', (t) => {
  const offers = new Offers();
  const owners = new Map<number, string | undefined>();
  for (const child of [first, second, third]) offers.join(child, 0);
  // The first shows its pieces after a second, the others after a tenth of one.
  const due = new Map<number, number>();
  for (let nowMs = 0; nowMs < 10_000; nowMs += 100) {
    for (const [piece, atMs] of due) if (atMs <= nowMs) offers.seen(piece, nowMs);
    const piece = nowMs / 100;
    note(owners, offers.add(piece, nowMs));
    due.set(piece, nowMs + (owners.get(piece) === first ? 1_000 : 100));
  }
  const share = [...owners.values()].filter((owner) => owner === first).length;
  t.true(share <= 2, `${share} of 100`);
});

test('Offers.join() takes its share of what waits, Offers.leave() gives it to others', (t) => {
  const random = new SeededRandom(3);
  const offers = new Offers();
  const owners = new Map<number, string | undefined>();
  const present = new Set<string>();
  for (const piece of pieces) note(owners, offers.add(piece, 0));
  for (let step = 0; step < 50; step += 1) {
    const child = children[random.below(children.length)] ?? '';
    const before = new Map(owners);
    if (present.delete(child)) {
      const moved = offers.leave(child, 0);
      for (const { piece } of moved) t.is(before.get(piece), child);
      for (const [piece, owner] of owners) if (owner === child) owners.set(piece, undefined);
      note(owners, moved);
    } else {
      present.add(child);
      const moved = offers.join(child, 0);
      for (const { to } of moved) t.is(to, child);
      note(owners, moved);
    }
    for (const one of present) {
      const share = pieces.filter((piece) => owners.get(piece) === one).length;
      t.true(Math.abs(share - pieces.length / present.size) <= present.size, `${one}: ${share}`);
    }
  }
});

test('Offers.seen() is for everybody, once', (t) => {
  const offers = new Offers();
  offers.join(first, 0);
  offers.add(1, 0);
  t.deepEqual(offers.seen(1, 0), [{ piece: 1, to: undefined }]);
  t.deepEqual(offers.seen(1, 0), []);
  t.deepEqual(offers.seen(2, 0), [], 'it was never offered');
  t.deepEqual(offers.leave(first, 0), []);
  t.true(offers.isIdle);
});

test('Offers.seen() waits until nothing that was offered still waits', (t) => {
  const offers = new Offers();
  offers.join(first, 0);
  offers.add(1, 0);
  offers.add(2, 0);
  t.deepEqual(offers.seen(1, 1), []);
  t.deepEqual(offers.seen(2, 2), [
    { piece: 1, to: undefined },
    { piece: 2, to: undefined },
  ]);
});

test('Offers.overdue() goes on to the next child when one is passed over, and at last to everybody', (t) => {
  const offers = new Offers();
  const owners = new Map<number, string | undefined>();
  for (const child of [first, second]) offers.join(child, 0);
  for (const piece of pieces) note(owners, offers.add(piece, 0));
  const [, own = 0] = pieces.filter((piece) => owners.get(piece) === first);
  const others = pieces.filter((piece) => owners.get(piece) === second);
  t.is(offers.overdue(OFFER_PATIENCE_MS).length, 1, 'nobody shows anything: the seed is slow');
  for (const piece of others.slice(0, 20)) offers.seen(piece, OFFER_PATIENCE_MS);
  const moved = offers.overdue(OFFER_PATIENCE_MS);
  t.true(moved.every(({ piece, to }) => owners.get(piece) === first && to === second));
  t.true(moved.some(({ piece }) => piece === own));
  for (const piece of pieces) offers.seen(piece, OFFER_PATIENCE_MS);
  t.true(offers.leave(first, 0).length === 0 && offers.leave(second, 0).length === 0);
});

test('Offers.overdue() waits for nobody once all stand still', (t) => {
  const offers = new Offers();
  offers.join(first, 0);
  offers.add(1, 0);
  t.deepEqual(offers.overdue(5 * OFFER_PATIENCE_MS), []);
  t.deepEqual(offers.overdue(10 * OFFER_PATIENCE_MS), [{ piece: 1, to: undefined }]);
  t.deepEqual(offers.overdue(20 * OFFER_PATIENCE_MS), []);
});

test('Offers.overdue() does not wait long for one that hangs, when the others took theirs at once', (t) => {
  const offers = new Offers();
  const owners = new Map<number, string | undefined>();
  for (const child of [first, second]) offers.join(child, 0);
  for (const piece of pieces.slice(0, 12)) note(owners, offers.add(piece, 0));
  const others = [...owners].filter(([, owner]) => owner === second).map(([piece]) => piece);
  for (const [at, piece] of others.entries()) offers.seen(piece, 100 * (at + 1));
  const endMs = 100 * others.length;
  t.deepEqual(offers.overdue(endMs + 1_900), []);
  const moved = offers.overdue(endMs + 2_000);
  t.is(moved.length, 12 - others.length);
  t.true(moved.every(({ to }) => to === second));
});

test('Offers.overdue() gives the last pieces to who has nothing left to show, when their child takes twice as long as is usual', (t) => {
  const offers = new Offers();
  for (const child of children) offers.join(child, 0);
  let nowMs = 0;
  const owners = new Map<number, string | undefined>();
  for (const piece of pieces.slice(0, 20)) {
    note(owners, offers.add(piece, nowMs));
    // Once all stood still for long.
    nowMs += piece === 3 ? 4_000 : 900;
    note(owners, offers.seen(piece, nowMs));
  }
  note(owners, offers.add(20, nowMs));
  const slow = owners.get(20);
  t.deepEqual(offers.overdue(nowMs + 1_900), []);
  note(owners, offers.overdue(nowMs + 2_600));
  t.not(owners.get(20), slow);
  t.not(owners.get(20), undefined);
});

test('Offers.overdue() goes on, piece by piece, from a child that hangs before anything was seen', (t) => {
  const offers = new Offers();
  for (const child of [first, second, third]) offers.join(child, 0);
  t.deepEqual(offers.add(0, 0), [{ piece: 0, to: first }]);
  t.deepEqual(offers.overdue(OFFER_PATIENCE_MS - 1), []);
  t.deepEqual(offers.overdue(OFFER_PATIENCE_MS), [{ piece: 0, to: second }]);
  t.deepEqual(offers.add(1, OFFER_PATIENCE_MS), [{ piece: 1, to: third }]);
  t.deepEqual(offers.overdue(2 * OFFER_PATIENCE_MS), [{ piece: 0, to: third }]);
  t.deepEqual(offers.overdue(2 * OFFER_PATIENCE_MS), [], 'one at a time');
  t.is(offers.overdue(3 * OFFER_PATIENCE_MS).length, 1);
});

test('Offers.isIdle is true when there is nobody and nothing to offer', (t) => {
  const offers = new Offers();
  t.true(offers.isIdle);
  offers.join(third, 0);
  t.false(offers.isIdle);
  offers.add(1, 0);
  offers.leave(third, 0);
  t.false(offers.isIdle, 'the piece waits for somebody');
  offers.seen(1, 0);
  t.true(offers.isIdle);
});
