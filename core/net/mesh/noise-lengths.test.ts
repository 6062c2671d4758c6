import { LengthPrefixedDecoder } from '@libp2p/utils';
import test from 'ava';
import { assert, array, integer, property, uint8Array } from 'fast-check';
import { readLengthsQuietly } from './noise-lengths.ts';

/** As noise makes it, but for the length decoder: this one must not be called again. */
function quietDecoder(): LengthPrefixedDecoder {
  const decoder = new LengthPrefixedDecoder({
    lengthDecoder: () => {
      throw new RangeError('noise throws where a length has not come');
    },
    encodingLength: () => 2,
  });
  readLengthsQuietly({ decoder });
  return decoder;
}

test('readLengthsQuietly() finds the same messages, however their bytes come', (t) => {
  const messages = array(uint8Array({ minLength: 1, maxLength: 700 }), { maxLength: 8 });
  assert(
    property(messages, integer({ min: 1, max: 50 }), (sent, step) => {
      const bytes = Buffer.concat(
        sent.flatMap((message) => [Buffer.from([message.length >> 8, message.length]), message]),
      );
      const decoder = quietDecoder();
      const came: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += step) {
        for (const part of decoder.decode(bytes.subarray(at, at + step))) came.push(part.slice());
      }
      t.deepEqual(came, sent);
    }),
  );
});

test('readLengthsQuietly() refuses a connection that is not what it knows', (t) => {
  t.throws(() => readLengthsQuietly({}), { instanceOf: TypeError });
});
