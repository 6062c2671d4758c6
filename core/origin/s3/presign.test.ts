import test from 'ava';
import { encodeRfc3986, presignedGet } from './presign.ts';

// From "Authenticating Requests: Using Query Parameters" in the documentation of S3.
const credentials = {
  accessKey: 'AKIAIOSFODNN7EXAMPLE',
  secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
};
const atMs = Date.parse('2013-05-24T00:00:00Z');
const use = { credentials, region: 'us-east-1', atMs, validSeconds: 86_400 };

test('presignedGet() signs as the documentation of S3 shows', (t) => {
  const signed = presignedGet(new URL('https://examplebucket.s3.amazonaws.com/test.txt'), use);
  t.is(
    new URL(signed).searchParams.get('X-Amz-Signature'),
    'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404',
  );
});

test('presignedGet() gives the same URL for the same moment, with no secret in it', (t) => {
  const url = new URL('https://b.example/k?versionId=3%2F1');
  const signed = presignedGet(url, { ...use, headers: { 'X-Amz-Request-Payer': 'requester' } });
  t.is(signed, presignedGet(url, { ...use, headers: { 'x-amz-request-payer': 'requester' } }));
  t.false(signed.includes(credentials.secretKey));
  const { searchParams } = new URL(signed);
  t.is(searchParams.get('versionId'), '3/1');
  t.is(searchParams.get('X-Amz-SignedHeaders'), 'host;x-amz-request-payer');
  t.not(signed, presignedGet(url, { ...use, atMs: atMs + 1000 }));
});

test('encodeRfc3986() leaves only what is unreserved', (t) => {
  t.is(encodeRfc3986("a b/!'()*~-._é"), 'a%20b%2F%21%27%28%29%2A~-._%C3%A9');
});
