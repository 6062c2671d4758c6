import test from 'ava';
import { assert, nat, option, property, record, string } from 'fast-check';
import { formatSeconds, renderProgress } from './progress.ts';
import type { ProgressState } from './progress.ts';

const MIB = 1024 * 1024;
const half: ProgressState = {
  received: 512 * MIB,
  length: 1024 * MIB,
  bytesPerSecond: 64 * MIB,
  fromPeers: 500 * MIB,
  elapsedMs: 8000,
};

test('renderProgress() shows share, bar, amount, rate, time left and bytes from peers', (t) => {
  t.is(
    renderProgress(half, 110),
    ' 50% [====================>                   ] 512 MiB/1.0 GiB 64.0 MiB/s ETA 0:08 500 MiB from peers',
  );
});

test('renderProgress() leaves out the least important where the terminal is narrow', (t) => {
  t.is(renderProgress(half, 45), ' 50% 512 MiB/1.0 GiB 64.0 MiB/s ETA 0:08');
  t.is(renderProgress(half, 25), ' 50% 512 MiB/1.0 GiB');
  t.is(renderProgress(half, 5), ' 50%');
});

test('renderProgress() says 100 % only when every byte is there', (t) => {
  t.regex(renderProgress({ ...half, received: 1024 * MIB - 1 }, 80), /^ 99% /);
  t.regex(renderProgress({ ...half, received: 1024 * MIB }, 80), /^100% \[=+\] /);
});

test('renderProgress() turns a spinner and counts bytes where the length is unknown', (t) => {
  const state = { ...half, length: undefined };
  t.is(renderProgress(state, 80), '| 512 MiB 64.0 MiB/s 0:08 500 MiB from peers');
  t.is(renderProgress({ ...state, elapsedMs: 8200 }, 80)[0], '/');
});

test('renderProgress() knows empty content and a rate of nothing', (t) => {
  t.regex(renderProgress({ ...half, received: 0, length: 0 }, 80), /^100%/);
  t.regex(renderProgress({ ...half, bytesPerSecond: 0 }, 80), /ETA -:--/);
});

test('renderProgress() says what it waits for, in one line that cannot steer the terminal', (t) => {
  const waiting = { reason: 'no parent\u001b[2J\nhas piece 7', ms: 6100 };
  t.is(
    renderProgress({ ...half, waiting }, 80),
    ' 50% [========>       ] 512 MiB/1.0 GiB waiting 0:06: no parent [2J has piece 7',
  );
});

test('renderProgress() is one printable line that fits, whatever the state', (t) => {
  const states = record({
    received: nat(),
    length: option(nat(), { nil: undefined }),
    bytesPerSecond: nat(),
    fromPeers: nat(),
    elapsedMs: nat(),
    waiting: option(record({ reason: string({ unit: 'binary' }), ms: nat() }), { nil: undefined }),
  });
  assert(
    property(states, nat({ max: 200 }), (state, columns) => {
      const line = renderProgress(state, columns);
      t.true(line.length <= Math.max(1, columns - 1), line);
      t.regex(line, /^[\x20-\x7e]*$/);
    }),
  );
});

test('formatSeconds() writes minutes and hours', (t) => {
  t.is(formatSeconds(7.4), '0:07');
  t.is(formatSeconds(754), '12:34');
  t.is(formatSeconds(3723), '1:02:03');
});
