import test from 'ava';
import { array, assert, integer, property } from 'fast-check';
import { messagesOf } from './announcement.ts';

test('messagesOf() keeps every batch, in order, in messages that fit a frame', (t) => {
  const sizes = array(integer({ min: 1, max: 900_000 }), { maxLength: 40 });
  assert(
    property(sizes, (lengths) => {
      const batches = lengths.map((length, index) => `${index}`.padEnd(length));
      const messages = messagesOf(batches);
      t.deepEqual(messages.flat(), batches);
      for (const message of messages) {
        const characters = message.reduce((sum, { length }) => sum + length, 0);
        t.true(message.length <= 1 || characters <= 400_000);
      }
    }),
    { numRuns: 30 },
  );
});

test('messagesOf() makes one message of nothing, and more of many small batches', (t) => {
  t.deepEqual(messagesOf([]), [[]]);
  const many = Array.from({ length: 10_000 }, () => 'x');
  t.deepEqual(
    messagesOf(many).map(({ length }) => length),
    [4_096, 4_096, 1_808],
  );
});
