import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { SeededRandom } from '../base/random.ts';
import { Bitfield } from '../piece/bitfield.ts';
import type { StoredTask } from '../store/piece-store.ts';
import type { ParentLink } from './parent-link.ts';
import type { Ask } from './piece-picker.ts';
import { PieceRequests } from './piece-requests.ts';

const PIECES = 8;
/** More than are ever in flight. */
const MANY = 200;

/** What was asked of whom, and how to end it. */
interface Taken {
  readonly ask: Ask;
  readonly signal: AbortSignal;
  end(): void;
}

/** Requests over parents that answer when the test says so. */
class Bench {
  readonly pieces: Bitfield;
  readonly taken: Taken[] = [];
  readonly reading = new Set<number>();
  readonly backs: string[] = [];
  isTakenBack = true;
  isHeldBack = false;
  readonly parents = new Map<string, ParentLink>();
  readonly clock = new ManualClock();
  readonly requests: PieceRequests;

  constructor(count = PIECES) {
    this.pieces = new Bitfield(count);
    const missing = (): number[] =>
      Array.from({ length: count }, (_item, at) => at).filter((piece) => !this.pieces.has(piece));
    this.requests = new PieceRequests({
      stored: {
        pieces: this.pieces,
        digestOf: () => 'digest',
        isSigned: () => true,
        missingWithDigest: missing,
      } as unknown as StoredTask,
      clock: this.clock,
      random: new SeededRandom(3),
      signal: new AbortController().signal,
      key: { peerId: 'self' },
      isSupervised: () => true,
      parent: (peer) => this.parents.get(peer),
      isReading: (piece) => this.reading.has(piece),
      isHeldBack: () => this.isHeldBack,
      take: async (_parent, ask, signal) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        this.taken.push({ ask, signal, end: resolve });
        signal.addEventListener('abort', () => resolve());
        await promise;
      },
    });
  }

  add(peer: string, held: readonly number[], role: 'peer' | 'seed' = 'peer'): ParentLink {
    const parent = {
      peer,
      role,
      inFlight: 0,
      isOpen: true,
      isResting: false,
      isStalled: false,
      has: (piece: number) => held.includes(piece),
      takeBack: async (piece: number) => {
        this.backs.push(`${peer} ${piece}`);
        return this.isTakenBack;
      },
    };
    const link = parent as unknown as ParentLink;
    this.parents.set(peer, link);
    this.requests.opened(link, held);
    return link;
  }

  ask(): string[] {
    const before = this.taken.length;
    this.requests.ask([...this.parents.values()]);
    return this.taken.slice(before).map(({ ask }) => `${ask.peer} ${ask.piece}`);
  }
}

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('PieceRequests asks a seed for anything only while no peer has what is missing', async (t) => {
  const bench = new Bench();
  bench.add('seed', [0, 1, 2, 3], 'seed');
  t.is(bench.ask().length, 2, 'nobody else is there');
  const [first] = bench.taken;
  first?.end();
  await settle();
  t.is(bench.ask().length, 1, 'the seed is kept busy');
  bench.add('peer', [0, 1, 2, 3, 4, 5]);
  t.true(bench.ask().every((made) => made.startsWith('peer')));
  for (const made of bench.taken) made.end();
  await settle();
  t.true(bench.ask().every((made) => made.startsWith('peer')));
});

test('PieceRequests asks the only parent, a seed, for what the cell has signed, before it says that it has it', async (t) => {
  const bench = new Bench();
  bench.add('seed', [], 'seed');
  t.deepEqual(bench.ask(), [], 'what was known before it was linked it would have said');
  bench.requests.want([3]);
  t.deepEqual(bench.ask(), ['seed 3']);
  bench.requests.want([4]);
  t.deepEqual(bench.ask(), ['seed 4'], 'the one before has not come yet');
});

test('PieceRequests asks a seed that does not have after all what the cell has signed only when it says so', async (t) => {
  const bench = new Bench();
  const seed = bench.add('seed', [], 'seed');
  bench.requests.want([3]);
  t.deepEqual(bench.ask(), ['seed 3']);
  bench.taken.at(-1)?.end();
  await settle();
  t.deepEqual(bench.ask(), []);
  bench.requests.heard(seed, { pieces: [], offers: [3], load: 0 });
  t.deepEqual(bench.ask(), ['seed 3']);
});

test('PieceRequests waits for the word of a seed while others are there, or stand for it in another idc', (t) => {
  const swarm = new Bench();
  swarm.add('seed', [], 'seed');
  swarm.add('peer', []);
  swarm.requests.want([3]);
  t.deepEqual(swarm.ask(), []);
  const far = new Bench();
  const seed = far.add('seed', [], 'seed');
  Object.assign(seed, { isFar: true });
  far.requests.want([3]);
  t.deepEqual(far.ask(), []);
});

test('PieceRequests does not ask for what comes from the origin, until it is missing after all', async (t) => {
  const bench = new Bench();
  bench.add('a', [0]);
  bench.reading.add(0);
  t.deepEqual(bench.ask(), []);
  bench.reading.clear();
  t.deepEqual(bench.ask(), []);
  bench.requests.wantMissing();
  t.deepEqual(bench.ask(), ['a 0']);
  t.true(bench.requests.isAsked(0));
  t.is(bench.requests.askedOf('a'), 0);
});

test('PieceRequests moves what waits in a longer line to a new holder, if it can be taken back', async (t) => {
  for (const isTakenBack of [true, false]) {
    const bench = new Bench();
    bench.isTakenBack = isTakenBack;
    const old = bench.add('old', [0, 1]);
    bench.requests.heard(old, { pieces: [], offers: [], load: 30 });
    t.is(bench.ask().length, 2);
    const fresh = bench.add('new', []);
    // It happens in half of the cases.
    for (let tries = 0; tries < 20 && bench.backs.length === 0; tries += 1) {
      bench.requests.heard(fresh, { pieces: [0], offers: [], load: 0 });
    }
    t.is(bench.backs[0], 'old 0');
    await settle();
    const last = bench.taken.at(-1)?.ask;
    if (isTakenBack) t.like(last, { peer: 'new', piece: 0, isHedge: false });
    else t.is(last?.peer, 'old');
  }
});

test('PieceRequests.came() stops the others, waits for them, and says that there were some', async (t) => {
  const bench = new Bench();
  const slow = bench.add('slow', [0, 1, 2, 3, 4, 5, 6, 7]);
  // Enough answers to know when it is late.
  for (let piece = 0; piece < 6; piece += 1) {
    bench.ask();
    const made = bench.taken.findLast(({ ask, signal }) => !signal.aborted && ask.peer === 'slow');
    const index = made?.ask.piece ?? 0;
    t.false(await bench.requests.came('slow', index, 10));
    bench.pieces.set(index);
    made?.end();
    await settle();
  }
  bench.ask();
  const late = bench.requests.askedOf('slow') ?? 0;
  const other = bench.add('other', []);
  bench.requests.has(other, late);
  bench.clock.advance(60_000);
  t.deepEqual(bench.ask(), [`other ${late}`]);
  const loser = bench.taken.find(({ ask }) => ask.peer === 'slow' && ask.piece === late);
  const before = slow.inFlight;
  t.true(await bench.requests.came('other', late, 5));
  t.true(loser?.signal.aborted);
  t.is(slow.inFlight, before - 1);
});

test('PieceRequests.relieve() takes back what others can answer, and it is asked of them', async (t) => {
  const bench = new Bench();
  const stalled = bench.add('stalled', [0, 1]);
  t.is(bench.ask().length, 2);
  bench.add('well', [0]);
  bench.requests.relieve(stalled, (piece) => piece === 0);
  await settle();
  t.true(bench.taken.find(({ ask }) => ask.piece === 0)?.signal.reason instanceof CodedError);
  Object.assign(stalled, { isStalled: true });
  t.deepEqual(bench.ask(), ['well 0']);
  t.is(bench.requests.askedOf('stalled'), 1);
});

function upTo(count: number, from = 0): number[] {
  return Array.from({ length: count - from }, (_item, at) => from + at);
}

test('PieceRequests asks for what a reader needs next first, and goes on with the rest', (t) => {
  const bench = new Bench(MANY);
  const parent = bench.add('peer', upTo(MANY));
  const asked: number[] = [];
  for (let turn = 0; turn < 20; turn += 1) {
    bench.requests.ask([parent], [{ first: 100, pieces: 16 }]);
    asked.push(...bench.taken.splice(0).map(({ ask }) => ask.piece));
    for (const piece of asked) bench.requests.had(piece);
    void bench.requests.came('peer', asked.at(-1) ?? 0, 1);
  }
  const inOrder = asked.slice(0, 16).toSorted((a, b) => a - b);
  t.deepEqual(inOrder, upTo(116, 100));
  t.true(asked.slice(16).some((piece) => piece < 100));
});

test('PieceRequests marks the two pieces that a reader waits for as urgent', (t) => {
  const bench = new Bench(MANY);
  const parent = bench.add('peer', [40, 41, 42]);
  bench.requests.ask([parent], [{ first: 40, pieces: 16 }]);
  const urgent = new Map(bench.taken.map(({ ask }) => [ask.piece, ask.isUrgent]));
  for (const [piece, isUrgent] of urgent) t.is(isUrgent, piece < 42, `${piece}`);
  t.true(urgent.size > 0);
});

test('PieceRequests lets readers take turns', (t) => {
  const bench = new Bench(MANY);
  const parents = ['a', 'b', 'c', 'd'].map((peer) => bench.add(peer, upTo(MANY)));
  bench.requests.ask(parents, [
    { first: 0, pieces: 16 },
    { first: 100, pieces: 16 },
  ]);
  const pieces = bench.taken.map(({ ask }) => ask.piece);
  const early = pieces.filter((piece) => piece < 16).length;
  const late = pieces.filter((piece) => piece >= 100 && piece < 116).length;
  t.is(early + late, pieces.length);
  t.is(early, late);
});

test('PieceRequests asks the seed for what a reader waits for and no peer has, after a while', (t) => {
  const bench = new Bench();
  const peer = bench.add('peer', [4, 5, 6, 7]);
  const seed = bench.add('seed', [0], 'seed');
  const windows = [{ first: 0, pieces: 16 }];
  const seedWasAsked = (): boolean => bench.taken.some(({ ask }) => ask.peer === 'seed');
  bench.requests.ask([peer, seed], windows);
  bench.clock.advance(1_999);
  bench.requests.ask([peer, seed], windows);
  t.false(seedWasAsked());
  bench.clock.advance(1);
  bench.requests.ask([peer, seed], windows);
  t.deepEqual(
    bench.taken.filter(({ ask }) => ask.peer === 'seed').map(({ ask }) => ask.piece),
    [0],
  );
});

test('PieceRequests asks a second parent for what is late, but not while a limit of this host holds it up', async (t) => {
  const bench = new Bench(5);
  bench.add('slow', [0, 1, 2, 3, 4]);
  for (let piece = 0; piece < 4; piece += 1) {
    const [asked = ''] = bench.ask();
    const came = Number(asked.split(' ')[1]);
    bench.pieces.set(came);
    await bench.requests.came('slow', came, 10);
    for (const made of bench.taken) if (made.ask.piece === came) made.end();
    await settle();
  }
  bench.ask();
  bench.add('other', [0, 1, 2, 3, 4]);
  bench.clock.advance(60_000);
  bench.isHeldBack = true;
  t.deepEqual(bench.ask(), []);
  bench.isHeldBack = false;
  t.is(bench.ask().filter((made) => made.startsWith('other')).length, 1);
  t.true(bench.taken.at(-1)?.ask.isHedge);
});
