import test from 'ava';
import { array, assert, boolean, integer, property, tuple } from 'fast-check';
import { Bitfield } from './bitfield.ts';

test('Bitfield is a set of indexes below its length', (t) => {
  const changes = array(tuple(integer({ min: 0, max: 40 }), boolean()), { maxLength: 80 });
  assert(
    property(integer({ min: 0, max: 40 }), changes, (length, steps) => {
      const field = new Bitfield(length);
      const set = new Set<number>();
      for (const [index, isSet] of steps) {
        if (isSet && index >= length) {
          t.throws(() => field.set(index), { instanceOf: RangeError });
        } else if (isSet) {
          t.is(field.set(index), !set.has(index));
          set.add(index);
        } else t.is(field.clear(index), set.delete(index));
        t.is(field.count, set.size);
        t.is(field.has(index), set.has(index));
      }
      t.deepEqual(
        [...field.indexes()],
        [...set].toSorted((a, b) => a - b),
      );
      t.is(field.isFull, set.size === length);
      t.is(new Bitfield(length, field.snapshot()).count, set.size);
    }),
  );
});

test('Bitfield has index 0 in the highest bit of the first byte', (t) => {
  const field = new Bitfield(10);
  field.set(0);
  field.set(9);
  t.deepEqual([...field.bytes], [0x80, 0x40]);
  t.false(field.has(-1));
  t.false(field.has(10));
});

test('Bitfield counts no bit past its length', (t) => {
  t.is(new Bitfield(3, Uint8Array.of(0xff)).count, 3);
  t.throws(() => new Bitfield(9, Uint8Array.of(0xff)), { instanceOf: RangeError });
});

test('Bitfield.shared() is seen by others, its snapshot is not', (t) => {
  const field = Bitfield.shared(8);
  const seen = new Uint8Array(field.bytes.buffer);
  const snapshot = field.snapshot();
  field.set(3);
  t.is(seen[0], 0x10);
  t.is(snapshot[0], 0);
  t.true(field.bytes.buffer instanceof SharedArrayBuffer);
});
