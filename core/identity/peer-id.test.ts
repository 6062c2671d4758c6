import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../base/error.ts';
import { HostKey } from './host-key.ts';
import { peerIdOf, peerIdPattern, publicKeyOf, verifySignature } from './peer-id.ts';

test('peerIdOf() names a key as libp2p does, and publicKeyOf() gives the key back', async (t) => {
  for (let i = 0; i < 20; i++) {
    const key = await generateKeyPair('Ed25519');
    const peerId = peerIdFromPrivateKey(key).toString();
    t.is(peerIdOf(key.publicKey.raw), peerId);
    t.deepEqual(Buffer.from(publicKeyOf(peerId)), Buffer.from(key.publicKey.raw));
  }
});

test('publicKeyOf() undoes peerIdOf() for any 32 bytes', (t) => {
  const bytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(
    fc.property(bytes, (key) => {
      const peerId = peerIdOf(key);
      return peerIdPattern.test(peerId) && Buffer.from(publicKeyOf(peerId)).equals(key);
    }),
  );
  for (const fill of [0x00, 0xff]) {
    const key = Buffer.alloc(32, fill);
    t.deepEqual(Buffer.from(publicKeyOf(peerIdOf(key))), key);
  }
});

test('publicKeyOf() refuses any other text with ERR_SIGNATURE', (t) => {
  const good = HostKey.generate().peerId;
  const malformed = [
    '',
    good.slice(0, -1),
    `${good}1`,
    ` ${good}`,
    `${good}\n`,
    good.replace(/.$/, '0'),
    good.replace(/.$/, 'l'),
    `12D3KooW${'z'.repeat(44)}`,
    `12D3KooW${'1'.repeat(44)}`,
    'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
  ];
  for (const text of malformed) {
    t.throws(() => publicKeyOf(text), { instanceOf: CodedError, code: 'ERR_SIGNATURE' }, text);
  }
  const nearly = fc
    .string({
      minLength: 44,
      maxLength: 44,
      unit: fc.constantFrom(...Array.from('123456789ABCxyz')),
    })
    .map((end) => `12D3KooW${end}`);
  fc.assert(
    fc.property(fc.oneof(fc.string(), nearly), (text) => {
      try {
        return peerIdOf(publicKeyOf(text)) === text;
      } catch (error) {
        return error instanceof CodedError && error.code === 'ERR_SIGNATURE';
      }
    }),
  );
});

test('verifySignature() holds for the key, the bytes and the signature together only', async (t) => {
  const key = HostKey.generate();
  const bytes = Buffer.from('to be signed');
  const signature = key.sign(bytes);
  t.true(verifySignature(key.peerId, bytes, signature));
  t.true(verifySignature(key.peerId, bytes, signature), 'with the kept key');
  t.false(verifySignature(HostKey.generate().peerId, bytes, signature));
  t.false(verifySignature(key.peerId, Buffer.from('to be Signed'), signature));
  t.false(verifySignature(key.peerId, bytes, signature.subarray(1)));
  t.false(verifySignature(key.peerId, bytes, new Uint8Array()));
  t.throws(() => verifySignature('nobody', bytes, signature), { code: 'ERR_SIGNATURE' });
  const other = await generateKeyPair('Ed25519');
  const peerId = peerIdFromPrivateKey(other).toString();
  t.true(verifySignature(peerId, bytes, await other.sign(bytes)), 'made by libp2p');
});
