import test from 'ava';
import { assert, constantFrom, nat, oneof, property, string } from 'fast-check';
import { isRangeOf, judgeRange, matchesEtag, startOfRange } from './blob-range.ts';

const LENGTH = 4096;

test('judgeRange() answers as registries do: the cases of the conformance suite', (t) => {
  const cases: [string | undefined, unknown][] = [
    [undefined, 'whole'],
    ['bytes=500-1499', [{ start: 500, end: 1500 }]],
    ['bytes=500-', [{ start: 500, end: LENGTH }]],
    ['bytes=-500', [{ start: LENGTH - 500, end: LENGTH }]],
    ['bytes=-9999', [{ start: 0, end: LENGTH }]],
    ['bytes=2000-5000', [{ start: 2000, end: LENGTH }]],
    ['bytes=0-0', [{ start: 0, end: 1 }]],
    ['bytes=500-0', 'outside'],
    ['bytes=5000-10000', 'outside'],
    ['bytes=4096-', 'outside'],
    ['bytes=-0', 'outside'],
    ['bytes=', 'outside'],
    ['bytes=-', 'outside'],
    ['bytes=a-b', 'outside'],
    ['bytes=1e3-', 'outside'],
    ['items=0-1', 'whole'],
    ['nonsense', 'whole'],
    [
      'BYTES = 1-2 , 4-5',
      [
        { start: 1, end: 3 },
        { start: 4, end: 6 },
      ],
    ],
    ['bytes=0-1,9999-', [{ start: 0, end: 2 }]],
    ['bytes=0-,0-', 'whole'],
    [`bytes=${Array.from({ length: 1025 }, (_, at) => `${at}-${at}`).join(',')}`, 'whole'],
  ];
  for (const [header, expected] of cases) {
    const verdict = judgeRange(header, LENGTH);
    t.deepEqual(verdict.kind === 'parts' ? verdict.parts : verdict.kind, expected, header);
  }
  t.is(judgeRange('bytes=0-', 0).kind, 'whole');
});

test('judgeRange() takes any text, and never gives more than there is', (t) => {
  const texts = oneof(string(), string({ unit: constantFrom(...'bytes=0123456789-, '.split('')) }));
  assert(
    property(texts, nat(10_000), (header, length) => {
      const verdict = judgeRange(header, length);
      if (verdict.kind !== 'parts') return true;
      const bytes = verdict.parts.reduce((sum, part) => sum + part.end - part.start, 0);
      const isWithin = verdict.parts.every(
        ({ start, end }) => 0 <= start && start < end && end <= length,
      );
      return isWithin && bytes <= length;
    }),
  );
  t.pass();
});

test('isRangeOf() and matchesEtag() compare with the entity tag of the content alone', (t) => {
  const etag = '"sha256:1"';
  t.true(isRangeOf(undefined, etag));
  t.true(isRangeOf(etag, etag));
  t.false(isRangeOf(`W/${etag}`, etag));
  t.false(isRangeOf('Sat, 01 Jan 2022 00:00:00 GMT', etag));
  t.true(matchesEtag(`"x", W/${etag}`, etag));
  t.true(matchesEtag('*', etag));
  t.false(matchesEtag('"x"', etag));
  t.false(matchesEtag(undefined, etag));
});

test('startOfRange() is where the answer begins, as far as that can be told without a length', (t) => {
  const cases: [string | undefined, number | undefined][] = [
    ['bytes=500-1499', 500],
    [' BYTES = 7- , 9-10', 7],
    ['bytes=-500', undefined],
    ['items=1-2', undefined],
    [undefined, undefined],
  ];
  for (const [header, start] of cases) t.is(startOfRange(header), start, header);
});
