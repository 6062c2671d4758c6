import test from 'ava';
import { LineShare } from './line-share.ts';

/** A line on which so many bytes a second came for a while. */
function lineOf(bytesPerSecond: number, seconds = 10): LineShare {
  const line = new LineShare();
  for (let tick = 0; tick < seconds * 4; tick += 1) line.tick(bytesPerSecond / 4, 250);
  return line;
}

test('LineShare gives a link the time of a block at its share of the line, and no more than four times what is usual', (t) => {
  t.is(new LineShare().patienceMs(3_000, 15), 3_000, 'nothing known');
  t.is(lineOf(6_000_000).patienceMs(3_000, 15), 3_000, 'a fast line');
  t.is(lineOf(50_000).patienceMs(3_000, 1), 3_000, 'one peer');
  t.is(lineOf(20_000).patienceMs(3_000, 15), 3_000, 'too little came to tell');
  t.is(Math.round(lineOf(500_000).patienceMs(3_000, 15) / 100), 79);
  t.is(lineOf(250_000).patienceMs(3_000, 15), 12_000);
});

test('LineShare: that nothing comes makes a line no slower, until it was forgotten what it takes', (t) => {
  const line = lineOf(6_000_000);
  for (let tick = 0; tick < 40; tick += 1) line.tick(0, 250);
  t.is(line.patienceMs(3_000, 15), 3_000);
  for (let tick = 0; tick < 480; tick += 1) line.tick(0, 250);
  t.true(line.patienceMs(3_000, 15) > 3_000);
});
