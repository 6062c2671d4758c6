import { assert, property, string } from 'fast-check';
import test from 'ava';
import { withoutUrlSecrets } from './json-log.ts';

test('withoutUrlSecrets() cuts queries, fragments and credentials off URLs, and nothing else', (t) => {
  const cases: [string, string][] = [
    ['GET https://h:1/a/b?sig=s3cret&x=1 answered 404', 'GET https://h:1/a/b?… answered 404'],
    ['http://u:s3cret@h/a', 'http://h/a'],
    ['http://s3cret@h/a?b@c', 'http://h/a?…'],
    ['http://h/a#s3cret', 'http://h/a?…'],
    ['HTTP://H/?s3cret', 'HTTP://H/?…'],
    ['http://h/a?q="s3cret', 'http://h/a?…'],
    ['http://h/a and http://i/b?s3cret', 'http://h/a and http://i/b?…'],
    ['mail a@b.example, what? nothing', 'mail a@b.example, what? nothing'],
    ['http://h/@scope/name', 'http://h/@scope/name'],
  ];
  for (const [text, expected] of cases) {
    const line = withoutUrlSecrets(JSON.stringify({ msg: text, n: 1 }));
    t.deepEqual(JSON.parse(line), { msg: expected, n: 1 }, text);
  }
});

test('withoutUrlSecrets() leaves any line parseable, and no query in it', (t) => {
  const text = string({ unit: 'binary', maxLength: 40 });
  assert(
    property(text, text, text, (before, path, query) => {
      const url = `${before} https://h/${encodeURI(path.toWellFormed())}?${query}s3cret`;
      const line = withoutUrlSecrets(JSON.stringify({ url, after: 1 }));
      const { after, url: kept } = JSON.parse(line) as { after: number; url: string };
      const isOneWord = !/\s/.test(query);
      return after === 1 && !(isOneWord && kept.includes('s3cret'));
    }),
  );
  t.pass();
});
