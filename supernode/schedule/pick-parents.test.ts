import test from 'ava';
import { array, assert, constantFrom, integer, property, record } from 'fast-check';
import { SeededRandom } from '../../core/base/random.ts';
import { MAX_PARENTS, pickParents } from './pick-parents.ts';
import type { Candidate } from './pick-parents.ts';

const child = { peer: 'child', idc: 'a' };

function candidateOf(peer: string, rest: Partial<Candidate> = {}): Candidate {
  return { peer, idc: 'b', role: 'peer', share: 0.5, children: 0, failures: 0, ...rest };
}

/** Peers in the order they are chosen. */
function chosen(candidates: readonly Candidate[], seed = 1): string[] {
  const random = new SeededRandom(seed);
  return pickParents(child, candidates, { random }).map(({ peer }) => peer);
}

test('the seed comes first, then hosts of the own idc, then others', (t) => {
  const candidates = [
    candidateOf('far'),
    candidateOf('near', { idc: 'a' }),
    candidateOf('seed', { role: 'seed', idc: undefined }),
  ];
  t.deepEqual(chosen(candidates), ['seed', 'near', 'far']);
});

test('of equals the one with fewer children comes first, and who failed comes after all of its idc', (t) => {
  const candidates = [
    candidateOf('failed', { failures: 1 }),
    candidateOf('busy', { children: 30 }),
    candidateOf('idle', { children: 1 }),
  ];
  t.deepEqual(chosen(candidates), ['idle', 'busy', 'failed']);
});

test('a host that failed often is chosen after those of other idcs, and a seed that did is no better', (t) => {
  const candidates = [
    candidateOf('seed', { role: 'seed', failures: 100 }),
    candidateOf('near', { idc: 'a', failures: 3 }),
    candidateOf('far'),
  ];
  t.deepEqual(chosen(candidates), ['far', 'near', 'seed']);
});

test('how much a host has does not count: it has what others lack', (t) => {
  const candidates = [candidateOf('full', { share: 1 }), candidateOf('empty', { share: 0 })];
  const firsts = new Set(
    Array.from({ length: 50 }, (_unused, seed) => chosen(candidates, seed)[0]),
  );
  t.is(firsts.size, 2);
});

test('ties are broken by chance, evenly', (t) => {
  const candidates = Array.from({ length: 40 }, (_unused, at) => candidateOf(`host ${at}`));
  const counts = new Map<string, number>();
  for (let seed = 0; seed < 400; seed += 1) {
    for (const peer of chosen(candidates, seed)) counts.set(peer, (counts.get(peer) ?? 0) + 1);
  }
  t.is(counts.size, 40);
  t.true([...counts.values()].every((count) => count > 120 && count < 280));
});

test('a reason says who, where, how much and how busy', (t) => {
  const random = new SeededRandom(1);
  const candidates = [
    candidateOf('one', { idc: 'a', share: 0.259, children: 5 }),
    candidateOf('two', { share: 1 }),
  ];
  t.deepEqual(
    pickParents(child, candidates, { random }).map(({ reason }) => reason),
    [
      'peer, same idc, has 25 %, 5 children, score 3.75',
      'peer, other idc, complete, 0 children, score 0.00',
    ],
  );
});

test('pickParents() gives as many as there are and may be, each once, best first, and never the child', (t) => {
  const candidate = record({
    peer: integer({ min: 0, max: 60 }),
    idc: constantFrom('a', 'b', undefined),
    role: constantFrom('peer', 'seed'),
    share: constantFrom(0, 0.5, 1),
    children: integer({ min: 0, max: 50 }),
    failures: integer({ min: 0, max: 20 }),
  });
  assert(
    property(array(candidate, { maxLength: 60 }), integer({ min: 0, max: 30 }), (list, max) => {
      const byPeer = new Map(
        list.map((entry) => {
          const peer = entry.peer === 0 ? child.peer : `host ${entry.peer}`;
          return [peer, { ...entry, peer } as const];
        }),
      );
      const others = [...byPeer.keys()].filter((peer) => peer !== child.peer);
      const random = new SeededRandom(max);
      const parents = pickParents(child, [...byPeer.values()], { max, random });
      t.is(parents.length, Math.min(max, others.length));
      t.is(new Set(parents.map(({ peer }) => peer)).size, parents.length);
      t.true(parents.every(({ peer, role }) => byPeer.get(peer)?.role === role));
      t.false(parents.some(({ peer }) => peer === child.peer));
      const scores = parents.map(({ reason }) => Number(reason.slice(reason.lastIndexOf(' '))));
      t.deepEqual(
        scores,
        scores.toSorted((one, other) => other - one),
      );
    }),
  );
  t.is(MAX_PARENTS, 20);
});
