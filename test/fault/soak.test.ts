// `npm run bench -- soak` for six seconds: the long one is run by hand.
import test from 'ava';
import { brokenPromises, renderSoak } from '../../bench/report/soak-report.ts';
import { runSoak } from '../../bench/scenario/soak.ts';
import { cannotMount } from '../support/tmpfs.ts';

test('a cell whose processes die and whose disks are full gives out no wrong byte, and gathers nothing', async (t) => {
  t.timeout(300_000);
  const result = await runSoak({
    form: 'source',
    seconds: 6,
    seed: 20_261_122,
    hosts: 2,
    contents: 14,
    workers: 2,
    killEverySeconds: 2,
    fullEverySeconds: 3,
    diskMib: cannotMount === undefined ? 32 : 0,
    quotaMib: 16,
    finals: 3,
    signal: new AbortController().signal,
    onStep: (text) => t.log(text),
  });
  t.log(renderSoak(result));
  t.true(result.outcomes.some((outcome) => outcome.result === 'right'));
  t.true(result.restarts.length > 0, 'something was killed');
  t.deepEqual(brokenPromises(result), []);
});
