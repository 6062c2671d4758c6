import test from 'ava';
import { chooseLevel, isFast, isWorthSending } from './choose-level.ts';
import type { Level, LevelFacts } from './choose-level.ts';

const speeds: Readonly<Record<Level, number>> = { 1: 250e6, 3: 125e6, 6: 50e6 };
const facts: LevelFacts = {
  linkRate: 6_250_000,
  ratio: 0.4,
  speedOf: (level) => speeds[level],
  idleProcessors: () => 2,
};

const at = (linkRate: number): Level | undefined => chooseLevel({ ...facts, linkRate });

test('chooseLevel() compresses harder the slower the link, and not at all on a fast one', (t) => {
  t.is(at(1_000_000), 6);
  t.is(at(6_250_000), 3);
  t.is(at(25_000_000), 1);
  t.is(at(125_000_000), undefined);
  t.is(at(Number.POSITIVE_INFINITY), undefined);
});

test('chooseLevel() takes no processor that others need, and sends raw where compressing is slow', (t) => {
  t.is(chooseLevel({ ...facts, idleProcessors: () => 0 }), 3);
  t.is(chooseLevel({ ...facts, linkRate: 12_500_000, idleProcessors: () => 0 }), 1);
  t.is(chooseLevel({ ...facts, linkRate: 25_000_000, idleProcessors: () => 0 }), undefined);
  t.is(chooseLevel({ ...facts, linkRate: 25_000_000, idleProcessors: () => 0.4 }), undefined);
  t.is(chooseLevel({ ...facts, linkRate: 25_000_000, idleProcessors: () => 0.6 }), 1);
  t.is(chooseLevel({ ...facts, speedOf: (level) => speeds[level] / 20 }), undefined);
});

test('chooseLevel() compresses less willingly what shrinks less', (t) => {
  t.is(chooseLevel({ ...facts, ratio: 0.05 }), 1);
  t.is(chooseLevel({ ...facts, ratio: 0.95 }), 6);
  t.is(chooseLevel({ ...facts, ratio: 0.99 }), undefined);
  t.is(chooseLevel({ ...facts, ratio: 1 }), undefined);
});

test('isWorthSending() sends a compressed form that is there, unless the reader would lose by it', (t) => {
  t.true(isWorthSending({ linkRate: 100e6, ratio: 0.5 }));
  t.false(isWorthSending({ linkRate: 300e6, ratio: 0.5 }));
  t.false(isWorthSending({ linkRate: 100e6, ratio: 0.9 }));
  t.false(isWorthSending({ linkRate: Number.POSITIVE_INFINITY, ratio: 0.1 }));
});

test('isFast() is true where a gigabit is not what holds the reader up', (t) => {
  t.false(isFast(25_000_000));
  t.true(isFast(118_000_000));
});
