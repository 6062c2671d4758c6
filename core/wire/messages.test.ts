import test from 'ava';
import { TaskSpec } from './messages.ts';
import { parser } from './parse-message.ts';

const parseSpec = parser(TaskSpec);
const lengths = { md5: 32, sha1: 40, sha256: 64, sha512: 128, crc32: 8 };

function spec(digest: string): unknown {
  return parseSpec({ url: 'http://origin.example/f', digest }).digest;
}

test('TaskSpec takes the digests that everybody can compute, whole and in lower case, and no other', (t) => {
  for (const [algorithm, length] of Object.entries(lengths)) {
    const hex = 'a'.repeat(length);
    t.is(spec(`${algorithm}:${hex}`), `${algorithm}:${hex}`);
    t.throws(() => spec(`${algorithm}:${hex}a`), undefined, algorithm);
    t.throws(() => spec(`${algorithm}:${hex.slice(1)}`), undefined, algorithm);
    t.throws(() => spec(`${algorithm}:${hex.toUpperCase()}`), undefined, algorithm);
  }
  t.throws(() => spec(`blake2s:${'a'.repeat(64)}`));
});
