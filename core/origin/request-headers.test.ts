import test from 'ava';
import { CodedError } from '../base/error.ts';
import { firstHop, mayExpire, nextHop } from './request-headers.ts';

const DAY = 'Wed, 21 Oct 2015 07:28:00 GMT';

test('firstHop() makes an Authorization of credentials in the URL and shows them nowhere else', (t) => {
  const { url, headers } = firstHop({ url: 'https://us%40er:p%3Aw@host/a?b#c' });
  t.is(url.href, 'https://host/a?b');
  t.is(headers['authorization'], `Basic ${Buffer.from('us@er:p:w').toString('base64')}`);
  const own = firstHop({ url: 'https://u:p@host/', headers: { Authorization: 'Bearer x' } });
  t.is(own.headers['authorization'], 'Bearer x');
});

test('firstHop() asks for the range and condition, whatever headers the user gave for them', (t) => {
  const { headers } = firstHop({
    url: 'http://host/',
    headers: {
      Range: 'bytes=0-0',
      'If-Range': 'x',
      'Accept-Encoding': 'gzip',
      Host: 'evil',
      'X-Own': 'kept',
    },
    range: { start: 10, end: 20 },
    ifMatch: { lastModified: DAY },
  });
  t.deepEqual(headers, { range: 'bytes=10-19', 'if-range': DAY, 'x-own': 'kept' });
  t.is(firstHop({ url: 'http://host/', range: { start: 10 } }).headers['range'], 'bytes=10-');
});

test('firstHop() refuses what is no URL or no range', (t) => {
  const code = (run: () => unknown): unknown => {
    const error = t.throws(run);
    return error instanceof CodedError ? error.code : error;
  };
  t.is(
    code(() => firstHop({ url: 'ftp://host/' })),
    'ERR_URL',
  );
  for (const range of [
    { start: -1 },
    { start: 5, end: 5 },
    { start: 0.5 },
    { start: Number.NaN },
  ]) {
    t.is(
      code(() => firstHop({ url: 'http://host/', range })),
      'ERR_ORIGIN_RANGE',
    );
  }
});

test('nextHop() keeps every header on the same origin', (t) => {
  const hop = firstHop({ url: 'http://host/a/b', headers: { Cookie: 'c', 'X-Token': 't' } });
  const next = nextHop(hop, '../c');
  t.is(next.url.href, 'http://host/c');
  t.deepEqual(next.headers, hop.headers);
});

test('nextHop() leaves credentials and unknown headers behind on another host, port or scheme', (t) => {
  const hop = firstHop({
    url: 'https://host:8443/a',
    headers: { Authorization: 'Bearer x', Cookie: 'c', 'X-Token': 't', Accept: '*/*' },
    range: { start: 1 },
    ifMatch: { etag: '"e"' },
  });
  const kept = { accept: '*/*', range: 'bytes=1-', 'if-match': '"e"' };
  for (const to of ['https://other:8443/', 'https://host/', 'http://host:8443/', '//u:p@other/']) {
    const next = nextHop(hop, to);
    t.deepEqual(next.headers, kept, to);
    t.is(next.url.username, '');
    t.deepEqual(nextHop(next, hop.url.href).headers, kept, 'not given back on return');
  }
});

test('nextHop() refuses to follow a redirect that cannot be fetched', (t) => {
  const hop = firstHop({ url: 'http://host/' });
  for (const to of [undefined, 'ftp://host/', 'file:///etc/passwd', 'http://', 'http://[']) {
    const error = t.throws(() => nextHop(hop, to));
    t.is(error instanceof CodedError && error.code, 'ERR_ORIGIN_FAILING', to);
  }
});

test('mayExpire() is true of what comes with a token or is signed', (t) => {
  t.false(mayExpire({ url: 'https://u:p@host/a?b=1', headers: { Accept: '*/*', Range: 'x' } }));
  t.true(mayExpire({ url: 'https://host/a', headers: { Authorization: 'Bearer x' } }));
  t.true(mayExpire({ url: 'https://host/a', headers: { 'X-Api-Key': 'x' } }));
  for (const query of ['X-Amz-Signature=x', 'a=b&sig=x', 'token=x', 'Expires=1']) {
    t.true(mayExpire({ url: `https://host/a?${query}` }), query);
  }
});
