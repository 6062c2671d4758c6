import test from 'ava';
import { ManualClock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import { HumanReporter } from './human-reporter.ts';
import { JsonReporter } from './json-reporter.ts';
import { doneEvent } from '../core/local-api/local-api.contract.ts';
import type { DoneEvent } from './output.ts';
import type { PassingEvent } from './reporter.ts';

const done = doneEvent(1_048_576, {
  fromPeers: 1_000_000,
  fromSeed: 48_576,
  path: '/secret/place',
  content: 'eA==',
}) as DoneEvent;

function progress(received: number): PassingEvent {
  const sources = { fromPeers: received, fromSeed: 0, fromOrigin: 0, fromCache: 0 };
  return { type: 'progress', received, length: 100, bytesPerSecond: 10, ...sources };
}

function human(columns?: number): {
  reporter: HumanReporter;
  clock: ManualClock;
  out: string[];
  err: string[];
} {
  const clock = new ManualClock();
  const [out, err]: [string[], string[]] = [[], []];
  const screen = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
    columns: columns === undefined ? undefined : () => columns,
  };
  return { reporter: new HumanReporter(screen, clock), clock, out, err };
}

test('HumanReporter.done() ends with the line that scripts look for', (t) => {
  const { reporter, out, err } = human();
  reporter.done(done, { seconds: 1.2341, output: '/o' });
  t.deepEqual(out, [
    'download SUCCESS cost:1.234s length:1048576 reason:0 peers:1000000 seed:48576 origin:0 cache:0\n',
  ]);
  t.deepEqual(err, []);
});

test('HumanReporter.failed() puts the line on stdout, and why and what next on stderr', (t) => {
  const { reporter, out, err } = human();
  const error = new CodedError('ERR_ORIGIN_REFUSED', 'the origin answered 404\nNot\u001b[2J Found');
  reporter.failed(error, { seconds: 0.5, length: -1 });
  t.deepEqual(out, [
    'download FAIL(2) cost:0.500s length:-1 reason:ERR_ORIGIN_REFUSED the origin answered 404 Not [2J Found\n',
  ]);
  t.deepEqual(err, [
    'dfget: ERR_ORIGIN_REFUSED: the origin answered 404 Not [2J Found\n',
    '  Check URL and credentials; the status is in the message.\n',
  ]);
});

test('HumanReporter draws at most five times a second and leaves an empty line behind', (t) => {
  const { reporter, clock, out, err } = human(60);
  for (let received = 1; received <= 100; received += 1) {
    reporter.passing(progress(received));
    clock.advance(10);
  }
  t.is(err.length, 5);
  t.true(err.every((text) => text.startsWith('\r\u001b[K') && !text.includes('\n')));
  t.regex(err[4] ?? '', /100%/);
  reporter.done(done, { seconds: 1, output: '/o' });
  t.is(err.at(-1), '\r\u001b[K');
  t.is(out.length, 1);
  clock.advance(1000);
  t.is(err.length, 6, 'no drawing after the end');
});

test('HumanReporter shows what it waits for until bytes come again', (t) => {
  const { reporter, clock, err } = human(80);
  reporter.passing(progress(10));
  reporter.passing({ type: 'stalled', reason: 'nobody has piece 3', ms: 2000 });
  clock.advance(200);
  t.regex(err.at(-1) ?? '', /waiting 0:02: nobody has piece 3/);
  reporter.passing(progress(20));
  clock.advance(200);
  t.notRegex(err.at(-1) ?? '', /waiting/);
});

test('HumanReporter keeps a note apart from the bar', (t) => {
  const { reporter, clock, err } = human(80);
  clock.advance(200);
  reporter.note('something');
  t.deepEqual(err.slice(1), ['\r\u001b[K', 'dfget: something\n']);
});

test('HumanReporter without a terminal tells each reason of a wait once', (t) => {
  const { reporter, err } = human();
  reporter.passing(progress(10));
  for (const reason of ['a', 'a', 'b', 'a']) reporter.passing({ type: 'stalled', reason, ms: 1 });
  t.deepEqual(err, ['dfget: waiting: a\n', 'dfget: waiting: b\n']);
});

test('HumanReporter prints the explanation before the last line, the biggest source first', (t) => {
  const { reporter, out } = human();
  const source = { pieces: 1, wrongPieces: 0, failures: 0 };
  const explain = {
    sources: [
      { ...source, role: 'origin' as const, source: 'origin', bytes: 10 },
      {
        ...source,
        role: 'peer' as const,
        source: '12D3K',
        address: '10.0.0.1:65002',
        bytes: 2048,
        savedBytes: 1024,
      },
    ],
    waits: [{ reason: 'seed has not begun', ms: 1234 }],
    notes: ['resumed'],
  };
  reporter.done({ ...done, explain }, { seconds: 1, output: '/o' });
  t.deepEqual(out[0]?.split('\n'), [
    'ROLE    SOURCE  ADDRESS         PIECES    BYTES    SAVED  WRONG  FAILED',
    'peer    12D3K   10.0.0.1:65002       1  2.0 KiB  1.0 KiB      0       0',
    'origin  origin  -                    1     10 B        -      0       0',
    'waits:',
    '      1.234 s  seed has not begun',
    'notes:',
    '  resumed',
    '',
  ]);
  t.regex(out[1] ?? '', /^download SUCCESS/);
});

test('JsonReporter writes one object a line, progress at most five times a second', (t) => {
  const lines: unknown[] = [];
  const clock = new ManualClock();
  const reporter = new JsonReporter((text) => {
    t.is(text.indexOf('\n'), text.length - 1);
    lines.push(JSON.parse(text));
  }, clock);
  for (let received = 1; received <= 100; received += 1) {
    reporter.passing(progress(received));
    clock.advance(10);
  }
  t.is(lines.length, 5);
  reporter.passing({ type: 'stalled', reason: 'r', ms: 1 });
  t.deepEqual(lines.at(-1), { type: 'stalled', reason: 'r', ms: 1 });
});

test('JsonReporter.done() says what DESIGN §14 lists and keeps the daemon’s path to itself', (t) => {
  const lines: Record<string, unknown>[] = [];
  const reporter = new JsonReporter((text) => void lines.push(JSON.parse(text)), new ManualClock());
  reporter.done({ ...done, digest: 'sha256:ab' }, { seconds: 1.23456, output: '/o' });
  t.like(lines[0], {
    type: 'done',
    length: 1_048_576,
    digest: 'sha256:ab',
    seconds: 1.235,
    fromPeers: 1_000_000,
    fromSeed: 48_576,
    fromOrigin: 0,
    fromCache: 0,
    duplicate: 0,
    output: '/o',
  });
  t.false('path' in (lines[0] ?? {}) || 'content' in (lines[0] ?? {}));
});

test('JsonReporter.failed() carries code, class, message and whether to try again', (t) => {
  const lines: unknown[] = [];
  const reporter = new JsonReporter((text) => void lines.push(JSON.parse(text)), new ManualClock());
  reporter.failed(new CodedError('ERR_TIMEOUT', 'late'));
  t.like(lines[0], {
    type: 'failed',
    code: 'ERR_TIMEOUT',
    class: 'unknown',
    message: 'late',
    retryable: true,
  });
});
