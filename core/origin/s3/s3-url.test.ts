import test from 'ava';
import { addressOf, parseS3Url, requireFetchable } from './s3-url.ts';

const region = 'eu-west-1';

test('parseS3Url() takes keys as they are written', (t) => {
  t.deepEqual(parseS3Url('s3://bucket/a b/%20/x?y#z'), { bucket: 'bucket', key: 'a b/%20/x?y#z' });
  t.deepEqual(parseS3Url('s3://bucket'), { bucket: 'bucket', key: '' });
  t.deepEqual(parseS3Url('s3://my.bucket/k?versionId=aB.3_/-'), {
    bucket: 'my.bucket',
    key: 'k',
    versionId: 'aB.3_/-',
  });
  for (const url of ['s3://', 's3:///k', 's3://Up/k', 's3://a..b/k', 's3://b@d/k', 'http://b/k']) {
    t.throws(() => parseS3Url(url), { code: 'ERR_URL' }, url);
  }
});

test('addressOf() puts the bucket where the server looks for it', (t) => {
  const url = { bucket: 'bucket', key: "a b/é'.txt" };
  const path = 'a%20b/%C3%A9%27.txt';
  const cases = [
    [{ region }, `https://bucket.s3.eu-west-1.amazonaws.com/${path}`],
    [{ region, addressing: 'path' }, `https://s3.eu-west-1.amazonaws.com/bucket/${path}`],
    [{ region, endpoint: 'http://minio:9000' }, `http://minio:9000/bucket/${path}`],
    [{ region, endpoint: 'https://g/s3/' }, `https://g/s3/bucket/${path}`],
    [{ region, endpoint: 'http://h:1', addressing: 'virtual' }, `http://bucket.h:1/${path}`],
  ] as const;
  for (const [place, expected] of cases) t.is(addressOf(url, place).href, expected);
  const dotted = addressOf({ bucket: 'a.b', key: 'k', versionId: 'v/1' }, { region });
  t.is(dotted.href, 'https://s3.eu-west-1.amazonaws.com/a.b/k?versionId=v%2F1');
  for (const endpoint of ['ftp://h', 'http://u:p@h', 'nonsense']) {
    t.throws(() => addressOf(url, { region, endpoint }), { code: 'ERR_CONFIG' }, endpoint);
  }
  t.throws(() => addressOf(url, { region: 'x.evil/' }), { code: 'ERR_CONFIG' });
});

test('requireFetchable() refuses keys that a URL would lead elsewhere', (t) => {
  for (const key of ['', 'a/../b', '..', './a', 'a\nb']) {
    t.throws(() => requireFetchable(key), { code: 'ERR_URL' }, JSON.stringify(key));
  }
  t.notThrows(() => requireFetchable('a//b/..c'));
});
