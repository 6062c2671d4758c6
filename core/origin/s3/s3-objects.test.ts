import test from 'ava';
import { ManualClock } from '../../base/clock.ts';
import { isPrivate } from '../../swarm/task-shape.ts';
import { taskIdOf } from '../../piece/task-id.ts';
import { SIGNATURE_PARAMS } from './presign.ts';
import { S3Objects } from './s3-objects.ts';

const credentials = { accessKey: 'A', secretKey: 'hunter2', sessionToken: 'T' };

function objectsOf(clock: ManualClock, keys?: typeof credentials): S3Objects {
  const settings = { region: 'us-east-1', ...(keys === undefined ? {} : { credentials: keys }) };
  return new S3Objects('bucket', { settings, headers: {}, clock });
}

test('S3Objects asks with the same URL for a quarter of an hour, and for the same task always', (t) => {
  const clock = new ManualClock();
  const first = objectsOf(clock, credentials).source({ key: 'k' });
  clock.advance(60_000);
  t.is(objectsOf(clock, credentials).source({ key: 'k' }).url, first.url);
  clock.advance(15 * 60_000);
  const later = objectsOf(clock, { ...credentials, accessKey: 'B' }).source({ key: 'k' });
  t.not(later.url, first.url);
  t.is(taskIdOf(later), taskIdOf(first));
  t.not(taskIdOf(objectsOf(clock, credentials).source({ key: 'l' })), taskIdOf(first));
  const version = objectsOf(clock, credentials).source({ key: 'k', versionId: '1' });
  t.not(taskIdOf(version), taskIdOf(first));
});

test('S3Objects: what is signed is private, and its secret is not in it', (t) => {
  const clock = new ManualClock();
  const signed = objectsOf(clock, credentials).source({ key: 'k' });
  t.deepEqual(signed.filteredQueryParams, SIGNATURE_PARAMS);
  t.true(isPrivate({ url: signed.url, filteredQueryParams: [...SIGNATURE_PARAMS] }));
  t.false(JSON.stringify(signed).includes('hunter2'));
  const open = objectsOf(clock).source({ key: 'k' });
  t.is(open.url, 'https://bucket.s3.us-east-1.amazonaws.com/k');
  t.false(isPrivate({ url: open.url }));
  t.is(taskIdOf(open), taskIdOf(signed));
});
