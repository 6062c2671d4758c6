import test from 'ava';
import { array, assert, nat, property, tuple, uniqueArray } from 'fast-check';
import { SeededRandom } from '../base/random.ts';
import { pickPieces } from './pick-piece.ts';
import type { PickableParent } from './pick-piece.ts';

function parent(
  peer: string,
  pieces: readonly number[],
  more: Partial<PickableParent> = {},
): PickableParent {
  return { peer, role: 'peer', freeSlots: 4, has: (piece) => pieces.includes(piece), ...more };
}

test('pickPieces() asks for the rarest piece first', (t) => {
  const parents = [parent('a', [0, 1, 2], { freeSlots: 1 }), parent('b', [0, 1], { freeSlots: 0 })];
  const picks = pickPieces({ wanted: [0, 1, 2], parents, budget: 1, random: new SeededRandom(1) });
  t.deepEqual(picks, [{ peer: 'a', piece: 2 }]);
});

test('pickPieces() asks the seed only for what no peer has', (t) => {
  const parents = [parent('seed', [0, 1, 2], { role: 'seed' }), parent('a', [0, 1])];
  const picks = pickPieces({ wanted: [0, 1, 2], parents, budget: 9, random: new SeededRandom(1) });
  t.deepEqual(
    picks.filter((pick) => pick.peer === 'seed'),
    [{ peer: 'seed', piece: 2 }],
  );
  t.is(picks.length, 3);
});

test('pickPieces() stays inside the window of an in-order reader', (t) => {
  const all = Array.from({ length: 100 }, (_unused, index) => index);
  const picks = pickPieces({
    wanted: all,
    parents: [parent('a', all, { freeSlots: 50 })],
    budget: 50,
    window: 16,
    random: new SeededRandom(2),
  });
  t.is(picks.length, 16);
  t.true(picks.every((pick) => pick.piece < 16));
});

test('pickPieces() never asks twice for a piece, over budget, over slots, or of a host that lacks it', (t) => {
  const holds = property(
    tuple(array(array(nat(30), { maxLength: 30 }), { maxLength: 6 }), uniqueArray(nat(30))),
    nat(20),
    nat(),
    ([holdings, wanted], budget, seed) => {
      const parents = holdings.map((pieces, index) =>
        parent(`p${index}`, pieces, { freeSlots: index, role: index === 0 ? 'seed' : 'peer' }),
      );
      const picks = pickPieces({ wanted, parents, budget, random: new SeededRandom(seed) });
      const bySlots = parents.every(
        (one) => picks.filter((pick) => pick.peer === one.peer).length <= one.freeSlots,
      );
      const held = picks.every((pick) =>
        parents.find((one) => one.peer === pick.peer)?.has(pick.piece),
      );
      const unique = new Set(picks.map((pick) => pick.piece)).size === picks.length;
      return bySlots && held && unique && picks.length <= budget;
    },
  );
  t.notThrows(() => assert(holds));
});
