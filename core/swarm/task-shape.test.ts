import test from 'ava';
import { isPrivate, shapeOfAnswer, wholeDigest } from './task-shape.ts';

const url = 'http://origin.example/f';
const digest = `sha256:${'a'.repeat(64)}`;
const facts = { validators: { etag: '"a"' }, length: 600 * 1024 * 1024, acceptsRanges: true };

test('shapeOfAnswer() says what an answer means for the task', (t) => {
  const shape = shapeOfAnswer({ url }, facts);
  t.like(shape, { pieceLength: 1024 * 1024, length: facts.length, acceptsRanges: true });
  t.false('isPrivate' in shape);
  const part = shapeOfAnswer({ url, range: { start: 0, end: 10 } }, facts);
  t.like(part, { pieceLength: 256 * 1024, length: 10 });
  t.not(part.version, shape.version);
  t.false('length' in shapeOfAnswer({ url }, { ...facts, length: undefined }));
});

test('shapeOfAnswer() names by its digest what has one, unless it is a part', (t) => {
  t.is(shapeOfAnswer({ url, digest }, facts).version, 'a'.repeat(16));
  t.is(wholeDigest({ url, digest }), digest);
  const range = { start: 0, end: 10 };
  t.not(shapeOfAnswer({ url, digest, range }, facts).version, 'a'.repeat(16));
  t.is(wholeDigest({ url, digest, range }), undefined);
});

test('isPrivate() is what was asked for with something that may be a credential', (t) => {
  t.false(isPrivate({ url }));
  t.false(isPrivate({ url, headers: {} }));
  t.false(isPrivate({ url: `${url}?token=1` }), 'it is part of the name of the task');
  t.true(isPrivate({ url: `${url}?token=1`, digest }), 'its name is the digest alone');
  t.false(isPrivate({ url: `${url}?token=1`, digest: 'md5:0123456789abcdef0123456789abcdef' }));
  t.true(isPrivate({ url, headers: { accept: '*' } }));
  t.true(isPrivate({ url: 'http://user@origin.example/f' }));
  t.true(isPrivate({ url: 'http://:pass@origin.example/f' }));
  t.true(isPrivate({ url: `${url}?token=1`, filteredQueryParams: ['token'] }));
  t.false(isPrivate({ url: `${url}?other=1`, filteredQueryParams: ['token'] }));
});
