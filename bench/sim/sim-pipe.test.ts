import test from 'ava';
import { SimPipes } from './sim-pipe.ts';

test('what comes in together leaves one after the other, and what comes alone as it came', (t) => {
  const pipes = new SimPipes({ idcs: 2, bytesPerMs: 10 });
  const pass = (sendMs: number, atMs: number): number =>
    pipes.pass({ bytes: 100, sendMs }, { from: 0, to: 1, atMs });
  t.is(pass(1, 5), 14);
  t.is(pass(1, 5), 24);
  t.is(pass(50, 100), 100, 'it came slower than it could leave');
  t.is(pipes.pass({ bytes: 100, sendMs: 1 }, { from: 1, to: 0, atMs: 5 }), 14, 'the other way');
  t.is(pipes.crossedBytes, 400);
});

test('between two idcs neither of which is the first both of their links are passed', (t) => {
  const pipes = new SimPipes({ idcs: 3, bytesPerMs: 10 });
  const block = { bytes: 100, sendMs: 1 };
  t.is(pipes.pass(block, { from: 2, to: 1, atMs: 20 }), 29);
  t.is(block.sendMs, 10);
  t.is(pipes.pass({ bytes: 100, sendMs: 1 }, { from: 0, to: 1, atMs: 20 }), 39);
  t.is(pipes.pass({ bytes: 100, sendMs: 1 }, { from: 1, to: 1, atMs: 20 }), 20);
  t.is(pipes.crossedBytes, 200);
});
