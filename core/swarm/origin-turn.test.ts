import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { ErrorCode } from '../base/error-codes.ts';
import { SeededRandom } from '../base/random.ts';
import type { OriginReader } from './origin-reader.ts';
import { OriginTurn } from './origin-turn.ts';
import type { LinkedHosts, OriginPolicy } from './origin-turn.ts';

type Share = Parameters<OriginReader['readShare']>[0];

function begin(policy: OriginPolicy): {
  clock: ManualClock;
  turn: OriginTurn;
  shares: Share[];
  all: () => number;
} {
  const clock = new ManualClock();
  const shares: Share[] = [];
  let alls = 0;
  const reader: Pick<OriginReader, 'readAll' | 'readShare'> = {
    readAll: () => void (alls += 1),
    readShare: (share) => void shares.push(share),
  };
  const random = new SeededRandom(1);
  const turn = new OriginTurn(reader as OriginReader, { policy, clock, random });
  return { clock, turn, shares, all: () => alls };
}

const hosts: LinkedHosts = {
  peers: [{ peer: 'a', has: (piece) => piece < 10 }],
  lastProgressMs: 0,
  isKnown: (piece) => piece < 5,
  isTaken: (piece) => piece === 20,
  isAnyAsked: false,
};

test('OriginTurn reads nothing while a supernode answers', (t) => {
  const { clock, turn, shares, all } = begin('when-orphaned');
  t.false(turn.supervise(true));
  clock.advance(60_000);
  turn.take(hosts);
  t.is(all() + shares.length, 0);
  t.false(turn.mayShare);
});

test('OriginTurn reads its share once the supernode has been away for a moment, and no more when it is back', (t) => {
  const { clock, turn, shares } = begin('when-orphaned');
  t.true(turn.supervise(false), 'this is the moment');
  t.false(turn.supervise(false), 'and this is not');
  clock.advance(1_000);
  turn.take(hosts);
  t.is(shares.length, 0);
  clock.advance(1_000);
  turn.take(hosts);
  t.like(shares[0], { others: ['a'], patience: 0, isAnyAsked: false });
  turn.supervise(true);
  turn.take(hosts);
  t.is(shares.length, 1);
});

test('OriginTurn never reads where that was forbidden', (t) => {
  const { clock, turn, shares, all } = begin('never');
  turn.supervise(false);
  clock.advance(60_000);
  turn.take(hosts);
  t.is(all() + shares.length, 0);
});

test('OriginTurn reads everything when it is alone, whoever answers', (t) => {
  const { turn, all } = begin('never');
  turn.goAlone();
  t.false(turn.supervise(false));
  turn.take(hosts);
  t.true(turn.isAlone);
  t.is(all(), 1);
});

test('OriginTurn counts what linked hosts have as to be had only as long as its digest may still come', (t) => {
  const { clock, turn, shares } = begin('when-orphaned');
  turn.supervise(false);
  clock.advance(2_000);
  turn.take(hosts);
  const taken = [0, 7, 15, 20].map((piece) => shares[0]?.isTaken(piece));
  t.deepEqual(taken, [true, true, false, true]);
  clock.advance(10_000);
  turn.take(hosts);
  t.is(shares[1]?.patience, 2);
  const later = [0, 7, 15, 20].map((piece) => shares[1]?.isTaken(piece));
  t.deepEqual(later, [true, false, false, true]);
});

test('OriginTurn is more patient after progress', (t) => {
  const { clock, turn, shares } = begin('when-orphaned');
  turn.supervise(false);
  clock.advance(12_000);
  turn.take({ ...hosts, lastProgressMs: 11_000 });
  t.is(shares[0]?.patience, 0);
});

test('OriginTurn lets the origin rest after failures that others may not have', (t) => {
  const { clock, turn, shares } = begin('when-orphaned');
  turn.supervise(false);
  clock.advance(2_000);
  const away = new CodedError('ERR_ORIGIN_UNREACHABLE', 'no route');
  t.true(turn.rests(away, { mayComeElsewhere: true }));
  turn.take(hosts);
  t.is(shares.length, 0);
  clock.advance(5_000);
  turn.take(hosts);
  t.is(shares.length, 1);
  for (let failure = 0; failure < 20; failure += 1) turn.rests(away, { mayComeElsewhere: true });
  clock.advance(29_000);
  turn.take(hosts);
  t.is(shares.length, 1);
  clock.advance(31_000);
  turn.take(hosts);
  t.is(shares.length, 2);
});

test('OriginTurn goes on after its own worker ended, as long as that brings it forward', (t) => {
  const { clock, turn, all } = begin('when-orphaned');
  turn.goAlone();
  const ended = new CodedError('ERR_WORKER', 'ended');
  for (let round = 0; round < 3; round += 1) {
    for (let end = 0; end < 5; end += 1) t.true(turn.rests(ended, { mayComeElsewhere: false }));
    t.false(turn.rests(ended, { mayComeElsewhere: false }));
    turn.progressed();
  }
  turn.take(hosts);
  t.is(all(), 0);
  clock.advance(5_000);
  turn.take(hosts);
  t.is(all(), 1);
});

test('OriginTurn lets nothing rest that is lasting, or when there is nobody else', (t) => {
  const { turn } = begin('when-orphaned');
  const rests = (code: ErrorCode, mayComeElsewhere = true): boolean =>
    turn.rests(new CodedError(code, ''), { mayComeElsewhere });
  t.true(rests('ERR_ORIGIN_FORBIDDEN'));
  t.false(rests('ERR_ORIGIN_FORBIDDEN', false));
  for (const code of ['ERR_ORIGIN_REFUSED', 'ERR_ORIGIN_CHANGED', 'ERR_NO_SPACE'] as const) {
    t.false(rests(code), code);
  }
  turn.goAlone();
  t.false(rests('ERR_ORIGIN_FORBIDDEN'));
});
