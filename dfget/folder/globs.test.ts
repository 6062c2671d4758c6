import test from 'ava';
import { globFilter } from './globs.ts';

const cases: readonly (readonly [glob: string, yes: readonly string[], no: readonly string[]])[] = [
  ['*.deb', ['a.deb', 'pool/main/a.deb'], ['a.deb/b', 'a.debx', 'adeb']],
  ['pool/*.deb', ['pool/a.deb'], ['a.deb', 'pool/main/a.deb', 'x/pool/a.deb']],
  ['pool/**/*.deb', ['pool/a.deb', 'pool/main/x/a.deb'], ['a.deb']],
  ['pool/**', ['pool/a', 'pool/b/c'], ['pool', 'spool/a']],
  ['dists/', ['dists/a', 'x/dists/a/b'], ['dists', 'mydists/a']],
  ['/top', ['top'], ['a/top']],
  ['a?c', ['abc', 'x/aéc'], ['ac', 'a/c']],
  ['[a-c]1', ['a1', 'c1'], ['d1', '-1']],
  ['[!a-c]1', ['d1'], ['a1', '/1']],
  [String.raw`\*.txt`, ['*.txt'], ['a.txt']],
  ['a.b+(c)', ['a.b+(c)'], ['aXb+(c)', 'a.bb(c)']],
  ['[', ['['], ['a']],
];

test('globFilter() matches names, paths and folders', (t) => {
  for (const [glob, yes, no] of cases) {
    const matches = globFilter([glob], '--include-files');
    for (const path of yes) t.true(matches(path), `${glob} and ${path}`);
    for (const path of no) t.false(matches(path), `${glob} and ${path}`);
  }
});

test('globFilter() refuses what is no pattern, naming the flag', (t) => {
  const error = { code: 'ERR_USAGE', message: /^--exclude-files: / };
  for (const glob of ['', '[z-a]', 'x'.repeat(1_001)]) {
    t.throws(() => globFilter([glob], '--exclude-files'), error, glob.slice(0, 9));
  }
});

test('globFilter() is done in time with names that were made to keep it busy', (t) => {
  const matches = globFilter(['*-*-*-*-*-*-*-*.deb'], '--include-files');
  t.false(matches('-'.repeat(250)));
});
