import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../base/error.ts';
import { describeUrl, parseHead } from './response-head.ts';
import type { Answer, Asked } from './response-head.ts';

const asked: Asked = {
  url: new URL('http://user:secret@host/file?token=secret'),
  range: { start: 100, end: 200 },
  isConditional: false,
  nowMs: 0,
};

function code(answer: Answer, request: Asked = asked): string | undefined {
  try {
    parseHead(answer, request);
    return undefined;
  } catch (error) {
    if (error instanceof CodedError) return error.code;
    throw error;
  }
}

const with206 = (range: string, length?: string): Answer => ({
  status: 206,
  headers: {
    'content-range': range,
    ...(length === undefined ? {} : { 'content-length': length }),
  },
});

const encoding = (text: string): string | undefined =>
  parseHead({ status: 200, headers: { 'content-encoding': text } }, asked).contentEncoding;

test('parseHead() reads a 206 with the range that was asked for', (t) => {
  const headers = {
    'content-range': 'bytes 100-199/1000',
    'content-length': '100',
    etag: '"a"',
    'content-type': 'text/plain',
    'cache-control': 'no-store',
    date: 'now',
  };
  t.deepEqual(parseHead({ status: 206, headers }, asked), {
    status: 206,
    url: 'http://host/file?token=secret',
    length: 1000,
    rangeStart: 100,
    rangeEnd: 200,
    acceptsRanges: true,
    validators: { etag: '"a"', lastModified: undefined },
    contentType: 'text/plain',
    cacheControl: 'no-store',
    date: 'now',
  });
});

test('parseHead() accepts a shorter range and an unknown total, and refuses any other range', (t) => {
  for (const range of ['bytes 100-199/*', 'bytes 100-149/1000', 'Bytes 100-199/1000']) {
    t.is(code(with206(range)), undefined, range);
  }
  const wrong = [
    'bytes 99-199/1000',
    'bytes 101-199/1000',
    'bytes 100-200/1000',
    'bytes 100-99/1000',
    'bytes 100-199/150',
    'bytes */1000',
    'items 100-199/1000',
    '',
  ];
  for (const range of wrong) t.is(code(with206(range)), 'ERR_ORIGIN_FAILING', range);
  t.is(code(with206('bytes 100-199/1000', '50')), 'ERR_ORIGIN_FAILING');
  t.is(code(with206('bytes 0-9/10'), { ...asked, range: undefined }), 'ERR_ORIGIN_FAILING');
});

test('parseHead() takes no length from a chunked answer', (t) => {
  const headers = { 'transfer-encoding': 'chunked', 'content-length': '5' };
  t.is(parseHead({ status: 200, headers }, asked).length, undefined);
  t.is(parseHead({ status: 200, headers: { 'content-length': '5' } }, asked).length, 5);
});

test('parseHead() keeps a content encoding that was not asked for, and drops identity', (t) => {
  t.is(encoding('gzip'), 'gzip');
  t.is(encoding('identity'), undefined);
});

test('parseHead() gives each refusal its code, and names no secret', (t) => {
  t.is(code({ status: 404, headers: {} }), 'ERR_ORIGIN_REFUSED');
  t.is(code({ status: 503, headers: {} }), 'ERR_ORIGIN_FAILING');
  t.is(code({ status: 204, headers: {} }), 'ERR_ORIGIN_FAILING');
  t.is(code({ status: 300, headers: {} }), 'ERR_ORIGIN_FAILING');
  t.is(code({ status: 412, headers: {} }), 'ERR_ORIGIN_CHANGED');
  t.is(code({ status: 416, headers: {} }), 'ERR_ORIGIN_RANGE');
  t.is(code({ status: 304, headers: {} }), 'ERR_ORIGIN_FAILING');
  t.is(code({ status: 304, headers: {} }, { ...asked, isConditional: true }), undefined);
  const error = t.throws(() => parseHead({ status: 503, headers: { 'retry-after': '7' } }, asked));
  t.deepEqual(error instanceof CodedError && error.detail, { status: 503, retryAfterMs: 7000 });
  t.false(error?.message.includes('secret'));
  t.is(describeUrl(asked.url), 'http://host/file');
});

test('parseHead() meets any headers with a head that fits the request or a coded error', (t) => {
  const name = fc.constantFrom(
    'content-range',
    'content-length',
    'etag',
    'retry-after',
    'accept-ranges',
  );
  const value = fc.oneof(
    fc.string(),
    fc.tuple(fc.nat(300), fc.nat(300), fc.nat(300)).map(([a, b, c]) => `bytes ${a}-${b}/${c}`),
    fc.array(fc.string()),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(200, 206, 416, 503),
      fc.dictionary(name, value),
      (status, headers) => {
        try {
          const head = parseHead({ status, headers }, asked);
          const end = head.rangeEnd ?? Infinity;
          return head.status === 200 || (head.rangeStart === 100 && end > 100 && end <= 200);
        } catch (error) {
          return error instanceof CodedError;
        }
      },
    ),
  );
  t.pass();
});
