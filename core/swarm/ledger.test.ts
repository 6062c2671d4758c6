import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { Ledger } from './ledger.ts';

const none = { fromPeers: 0, fromSeed: 0, fromOrigin: 0 };

test('Ledger tells bytes by kind of source, and since a moment', (t) => {
  const ledger = new Ledger(new ManualClock());
  ledger.source('a', 'peer', 'a:1');
  ledger.source('b', 'peer');
  ledger.source('s', 'seed');
  ledger.source('origin', 'origin');
  ledger.delivered('a', 1, 10);
  ledger.delivered('b', 2, 5);
  ledger.delivered('s', 3, 3);
  const before = ledger.since(none);
  t.deepEqual(before, { fromPeers: 15, fromSeed: 3, fromOrigin: 0 });
  ledger.delivered('origin', 4, 7);
  ledger.delivered('a', 5, 1);
  t.deepEqual(ledger.since(before), { fromPeers: 1, fromSeed: 0, fromOrigin: 7 });
  ledger.delivered('nobody', 6, 100);
  t.is(ledger.bytesFrom('peer'), 16);
});

test('Ledger explains its sources, the most useful first', (t) => {
  const ledger = new Ledger(new ManualClock());
  ledger.source('a', 'peer', 'a:1');
  ledger.source('s', 'seed');
  ledger.source('a', 'peer');
  ledger.delivered('s', 7, 3);
  ledger.saved('s', 2);
  ledger.saved('a', 0);
  ledger.wrongPiece('a');
  ledger.failure('a');
  ledger.failure('a');
  const counts = { pieces: 0, bytes: 0, wrongPieces: 0, failures: 0 };
  t.deepEqual(ledger.explain().sources, [
    { source: 's', role: 'seed', ...counts, pieces: 1, bytes: 3, savedBytes: 2 },
    { source: 'a', role: 'peer', ...counts, wrongPieces: 1, failures: 2, address: 'a:1' },
  ]);
});

test('Ledger.wait() adds up what was waited for, and for how long', (t) => {
  const clock = new ManualClock();
  const ledger = new Ledger(clock);
  t.is(ledger.waiting, undefined);
  ledger.wait('parents');
  clock.advance(100);
  ledger.wait('parents');
  clock.advance(50);
  t.deepEqual(ledger.waiting, { reason: 'parents', ms: 150 });
  ledger.wait('the origin');
  clock.advance(10);
  ledger.wait(undefined);
  clock.advance(1_000);
  ledger.wait('parents');
  clock.advance(5);
  ledger.wait(undefined);
  t.deepEqual(ledger.explain().waits, [
    { reason: 'parents', ms: 155 },
    { reason: 'the origin', ms: 10 },
  ]);
});

test('Ledger keeps notes once in a row, and everything within bounds', (t) => {
  const clock = new ManualClock();
  const ledger = new Ledger(clock);
  for (const note of ['a', 'a', 'b', 'a']) ledger.note(note);
  t.deepEqual(ledger.explain().notes, ['a', 'b', 'a']);
  for (let index = 0; index < 1_000; index += 1) {
    ledger.note(`${index}`);
    ledger.source(`${index}`, 'peer');
    ledger.wait(`${index}`);
    clock.advance(1);
  }
  const { notes, sources, waits } = ledger.explain();
  t.true([notes, sources, waits].every(({ length }) => length === 256));
});

test('Ledger counts what comes twice, and no source gets credit for it', (t) => {
  const ledger = new Ledger(new ManualClock());
  ledger.source('a', 'peer');
  ledger.source('origin', 'origin');
  t.true(ledger.delivered('a', 1, 10));
  t.false(ledger.delivered('origin', 1, 10));
  t.is(ledger.duplicate, 10);
  t.is(ledger.bytesFrom('origin'), 0);
  ledger.lost(1);
  t.true(ledger.delivered('origin', 1, 10));
  t.is(ledger.duplicate, 10);
});
