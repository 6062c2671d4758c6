import test from 'ava';
import { assert, nat, oneof, property, string, stringMatching } from 'fast-check';
import {
  formatDuration,
  formatRate,
  formatSize,
  humanBytes,
  parseDuration,
  parseRate,
  parseSize,
} from './units.ts';

const amount = nat({ max: Number.MAX_SAFE_INTEGER });
const noise = oneof(
  string(),
  stringMatching(/^[0-9.kKmMgGtTiIbBs/ -]{0,12}$/),
  stringMatching(/^[0-9.msd]{0,10}$/),
);

test('parseSize() reads the spellings of v1 and the binary ones as powers of 1024', (t) => {
  const mib = 1024 * 1024;
  for (const text of ['20M', '20m', '20MB', '20mb', '20MiB', '20 MiB', '20480k', '20971520']) {
    t.is(parseSize(text), 20 * mib, text);
  }
  t.is(parseSize('10GiB'), 10 * 1024 * mib);
  t.is(parseSize('1.5g'), 1.5 * 1024 * mib);
  t.is(parseSize('7B'), 7);
  t.is(parseSize('0'), 0);
});

test('parseSize() refuses what is not a size', (t) => {
  for (const text of [
    '',
    'k',
    '-1',
    '1e9',
    '0x10',
    '1 0',
    '1kk',
    '5P',
    '1.2.3',
    '99999999999999t',
  ]) {
    t.is(parseSize(text), undefined, text);
  }
});

test('parseRate() reads sizes per second, and bits as decimal', (t) => {
  t.is(parseRate('20MB/s'), 20 * 1024 * 1024);
  t.is(parseRate('512k'), 512 * 1024);
  t.is(parseRate('200mbit'), 25_000_000);
  t.is(parseRate('1gbit/s'), 125_000_000);
  t.is(parseRate('1Mbit'), 125_000);
  t.is(parseRate('0'), 0);
  t.is(parseRate('5mbps'), undefined);
});

test('parseRate() never turns a small rate into 0, which means no limit', (t) => {
  t.is(parseRate('1bit'), 1);
  t.is(parseRate('0.0001k'), 1);
});

test('parseDuration() wants a unit, and adds up parts', (t) => {
  t.is(parseDuration('500ms'), 500);
  t.is(parseDuration('30s'), 30_000);
  t.is(parseDuration('24h'), 86_400_000);
  t.is(parseDuration('1h30m'), 5_400_000);
  t.is(parseDuration('1.5s'), 1500);
  t.is(parseDuration('90d'), 90 * 86_400_000);
  t.is(parseDuration('0'), 0);
  for (const text of ['', '30', 's', '30x', '1h 30m', '-5s', '1h30']) {
    t.is(parseDuration(text), undefined, text);
  }
});

test('formatSize(), formatRate() and formatDuration() are read back exactly', (t) => {
  assert(
    property(amount, (value) => {
      // A power-of-two factor is what makes the formatter choose a unit.
      for (const size of [value, (value % 2 ** 22) * 2 ** 30]) {
        t.is(parseSize(formatSize(size)), size);
        t.is(parseRate(formatRate(size)), size);
      }
      const ms = value % 1e12;
      t.is(parseDuration(formatDuration(ms)), ms);
    }),
  );
});

test('parseSize(), parseRate() and parseDuration() answer a safe integer or undefined to any text', (t) => {
  assert(
    property(noise, (text) => {
      for (const value of [parseSize(text), parseRate(text), parseDuration(text)]) {
        t.true(value === undefined || (Number.isSafeInteger(value) && value >= 0), text);
      }
    }),
  );
});

test('humanBytes() keeps to four figures', (t) => {
  t.is(humanBytes(0), '0 B');
  t.is(humanBytes(1023), '1023 B');
  t.is(humanBytes(1024), '1.0 KiB');
  t.is(humanBytes(1024 * 1024 - 1), '1.0 MiB');
  t.is(humanBytes(150 * 1024 * 1024), '150 MiB');
  t.is(humanBytes(1.5 * 1024 ** 3), '1.5 GiB');
});
