import test from 'ava';
import { array, assert, constantFrom, nat, property, record } from 'fast-check';
import { IdcOffers } from './idc-offers.ts';
import type { Offer } from './offers.ts';

/** Offers of a seed in idc `a`, with what hosts of each idc have. */
function offersOf(held: Record<string, readonly number[]> = {}, idc: string | undefined = 'a') {
  const pieces: number[] = [];
  const offers = new IdcOffers({
    idc,
    pieces: () => pieces,
    isHeldIn: (name, piece) => held[name]?.includes(piece) === true,
  });
  return {
    offers,
    add: (piece: number, nowMs = 0): Offer[] => {
      pieces.push(piece);
      return offers.add(piece, nowMs);
    },
  };
}

const at = (idc: string, nowMs = 0) => ({ idc, nowMs });

test('a new piece goes to the idc of the seed, and each other idc gets an importer once a host there has it', (t) => {
  const { offers, add } = offersOf();
  for (const child of ['b1', 'a1', 'c1', 'a2', 'b2']) offers.join(child, at(child.charAt(0)));
  t.deepEqual(add(0), [{ piece: 0, to: 'a1' }]);
  t.deepEqual(offers.seen(0, at('a')), [
    { piece: 0, to: 'b1' },
    { piece: 0, to: 'c1' },
    { piece: 0, to: undefined },
  ]);
  t.deepEqual(offers.seen(0, at('b')), [], 'that is what was waited for');
  t.deepEqual(offers.seen(0, at('a')), []);
});

test('with no host in the idc of the seed, one of the others is where pieces go first', (t) => {
  for (const idc of ['a', undefined]) {
    const { offers, add } = offersOf({}, idc);
    t.deepEqual(add(0), []);
    t.deepEqual(offers.join('b1', at('b')), [{ piece: 0, to: 'b1' }]);
    offers.join('c1', at('c'));
    t.deepEqual(add(1), [{ piece: 1, to: 'b1' }]);
    t.deepEqual(offers.seen(0, at('b')), [{ piece: 0, to: 'c1' }]);
  }
});

test('what was not shown goes on to another idc when its hosts have gone', (t) => {
  const { offers, add } = offersOf();
  offers.join('a1', at('a'));
  offers.join('b1', at('b'));
  add(0);
  add(1);
  offers.seen(0, at('a'));
  t.deepEqual(offers.leave('a1', 0), [{ piece: 1, to: 'b1' }]);
  t.deepEqual(offers.join('a2', at('a')), [
    { piece: 1, to: 'a2' },
    { piece: 0, to: 'a2' },
  ]);
});

test('whoever comes later to an idc is offered what it lacks, not what hosts there have', (t) => {
  const { offers, add } = offersOf({ b: [0] });
  offers.join('a1', at('a'));
  for (const piece of [0, 1, 2]) add(piece);
  offers.seen(0, at('a'));
  offers.seen(1, at('a'));
  t.deepEqual(offers.join('b1', at('b')), [{ piece: 1, to: 'b1' }]);
});

test('what a host had before the seed is imported where nobody has it', (t) => {
  const { offers } = offersOf({ a: [7] });
  offers.join('a1', at('a'));
  offers.join('b1', at('b'));
  t.deepEqual(offers.addHeld(7, 0), [
    { piece: 7, to: undefined },
    { piece: 7, to: 'b1' },
  ]);
});

test('what only a host had that is gone is imported again', (t) => {
  const held: Record<string, number[]> = { b: [] };
  const { offers, add } = offersOf(held);
  for (const child of ['a1', 'b1', 'b2']) offers.join(child, at(child.charAt(0)));
  for (const piece of [0, 1]) {
    add(piece);
    for (const idc of ['a', 'b']) offers.seen(piece, at(idc));
  }
  offers.leave('b1', 0);
  held['b'] = [1];
  t.deepEqual(offers.lost([0, 1], at('b')), [{ piece: 0, to: 'b2' }]);
  t.deepEqual(offers.lost([0, 1], at('b')), [], 'once');
  t.deepEqual(offers.lost([0, 1], at('c')), [], 'nobody is there');
});

test('an importer that does not show its piece while others do loses it to the next, and so on', (t) => {
  const { offers, add } = offersOf();
  offers.join('a1', at('a'));
  for (const child of ['b1', 'b2']) offers.join(child, at('b'));
  const owner = new Map<number, string | undefined>();
  const note = (made: readonly Offer[]): void => {
    for (const { piece, to } of made) if (to?.startsWith('b') === true) owner.set(piece, to);
  };
  add(0);
  note(offers.seen(0, at('a')));
  t.is(owner.get(0), 'b1');
  for (let nowMs = 500; nowMs <= 60_000; nowMs += 500) {
    const piece = nowMs / 500;
    add(piece, nowMs);
    note(offers.seen(piece, at('a', nowMs)));
    // The first shows nothing.
    if (owner.get(piece) === 'b2') note(offers.seen(piece, at('b', nowMs + 100)));
    note(offers.overdue(nowMs));
    if (owner.get(0) === 'b2') break;
  }
  t.is(owner.get(0), 'b2');
});

test('an importer that is done takes over what another has not begun', (t) => {
  const { offers, add } = offersOf();
  offers.join('a1', at('a'));
  for (const child of ['b1', 'b2']) offers.join(child, at('b'));
  const owner = new Map<number, string | undefined>();
  for (let piece = 0; piece < 16; piece += 1) {
    add(piece);
    for (const { to } of offers.seen(piece, at('a'))) if (to !== undefined) owner.set(piece, to);
  }
  const quick = [...owner].filter(([, to]) => to === 'b2').map(([piece]) => piece);
  t.is(quick.length, 8);
  const moved = quick.flatMap((piece) => offers.seen(piece, at('b', 100)));
  t.is(moved.filter(({ to }) => to === 'b2').length, 4);
  t.deepEqual(
    moved.filter(({ to }) => to === 'b1'),
    [],
  );
});

test('whatever happens, each piece that an idc lacks is offered to one host there', (t) => {
  const children = ['a1', 'a2', 'b1', 'b2', 'b3', 'c1'];
  const deed = record({
    what: constantFrom('add', 'toggle', 'seen', 'overdue'),
    child: constantFrom(...children),
    piece: nat({ max: 9 }),
    ms: nat({ max: 20_000 }),
  });
  assert(
    property(array(deed, { maxLength: 120 }), (deeds) => {
      const held: Record<string, number[]> = { a: [], b: [], c: [] };
      const { offers, add } = offersOf(held);
      const there = new Set<string>();
      const added = new Set<number>();
      const owners = new Map<string, string>();
      let nowMs = 0;
      const note = (made: readonly Offer[]): void => {
        for (const { piece, to } of made) {
          if (to !== undefined) owners.set(`${to.charAt(0)}${piece}`, to);
        }
      };
      for (const { what, child, piece, ms } of deeds) {
        const idc = child.charAt(0);
        nowMs += ms;
        if (what === 'add') {
          if (!added.has(piece)) note(add(piece, nowMs));
          added.add(piece);
        } else if (what === 'toggle') {
          if (there.delete(child)) note(offers.leave(child, nowMs));
          else {
            there.add(child);
            note(offers.join(child, at(idc, nowMs)));
          }
        } else if (what === 'overdue') note(offers.overdue(nowMs));
        else if (added.has(piece) && there.has(child)) {
          if (!(held[idc] ?? []).includes(piece)) held[idc]?.push(piece);
          note(offers.seen(piece, at(idc, nowMs)));
        }
      }
      const isAnywhere = (piece: number): boolean =>
        Object.values(held).some((pieces) => pieces.includes(piece));
      return ['b', 'c'].every((idc) => {
        if (![...there].some((child) => child.startsWith(idc))) return true;
        return [...added].every((piece) => {
          if (!isAnywhere(piece) || (held[idc] ?? []).includes(piece)) return true;
          const owner = owners.get(`${idc}${piece}`);
          return owner !== undefined && there.has(owner);
        });
      });
    }),
  );
  t.pass();
});

test('what a host had before anybody took part is for everybody, as that host may be bad at giving it', (t) => {
  const { offers, add } = offersOf({ a: [0] });
  add(0);
  add(1);
  t.deepEqual(offers.seen(0, at('a')), [], 'nobody is there to be told');
  t.deepEqual(offers.join('a1', at('a')), [
    { piece: 1, to: 'a1' },
    { piece: 0, to: undefined },
  ]);
  t.deepEqual(offers.join('a2', at('a')), []);
});
