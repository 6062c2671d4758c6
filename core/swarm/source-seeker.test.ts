import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { SeededRandom } from '../base/random.ts';
import { SourceSeeker } from './source-seeker.ts';

test('SourceSeeker asks after a while without progress, one question at a time', async (t) => {
  const clock = new ManualClock();
  const seeker = new SourceSeeker({ clock, random: new SeededRandom(1) });
  clock.advance(14_999);
  t.false(seeker.isDue(0));
  clock.advance(1);
  t.true(seeker.isDue(0));
  t.false(seeker.isDue(1), 'something moved');
  const answer = Promise.withResolvers<boolean>();
  const asked = seeker.seek(async () => answer.promise);
  t.false(seeker.isDue(0));
  answer.resolve(true);
  t.true(await asked);
});

test('SourceSeeker rests longer after each no', async (t) => {
  const clock = new ManualClock();
  const seeker = new SourceSeeker({ clock, random: new SeededRandom(1) });
  clock.advance(15_000);
  for (const restMs of [15_000, 30_000, 60_000, 120_000, 120_000]) {
    t.true(seeker.isDue(0));
    t.false(await seeker.seek(async () => false));
    clock.advance(restMs / 2 - 1);
    t.false(seeker.isDue(0));
    clock.advance(restMs / 2 + 1);
  }
});
