import test from 'ava';
import { answerHeaders, listOf, refuseLoop, requestHeaders } from './forward-headers.ts';

test('requestHeaders() leaves out what concerns one connection, the proxy, or is named by Connection', (t) => {
  const sent = requestHeaders(
    {
      host: 'a.test',
      connection: 'keep-alive, X-Only-Here',
      'keep-alive': 'timeout=5',
      'proxy-authorization': 'Basic eDp5',
      'proxy-connection': 'keep-alive',
      te: 'trailers',
      'transfer-encoding': 'chunked',
      upgrade: 'websocket',
      expect: '100-continue',
      'x-only-here': '1',
      accept: ['a', 'b'],
      cookie: ['a=1', 'b=2'],
      authorization: 'Bearer x',
    },
    { via: 'me' },
  );
  t.deepEqual(sent, {
    accept: 'a, b',
    cookie: 'a=1; b=2',
    authorization: 'Bearer x',
    via: '1.1 me',
  });
});

test('answerHeaders() keeps every Set-Cookie and adds to Via', (t) => {
  t.deepEqual(
    answerHeaders(
      { 'set-cookie': ['a', 'b'], via: '1.0 other', connection: 'close', etag: '"x"' },
      { via: 'me' },
    ),
    { 'set-cookie': ['a', 'b'], via: '1.0 other, 1.1 me', etag: '"x"' },
  );
});

test('refuseLoop() knows this proxy by its name alone', (t) => {
  t.throws(() => refuseLoop({ via: '1.1 other, 1.1 me (x)' }, 'me'), { code: 'ERR_FORBIDDEN' });
  t.notThrows(() => refuseLoop({ via: '1.1 other, 1.1 meme' }, 'me'));
  t.notThrows(() => refuseLoop({}, 'me'));
});

test('listOf() parts values of one line and of many', (t) => {
  t.deepEqual(listOf(['a, b', 'c,,']), ['a', 'b', 'c']);
  t.deepEqual(listOf(undefined), []);
});
