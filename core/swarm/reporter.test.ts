import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock } from '../base/clock.ts';
import { parser } from '../wire/parse-message.ts';
import { TaskReport } from '../wire/messages.ts';
import { Reporter } from './reporter.ts';

const parse = parser(TaskReport);
const task = { taskId: 'a'.repeat(64), version: 'b'.repeat(16) };
const other = { taskId: 'c'.repeat(64), version: 'b'.repeat(16) };
const parent = 'p'.repeat(52);

function begin(t: ExecutionContext): {
  clock: ManualClock;
  reporter: Reporter;
  sent: TaskReport[][];
} {
  const clock = new ManualClock();
  const sent: TaskReport[][] = [];
  const reporter = new Reporter(clock, (tasks) => {
    t.notThrows(() => tasks.map(parse));
    sent.push(tasks);
  });
  return { clock, reporter, sent };
}

test('Reporter sends what happened in a while in one message', (t) => {
  const { clock, reporter, sent } = begin(t);
  reporter.had(task, 1);
  reporter.had(task, 2);
  reporter.had(other, 7);
  reporter.state(task, { complete: true });
  clock.advance(50);
  t.deepEqual(sent, []);
  clock.advance(60);
  t.deepEqual(sent, [
    [
      { task: task.taskId, version: task.version, had: [1, 2], complete: true },
      { task: other.taskId, version: other.version, had: [7] },
    ],
  ]);
  clock.advance(1_000);
  t.is(sent.length, 1);
});

test('Reporter tells of a piece what was last', (t) => {
  const { reporter, sent } = begin(t);
  reporter.had(task, 1);
  reporter.lost(task, 1);
  reporter.lost(task, 2);
  reporter.had(task, 2);
  reporter.flush();
  t.deepEqual(sent[0], [{ task: task.taskId, version: task.version, had: [2], lost: [1] }]);
});

test('Reporter.flush() sends at once, and then there is nothing to send', (t) => {
  const { clock, reporter, sent } = begin(t);
  reporter.state(task, { active: false, fromPeers: 3 });
  reporter.flush();
  reporter.flush();
  clock.advance(1_000);
  t.deepEqual(sent, [[{ task: task.taskId, version: task.version, active: false, fromPeers: 3 }]]);
});

test('Reporter remembers a bounded number of failures', (t) => {
  const { reporter, sent } = begin(t);
  for (let piece = 0; piece < 1_000; piece += 1) {
    reporter.failure(task, { parent, piece, code: 'ERR_LINK' });
  }
  reporter.flush();
  t.is(sent[0]?.[0]?.failures?.length, 100);
});

test('Reporter takes its time for pieces that came from other hosts, and none for the first copy', (t) => {
  const { clock, reporter, sent } = begin(t);
  reporter.had(task, 1, { isFirst: false });
  clock.advance(900);
  t.deepEqual(sent, []);
  clock.advance(100);
  t.is(sent.length, 1);
  reporter.had(task, 2, { isFirst: false });
  clock.advance(300);
  reporter.had(task, 3, { isFirst: true });
  clock.advance(100);
  t.deepEqual(sent[1], [{ task: task.taskId, version: task.version, had: [2, 3] }]);
  clock.advance(5_000);
  t.is(sent.length, 2);
});
