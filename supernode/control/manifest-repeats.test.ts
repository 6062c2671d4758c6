import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { SwarmVersion } from '../swarm-table/swarm-table.ts';
import { ManifestRepeats } from './manifest-repeats.ts';

const version = new SwarmVersion('a'.repeat(64), {
  version: '1',
  pieceLength: 1024,
  length: 4096,
  validators: {},
});

test('take() lets a host have it at once, then with pauses that double up to a minute', (t) => {
  const clock = new ManualClock();
  const repeats = new ManifestRepeats(clock);
  const entry = version.peer('a');
  const at: number[] = [];
  for (let seconds = 0; seconds <= 300; seconds += 5) {
    if (repeats.take(entry)) at.push(seconds);
    clock.advance(5_000);
  }
  t.deepEqual(at, [0, 10, 30, 70, 130, 190, 250]);
});

test('take() begins anew for a host that came forward, and has nothing to do with others', (t) => {
  const repeats = new ManifestRepeats(new ManualClock());
  const entry = version.peer('a');
  t.true(repeats.take(entry));
  t.false(repeats.take(entry));
  t.true(repeats.take(version.peer('b')));
  repeats.forget(entry);
  t.true(repeats.take(entry));
});
