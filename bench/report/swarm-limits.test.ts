import test from 'ava';
import { fluidLimit, pieceLimit, quantile, survivorLimit } from './swarm-limits.ts';

const host = { up: 10, down: 10 };
const shape = {
  length: 1000,
  pieces: 100,
  sourceUp: 10,
  hosts: Array.from({ length: 16 }, () => host),
};

test('fluidLimit() is the tightest of source, slowest taker, and all uploads together', (t) => {
  t.is(fluidLimit(shape), 100);
  t.is(fluidLimit({ ...shape, sourceUp: 4 }), 250);
  t.is(fluidLimit({ ...shape, hosts: [...shape.hosts, { up: 10, down: 2 }] }), 500);
  // 16 takers of 1000 bytes, who give nothing themselves.
  const takers = shape.hosts.map(() => ({ up: 0, down: 100 }));
  t.is(fluidLimit({ ...shape, hosts: takers }), 1600);
});

test('pieceLimit() adds one piece time for each doubling of the hosts', (t) => {
  t.is(pieceLimit(shape, { hosts: 1, rate: 10 }), 100);
  t.is(pieceLimit(shape, { hosts: 16, rate: 10 }), 104);
  t.is(pieceLimit(shape, { hosts: 31, rate: 10 }), 104);
});

test('survivorLimit() counts what the killed ones may have given before', (t) => {
  // 2 survivors of 1000 bytes each; together with the source 3 per second, 1 of the killed for 50 s.
  const few = {
    length: 1000,
    pieces: 1,
    sourceUp: 1,
    hosts: [
      { up: 1, down: 10 },
      { up: 1, down: 10 },
    ],
  };
  t.is(survivorLimit({ ...few, sourceUp: 2 }, { after: 50, up: [4] }), 500);
  t.is(survivorLimit(few, { after: 50, up: [] }), 1000);
});

test('quantile() is a value that was there', (t) => {
  t.is(quantile([3, 1, 2], 0.5), 2);
  t.is(quantile([3, 1, 2], 0.99), 3);
  t.is(quantile([7], 0), 7);
  t.is(quantile([], 0.5), Number.NaN);
});
