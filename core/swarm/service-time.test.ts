import test from 'ava';
import { ServiceTime } from './service-time.ts';

/** That of one parent, after the same sample a few times. */
function after(ms: number, line: number): ServiceTime {
  const one = ServiceTime.ofOne();
  for (let sample = 0; sample < 4; sample += 1) one.note(ms, line);
  return one;
}

test('ServiceTime is what a request took, by its place in the line', (t) => {
  const usual = ServiceTime.usual();
  t.is(after(900, 1).beside(usual), 1, 'nothing is usual yet');
  usual.note(800, 8);
  t.is(ServiceTime.ofOne().beside(usual), 1, 'it is not known yet');
  t.is(after(500, 5).beside(usual), 1);
  t.is(after(1_000, 1).beside(usual), 10);
  t.is(after(250, 1).beside(usual), 1, 'less than three times as long is no difference');
});

test('ServiceTime: a few slow parents do not make that usual', (t) => {
  const usual = ServiceTime.usual();
  for (let sample = 0; sample < 100; sample += 1) usual.note(sample % 5 === 4 ? 5_000 : 100, 1);
  t.true(after(1_000, 1).beside(usual) > 4);
});
