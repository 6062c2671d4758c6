import test from 'ava';
import {
  compareVersions,
  continuationHeaders,
  revalidationHeaders,
  strongValidators,
} from './validators.ts';

const DAY = 'Wed, 21 Oct 2015 07:28:00 GMT';
const NEXT_SECOND = 'Wed, 21 Oct 2015 07:28:01 GMT';

test('strongValidators() trusts a strong ETag, or a Last-Modified older than its answer', (t) => {
  t.truthy(strongValidators({ etag: '"a"' }));
  t.truthy(strongValidators({ lastModified: DAY, date: NEXT_SECOND }));
  t.is(strongValidators({ lastModified: DAY, date: DAY }), undefined);
  t.is(strongValidators({ lastModified: DAY }), undefined);
  t.is(strongValidators({ etag: 'W/"a"', date: DAY }), undefined);
  t.is(strongValidators({ lastModified: 'yesterday', date: NEXT_SECOND }), undefined);
});

test('compareVersions() says same only on proof, and changed on any contradiction', (t) => {
  t.is(compareVersions({ etag: '"a"' }, { etag: '"a"', lastModified: DAY }), 'same');
  t.is(compareVersions({ etag: '"a"' }, { etag: '"b"' }), 'changed');
  t.is(compareVersions({ etag: '"a"' }, { etag: 'W/"a"' }), 'changed');
  t.is(compareVersions({ etag: '"a"', lastModified: DAY }, { lastModified: DAY }), 'unknown');
  t.is(compareVersions({ etag: '"a"', length: 5 }, { etag: '"a"', length: 6 }), 'changed');
  t.is(compareVersions({ etag: '"a"', length: 5 }, { etag: '"a"' }), 'same');
  t.is(compareVersions({ lastModified: DAY }, { lastModified: DAY }), 'same');
  t.is(compareVersions({ lastModified: DAY }, { lastModified: NEXT_SECOND }), 'changed');
  t.is(compareVersions({ lastModified: DAY }, {}), 'unknown');
  t.is(compareVersions({ etag: 'W/"a"' }, { etag: 'W/"a"' }), 'unknown');
  t.is(
    compareVersions({ etag: 'W/"a"', lastModified: DAY }, { etag: 'W/"b"', lastModified: DAY }),
    'changed',
  );
});

test('continuationHeaders() and revalidationHeaders() use the strongest validator there is', (t) => {
  const both = { etag: '"a"', lastModified: DAY };
  const weak = { etag: 'W/"a"', lastModified: DAY };
  t.deepEqual(continuationHeaders(both, { isRanged: true }), { 'if-match': '"a"' });
  t.deepEqual(continuationHeaders(weak, { isRanged: true }), { 'if-range': DAY });
  t.deepEqual(continuationHeaders(weak, { isRanged: false }), { 'if-unmodified-since': DAY });
  t.deepEqual(continuationHeaders({}, { isRanged: true }), {});
  t.deepEqual(revalidationHeaders(weak), { 'if-none-match': 'W/"a"' });
  t.deepEqual(revalidationHeaders({ lastModified: DAY }), { 'if-modified-since': DAY });
  t.deepEqual(revalidationHeaders({}), {});
});
