import test from 'ava';
import { LinkRate } from './link-rate.ts';

const BLOCK = 262_144;

function note(rate: LinkRate, blocks: number, ms: number): void {
  for (let block = 0; block < blocks; block += 1) rate.note(BLOCK, ms);
}

test('LinkRate says nothing until enough was sent, and then what the link takes', (t) => {
  const rate = new LinkRate();
  rate.note(BLOCK, 50);
  t.is(rate.bytesPerSecond, undefined);
  rate.note(BLOCK, 50);
  t.is(Math.round(rate.bytesPerSecond ?? 0), BLOCK * 20);
});

test('LinkRate follows a link that gets faster or slower within a few MiB', (t) => {
  const rate = new LinkRate();
  note(rate, 100, 50);
  note(rate, 32, 5);
  const faster = rate.bytesPerSecond ?? 0;
  t.true(faster > BLOCK * 100, `${faster}`);
  note(rate, 32, 50);
  const slower = rate.bytesPerSecond ?? 0;
  t.true(slower < BLOCK * 24, `${slower}`);
});

test('LinkRate takes a socket that takes all at once for a fast link', (t) => {
  const rate = new LinkRate();
  note(rate, 4, 0);
  t.is(rate.bytesPerSecond, Number.POSITIVE_INFINITY);
});
