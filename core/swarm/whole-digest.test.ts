import { createHash } from 'node:crypto';
import test from 'ava';
import type { StoredTask } from '../store/piece-store.ts';
import type { TransferPool } from './transfer-pool.ts';
import { checkBytes, checkStored } from './whole-digest.ts';

const bytes = Buffer.from('123456789');
const signal = new AbortController().signal;

function digestOf(algorithm: string): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

test('checkBytes() tells the digest, the one that is asked for if any', (t) => {
  t.is(checkBytes(bytes, undefined, undefined), digestOf('sha256'));
  t.is(checkBytes(bytes, undefined, 'sha256:known'), 'sha256:known');
  for (const algorithm of ['md5', 'sha1', 'sha256', 'sha512']) {
    t.is(checkBytes(bytes, digestOf(algorithm).toUpperCase(), undefined), digestOf(algorithm));
  }
  // The check value of CRC-32/ISO-HDLC, known from its catalogue.
  t.is(checkBytes(bytes, 'crc32:cbf43926', undefined), 'crc32:cbf43926');
});

test('checkBytes() refuses what is not expected', (t) => {
  for (const expected of [`md5:${'0'.repeat(32)}`, 'md5:0', 'crc32:00000000']) {
    t.throws(() => checkBytes(bytes, expected, undefined), { code: 'ERR_DIGEST_MISMATCH' });
  }
});

test('checkStored() hashes only what nobody knows, and discards what is not expected', async (t) => {
  const hashed: string[] = [];
  let discarded = 0;
  const parts = {
    // Two of its members are used, and hashing a file is tested where it is done.
    pool: {
      digest: async (_path: string, algorithm: string) => {
        hashed.push(algorithm);
        return digestOf(algorithm);
      },
    } as unknown as TransferPool,
    stored: { path: 'file', wholeDigest: digestOf('sha256') } as unknown as StoredTask,
    discard: async () => void (discarded += 1),
  };
  t.is(await checkStored(parts, undefined, { signal }), digestOf('sha256'));
  t.is(await checkStored(parts, digestOf('sha256').toUpperCase(), { signal }), digestOf('sha256'));
  t.deepEqual(hashed, []);
  t.is(await checkStored(parts, digestOf('md5'), { signal }), digestOf('md5'));
  t.deepEqual(hashed, ['md5']);
  t.is(discarded, 0);
  const wrong = checkStored(parts, `sha256:${'0'.repeat(64)}`, { signal });
  await t.throwsAsync(wrong, { code: 'ERR_DIGEST_MISMATCH' });
  t.is(discarded, 1);
});
