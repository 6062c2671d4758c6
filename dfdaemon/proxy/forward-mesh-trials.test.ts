import test from 'ava';
import { MeshTrials } from './forward-mesh-trials.ts';

test('MeshTrials pauses an origin for longer each time, and forgets when it works', (t) => {
  const trials = new MeshTrials();
  t.true(trials.mayTry('a', 0));
  let now = 0;
  for (const ms of [5000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
    trials.failed('a', now);
    trials.failed('a', now + 1);
    t.false(trials.mayTry('a', now + ms - 1));
    t.true(trials.mayTry('a', now + ms));
    t.true(trials.mayTry('b', now));
    now += ms;
  }
  trials.worked('a');
  trials.failed('a', now);
  t.true(trials.mayTry('a', now + 5000));
});
