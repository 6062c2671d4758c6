import test from 'ava';
import { hasStrongEtag, plainValidators, versionOf } from './version.ts';

const validators = { etag: '"a"', lastModified: 'Wed, 01 Jan 2020 00:00:00 GMT' };

test('versionOf() is the same for hosts that ask the origin apart', (t) => {
  const version = versionOf({ validators, length: 10 });
  t.regex(version, /^[0-9a-f]{16}$/);
  t.is(versionOf({ validators: { ...validators }, length: 10 }), version);
});

test('versionOf() differs with each validator and the length', (t) => {
  const versions = [
    versionOf({ validators, length: 10 }),
    versionOf({ validators, length: 11 }),
    versionOf({ validators, length: undefined }),
    versionOf({ validators: { ...validators, etag: '"b"' }, length: 10 }),
    versionOf({ validators: { etag: '"a"' }, length: 10 }),
    versionOf({ validators: { lastModified: '"a"' }, length: 10 }),
  ];
  t.is(new Set(versions).size, versions.length);
});

test('versionOf() is new each time where the origin names no version', (t) => {
  t.not(versionOf({ validators: {}, length: 10 }), versionOf({ validators: {}, length: 10 }));
});

test('versionOf() of content with a name is its name, whatever the origin says', (t) => {
  const digest = `sha256:${'0123456789abcdef'.repeat(4)}`;
  t.is(versionOf({ digest, validators, length: 10 }), '0123456789abcdef');
  t.is(versionOf({ digest, validators: {}, length: undefined }), '0123456789abcdef');
  // md5 names nothing: two contents with one md5 are easily made.
  t.not(versionOf({ digest: `md5:${'0'.repeat(32)}`, validators, length: 10 }), '0'.repeat(16));
});

test('hasStrongEtag() tells weak ones and none', (t) => {
  t.true(hasStrongEtag({ etag: '"a"' }));
  t.false(hasStrongEtag({ etag: 'W/"a"' }));
  t.false(hasStrongEtag({ lastModified: 'x' }));
});

test('plainValidators() has nothing undefined', (t) => {
  t.deepEqual(plainValidators({ etag: undefined, lastModified: 'x' }), { lastModified: 'x' });
  t.deepEqual(Object.keys(plainValidators({ etag: undefined })), []);
});
