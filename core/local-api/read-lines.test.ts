import test from 'ava';
import { array, assert, asyncProperty, nat, string } from 'fast-check';
import { readLines } from './read-lines.ts';

async function linesOf(chunks: readonly Uint8Array[], max = 1000): Promise<string[]> {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield* chunks;
  }
  return Array.fromAsync(readLines(source(), max));
}

test('readLines() gives the same lines wherever the bytes are cut', async (t) => {
  const text = string({ unit: 'grapheme', maxLength: 20 });
  await assert(
    asyncProperty(array(text), array(nat({ max: 200 })), async (parts, cuts) => {
      const lines = parts.map((part) => part.toWellFormed().replaceAll('\n', ''));
      const bytes = Buffer.from(lines.join('\n'));
      const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
      const chunks = edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
      t.deepEqual(
        await linesOf(chunks),
        lines.filter((line) => line !== ''),
      );
    }),
  );
});

test('readLines() refuses a line without an end', async (t) => {
  const endless = Array.from({ length: 20 }, () => Buffer.alloc(100, 'x'));
  await t.throwsAsync(linesOf(endless, 1000), { code: 'ERR_PROTOCOL' });
});
