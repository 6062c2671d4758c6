import test from 'ava';
import { array, assert, constantFrom, nat, oneof, property, record } from 'fast-check';
import { SeededRandom } from '../base/random.ts';
import { PiecePicker } from './piece-picker.ts';
import type { Ask, NextOptions } from './piece-picker.ts';

function picker(pieces: number, seed = 1): PiecePicker {
  const made = new PiecePicker({ pieces, random: new SeededRandom(seed) });
  for (let piece = 0; piece < pieces; piece += 1) made.want(piece);
  return made;
}

/** A picker of `pieces` pieces with peers, by name what each has. */
function linked(pieces: number, parents: Record<string, readonly number[]>): PiecePicker {
  const made = picker(pieces);
  for (const [peer, held] of Object.entries(parents)) {
    made.open(peer, peer === 'seed' ? 'seed' : 'peer');
    for (const piece of held) made.has(peer, piece);
  }
  return made;
}

function all(made: PiecePicker, options: { isSeedFree?: boolean } = {}): Ask[] {
  const asks: Ask[] = [];
  for (let ask = made.next(0, options); ask !== undefined; ask = made.next(0, options)) {
    asks.push(ask);
  }
  return asks;
}

test('the rarest piece of a parent is asked first', (t) => {
  const made = linked(4, { a: [0, 1, 2, 3], b: [0, 1, 2], c: [0, 1] });
  made.rest('b', true);
  made.rest('c', true);
  t.deepEqual(
    all(made).map(({ peer, piece }) => [peer, piece]),
    [
      ['a', 3],
      ['a', 2],
    ],
  );
});

test('the parent with the shorter line is asked first', (t) => {
  const made = linked(8, { long: [0, 1, 2, 3], short: [0, 1, 2, 3] });
  made.loaded('long', 5);
  made.loaded('short', 2);
  t.deepEqual(
    all(made).map(({ peer }) => peer),
    ['short', 'short', 'long', 'long'],
  );
});

test('a parent that takes long for each request is asked when it is sooner done than others', (t) => {
  const held = Array.from({ length: 2_000 }, (_unused, piece) => piece);
  const made = linked(2_000, { slow: held, quick: held });
  made.rest('quick', true);
  for (const { peer, piece } of all(made)) made.brought(peer, piece, 2_000);
  made.rest('quick', false);
  made.rest('slow', true);
  for (let round = 0; round < 60; round += 1) {
    for (const { peer, piece } of all(made)) made.brought(peer, piece, 200);
  }
  made.rest('slow', false);
  made.loaded('slow', 0);
  made.loaded('quick', 3);
  t.is(made.next(0)?.peer, 'quick', 'four times as long is not done before');
  made.loaded('quick', 39);
  t.is(made.next(0)?.peer, 'slow', 'it is done before forty');
});

test('a seed is asked for what it offers, before all others, and for nothing else', (t) => {
  const made = linked(6, { seed: [0, 1, 2, 3], peer: [0, 1] });
  made.offered('seed', 3);
  made.offered('seed', 0);
  const asks = all(made).map(({ peer, piece }) => `${peer} ${piece}`);
  t.is(asks[0], 'seed 3');
  t.deepEqual(asks.slice(1).toSorted(), ['peer 0', 'peer 1'], 'a peer has what it offered last');
  t.deepEqual(
    all(made, { isSeedFree: true }).map(({ peer, piece }) => `${peer} ${piece}`).length,
    1,
    'free, it gives what nobody else was asked for',
  );
});

test('what a seed offers is asked for at once, whatever else is in flight', (t) => {
  const held = Array.from({ length: 20 }, (_unused, piece) => piece);
  const made = linked(22, { a: held, b: held, c: held, d: held, seed: [] });
  t.is(all(made).length, 8);
  made.offered('seed', 20);
  made.offered('seed', 21);
  t.deepEqual(
    all(made).map(({ peer, piece }) => `${peer} ${piece}`),
    ['seed 20', 'seed 21'],
  );
  t.deepEqual(all(made), [], 'and nothing else is');
});

test('an offer holds when its digest comes later, and when the first request for it fails', (t) => {
  const made = new PiecePicker({ pieces: 4, random: new SeededRandom(1) });
  made.open('seed', 'seed');
  made.open('peer', 'peer');
  made.has('peer', 0);
  made.want(0);
  made.offered('seed', 2);
  t.is(made.next(0)?.peer, 'peer');
  t.is(made.next(0), undefined, 'its digest is not known');
  made.want(2);
  t.like(made.next(0), { peer: 'seed', piece: 2 });
  made.failed('seed', 2);
  t.like(made.next(0), { peer: 'seed', piece: 2 });
  made.brought('seed', 2, 5);
  made.want(3);
  made.offered('seed', 3);
  made.lacks('seed', 3);
  t.is(made.next(0), undefined, 'it was withdrawn');
});

test('what fails is asked of another; what came is not asked again', (t) => {
  const made = linked(1, { a: [0], b: [0] });
  const [first] = all(made);
  t.is(made.openPieces, 0);
  made.failed(first?.peer ?? '', 0);
  made.lacks(first?.peer ?? '', 0);
  const [second] = all(made);
  t.not(second?.peer, first?.peer);
  t.deepEqual(made.brought(second?.peer ?? '', 0, 10), []);
  made.failed(second?.peer ?? '', 0);
  t.deepEqual([made.openPieces, made.inFlight], [0, 0]);
});

test('a closed parent gives back what it was asked for', (t) => {
  const made = linked(2, { a: [0, 1], b: [0, 1] });
  made.rest('b', true);
  t.is(all(made).length, 2);
  made.close('a');
  t.deepEqual([made.openPieces, made.inFlight, made.askedOf('a')], [2, 0, 0]);
  made.rest('b', false);
  t.deepEqual(
    all(made).map(({ peer }) => peer),
    ['b', 'b'],
  );
});

test('a late piece is asked of a second parent, and the loser is named when it comes', (t) => {
  const made = linked(40, { slow: Array.from({ length: 40 }, (_item, at) => at), other: [] });
  for (let count = 0; count < 8; count += 1) {
    const ask = made.next(0);
    made.brought('slow', ask?.piece ?? 0, 100);
  }
  const late = made.next(1000);
  made.has('other', late?.piece ?? 0);
  for (let piece = 0; piece < 40; piece += 1) if (piece !== late?.piece) made.unwant(piece);
  t.is(made.hedge(1050), undefined, 'not late yet');
  t.like(made.hedge(2000), { peer: 'other', piece: late?.piece, isHedge: true });
  t.is(made.hedge(3000), undefined, 'asked twice is enough');
  t.deepEqual(made.brought('other', late?.piece ?? 0, 50), ['slow']);
  t.is(made.inFlight, 0);
});

test('in the end, a parent that is always slow is late when others would not be', (t) => {
  const made = linked(40, { fast: Array.from({ length: 40 }, (_item, at) => at), slow: [0] });
  made.rest('slow', true);
  for (let count = 0; count < 39; count += 1) {
    const ask = made.next(0);
    if (ask?.piece === 0) made.failed('fast', 0);
    else made.brought('fast', ask?.piece ?? 0, 100);
  }
  made.rest('slow', false);
  made.rest('fast', true);
  for (let piece = 1; piece < 40; piece += 1) made.unwant(piece);
  t.like(made.next(1000), { peer: 'slow', piece: 0 });
  made.rest('fast', false);
  t.is(made.hedge(1050), undefined, 'not late yet');
  t.like(made.hedge(2000), { peer: 'fast', piece: 0, isHedge: true });
});

test('while something else is open, a late piece is asked of a second parent only where a reader is at it', (t) => {
  const made = linked(40, { slow: Array.from({ length: 40 }, (_item, at) => at), other: [] });
  for (let count = 0; count < 8; count += 1) {
    made.brought('slow', made.next(0)?.piece ?? 0, 100);
  }
  const late = made.next(1000)?.piece ?? 0;
  made.has('other', late);
  t.is(made.hedge(2000), undefined);
  made.needFrom(late + 1);
  t.is(made.hedge(2000), undefined, 'it is behind the reader');
  made.needFrom(late);
  t.like(made.hedge(2000), { peer: 'other', piece: late, isHedge: true });
});

test('a new holder takes over from a longer line, in about half of the cases', (t) => {
  let moves = 0;
  for (let seed = 1; seed <= 200; seed += 1) {
    const made = picker(1, seed);
    made.open('old', 'peer');
    made.has('old', 0);
    made.loaded('old', 9);
    t.is(made.next(0)?.peer, 'old');
    made.open('new', 'peer');
    made.has('new', 0);
    const from = made.betterThan('new', 0);
    if (from === undefined) continue;
    moves += 1;
    t.like(made.moved(0, { from, to: 'new', nowMs: 1 }), { peer: 'new', piece: 0, isHedge: false });
    t.deepEqual([made.askedOf('old'), made.askedOf('new'), made.inFlight], [0, 1, 1]);
  }
  t.true(moves > 60 && moves < 140, `${moves} of 200`);
});

test('a shorter line is not left for a longer one', (t) => {
  const made = linked(1, { old: [0] });
  made.next(0);
  made.open('new', 'peer');
  made.has('new', 0);
  made.loaded('new', 5);
  for (let tries = 0; tries < 50; tries += 1) t.is(made.betterThan('new', 0), undefined);
});

test('a consumer in order gets what it needs next, from within its window', (t) => {
  const held = Array.from({ length: 100 }, (_item, at) => at);
  const made = linked(100, { a: held, b: held, c: held, d: held });
  made.needFrom(10);
  const asks = all(made);
  t.true(asks.every(({ piece }) => piece >= 10 && piece < 26));
  t.true(asks.every(({ piece, isUrgent }) => isUrgent === piece < 12));
});

test('what a consumer in order waits for comes before what is rarer', (t) => {
  const held = Array.from({ length: 100 }, (_item, at) => at);
  const made = linked(100, { a: held, b: [10, 11], c: [10, 11] });
  made.rest('b', true);
  made.rest('c', true);
  made.needFrom(10);
  const asked = all(made).map(({ piece }) => piece);
  t.deepEqual(new Set(asked.slice(0, 2)), new Set([10, 11]));
});

test('a fast parent far away is asked for as much as its path holds', (t) => {
  const made = linked(600, { far: Array.from({ length: 600 }, (_item, at) => at) });
  let most = 0;
  const onWay = all(made);
  // 40 ms there and back, and no line however much is asked: each piece takes 41 ms.
  for (let ask = onWay.shift(); ask !== undefined; ask = onWay.shift()) {
    most = Math.max(most, made.inFlight);
    made.brought('far', ask.piece, 41);
    onWay.push(...all(made));
  }
  t.true(most > 15, `${most}`);
});

/** Asks, moment after moment, until there is something to ask for; returns when and what. */
function firstAsk(
  made: PiecePicker,
  about: { readonly fromMs: number; readonly toMs: number } & NextOptions,
): [ms: number, peer: string, piece: number] | undefined {
  for (let ms = about.fromMs; ms <= about.toMs; ms += 250) {
    const ask = made.next(ms, about);
    if (ask !== undefined) return [ms, ask.peer, ask.piece];
  }
  return undefined;
}

/** A host of one idc: its neighbour has piece 0, two hosts and the seed of another idc have all four. */
function abroad(): PiecePicker {
  const made = picker(4);
  made.open('near', 'peer');
  made.has('near', 0);
  for (const peer of ['far', 'farther']) made.open(peer, 'peer', { isFar: true });
  made.open('seed', 'seed', { isFar: true });
  for (const piece of [0, 1, 2, 3]) {
    for (const peer of ['far', 'farther', 'seed']) made.has(peer, piece);
  }
  return made;
}

test('another idc is asked only for what this host is to import, even when nothing else is to be had', (t) => {
  const made = abroad();
  made.offered('seed', 0);
  made.offered('seed', 2);
  const asks = all(made, { isSeedFree: true });
  t.deepEqual(
    asks.map(({ piece }) => piece).toSorted((a, b) => a - b),
    [0, 2],
  );
  t.is(asks.find(({ piece }) => piece === 0)?.peer, 'near', 'a neighbour has it');
  t.true(asks.find(({ piece }) => piece === 2)?.peer.startsWith('far'));
});

test('what is to be imported is not, once a neighbour has it, and is again when the neighbour has gone', (t) => {
  const made = abroad();
  made.offered('seed', 2);
  made.open('other', 'peer');
  made.has('other', 2);
  made.rest('other', true);
  made.rest('near', true);
  t.deepEqual(all(made), []);
  made.close('other');
  t.is(made.next(0)?.piece, 2);
});

test('a far seed is asked for what it offers only when no other host there shows it in time', (t) => {
  const made = abroad();
  made.close('near');
  for (const peer of ['far', 'farther']) made.lacks(peer, 3);
  made.offered('seed', 3);
  t.is(firstAsk(made, { fromMs: 0, toMs: 1_750 }), undefined);
  t.deepEqual(firstAsk(made, { fromMs: 2_000, toMs: 3_000 }), [2_000, 'seed', 3]);
});

test('a late piece is never asked of a second host across, and moves to a neighbour that has it', (t) => {
  const made = picker(40);
  for (const peer of ['far', 'farther']) made.open(peer, 'peer', { isFar: true });
  made.open('seed', 'seed', { isFar: true });
  for (let piece = 0; piece < 40; piece += 1) {
    made.has('far', piece);
    made.offered('seed', piece);
  }
  for (let count = 0; count < 8; count += 1) made.brought('far', made.next(0)?.piece ?? 0, 100);
  const late = made.next(1_000)?.piece ?? 0;
  made.has('farther', late);
  t.is(made.hedge(9_000), undefined);
  t.is(made.betterThan('farther', late), undefined);
  made.open('near', 'peer');
  made.has('near', late);
  made.loaded('near', 9);
  t.is(made.betterThan('near', late), 'far');
});

test('with nobody to name importers, neighbours share them out, and each is somebody’s at once', (t) => {
  const names = ['a', 'b', 'c', 'd'];
  const takes = names.map((self) => {
    const made = new PiecePicker({ pieces: 64, random: new SeededRandom(1), self });
    for (const other of names) if (other !== self) made.open(other, 'peer');
    made.open('far', 'peer', { isFar: true });
    for (let piece = 0; piece < 64; piece += 1) {
      made.want(piece);
      made.has('far', piece);
    }
    const taken: number[] = [];
    for (let ask = made.next(0, { isUnled: true }); ask !== undefined;) {
      taken.push(ask.piece);
      made.brought('far', ask.piece, 10);
      ask = made.next(0, { isUnled: true });
    }
    return taken;
  });
  t.deepEqual(
    takes.flat().toSorted((a, b) => a - b),
    Array.from({ length: 64 }, (_item, piece) => piece),
  );
});

test('with nobody to name importers, what a neighbour does not bring falls to the next', (t) => {
  const made = new PiecePicker({ pieces: 64, random: new SeededRandom(1), self: 'a' });
  made.open('b', 'peer');
  made.open('far', 'peer', { isFar: true });
  for (let piece = 0; piece < 64; piece += 1) {
    made.want(piece);
    made.has('far', piece);
  }
  const taken = new Set<number>();
  const take = (ms: number): void => {
    for (let ask = made.next(ms, { isUnled: true }); ask !== undefined;) {
      taken.add(ask.piece);
      // The last brings nothing forward: time passes since the last that did.
      made.brought('far', ask.piece, 10);
      ask = made.next(ms, { isUnled: true });
    }
  };
  take(0);
  t.true(taken.size > 0 && taken.size < 64);
  for (let ms = 250; ms <= 5_000; ms += 250) take(ms);
  t.is(taken.size, 64);
});

test('a host that is cut off helps itself across, to one piece after a long time', (t) => {
  const made = abroad();
  made.rest('near', true);
  const ask = firstAsk(made, { fromMs: 0, toMs: 60_000, isSeedFree: true });
  t.true((ask?.[0] ?? 0) >= 15_000);
  t.is(made.next(60_000, { isSeedFree: true }), undefined);
});

const PIECES = 12;
const peers = ['a', 'b', 'far', 'farther', 'seed', 'farseed'];

interface Deed {
  readonly kind: string;
  readonly peer: string;
  readonly piece: number;
}

/** Whatever can happen to a picker; requests are made as often as all else. */
const deeds = array(
  record<Deed>({
    kind: oneof(
      constantFrom('open', 'close', 'rest', 'wake', 'want', 'unwant', 'move', 'need'),
      constantFrom('has', 'has', 'lacks', 'offered', 'brought', 'failed'),
      constantFrom('next', 'next', 'next', 'hedge', 'free', 'unled'),
    ),
    peer: constantFrom(...peers),
    piece: nat({ max: PIECES - 1 }),
  }),
  { minLength: 100, maxLength: 200, size: 'max' },
);

/** Does it; returns the request that was made. */
function does(made: PiecePicker, { kind, peer, piece }: Deed, nowMs: number): Ask | undefined {
  if (kind === 'open') {
    const role = peer.endsWith('seed') ? 'seed' : 'peer';
    made.open(peer, role, { isFar: peer.startsWith('far') });
  } else if (kind === 'close') made.close(peer);
  else if (kind === 'rest') made.rest(peer, true);
  else if (kind === 'wake') made.rest(peer, false);
  else if (kind === 'has') made.has(peer, piece);
  else if (kind === 'lacks') made.lacks(peer, piece);
  else if (kind === 'offered') made.offered(peer, piece);
  else if (kind === 'brought') made.brought(peer, piece, 5);
  else if (kind === 'failed') made.failed(peer, piece);
  else if (kind === 'want') made.want(piece);
  else if (kind === 'unwant') made.unwant(piece);
  else if (kind === 'need') made.needFrom(piece, 1);
  else if (kind === 'hedge') return made.hedge(nowMs * 1000);
  else if (kind === 'move') {
    const from = made.betterThan(peer, piece);
    return from === undefined ? undefined : made.moved(piece, { from, to: peer, nowMs });
  } else return made.next(nowMs, { isSeedFree: kind === 'free', isUnled: kind === 'unled' });
  return undefined;
}

test('whatever happens, a piece is open, asked for, or not wanted, and counts stay true', (t) => {
  assert(
    property(deeds, (story) => {
      const made = picker(PIECES);
      return story.every((deed, at) => {
        does(made, deed, at);
        let asked = 0;
        for (let piece = 0; piece < PIECES; piece += 1) asked += made.askedFor(piece).length;
        const byParent = peers.reduce((sum, one) => sum + made.askedOf(one), 0);
        return asked === made.inFlight && byParent === asked;
      });
    }),
  );
  t.pass();
});

test('what a look in vain leaves behind hides nothing from the next', (t) => {
  // No chance: how often it is asked is no part of the promise.
  const random = { next: () => 0, below: () => 0 };
  assert(
    property(deeds, (story) => {
      const [made, forgetful] = [1, 2].map(() => {
        const each = new PiecePicker({ pieces: PIECES, random });
        for (const peer of ['a', 'b', 'seed']) each.open(peer, peer === 'seed' ? 'seed' : 'peer');
        return each;
      });
      return story.every((deed, at) => {
        // To wake anybody means to look at everybody.
        forgetful?.rest('nobody', false);
        const [one, other] = [made, forgetful].map((each) => each && does(each, deed, at));
        return one?.peer === other?.peer && one?.piece === other?.piece;
      });
    }),
    { numRuns: 300 },
  );
  t.pass();
});
