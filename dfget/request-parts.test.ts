import test from 'ava';
import { assert, property, string } from 'fast-check';
import { CodedError } from '../core/base/error.ts';
import { fileNameOf, parseDigest, parseHeaders, parseRange, parseUrl } from './request-parts.ts';

test('parseHeaders() joins equal names as HTTP allows, cookies with a semicolon', (t) => {
  const headers = parseHeaders(['Accept: a', 'accept: b', 'Cookie: c=1', 'Cookie: d=2', 'X:']);
  t.deepEqual(Object.fromEntries(headers), { Accept: 'a, b', Cookie: 'c=1; d=2', X: '' });
});

test('parseRange() turns inclusive bytes into half-open ones', (t) => {
  t.deepEqual(parseRange('0-0'), { start: 0, end: 1 });
  t.deepEqual(parseRange('bytes=5-9'), { start: 5, end: 10 });
  t.deepEqual(parseRange('5-'), { start: 5 });
});

test('every parser answers or throws a CodedError, whatever the text', (t) => {
  const parsers = [
    parseUrl,
    parseRange,
    (text: string) => parseDigest(text, '--digest'),
    (text: string) => parseHeaders([text]),
    (text: string) => fileNameOf(`http://o/${encodeURIComponent(text)}`),
  ];
  assert(
    property(string({ unit: 'binary' }), (text) => {
      for (const parser of parsers) {
        try {
          parser(text.toWellFormed());
        } catch (error) {
          t.true(error instanceof CodedError, String(error));
        }
      }
    }),
  );
});

test('fileNameOf() never leaves the folder', (t) => {
  assert(
    property(string(), (text) => {
      try {
        const name = fileNameOf(`http://o/x/${text}`);
        t.false(name.includes('/') || name === '..' || name === '.' || name === '', name);
      } catch (error) {
        t.true(error instanceof CodedError || error instanceof TypeError);
      }
    }),
  );
});
