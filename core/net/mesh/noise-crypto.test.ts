import { defaultCrypto } from '@chainsafe/libp2p-noise/crypto';
import { generateKeyPair } from '@libp2p/crypto/keys';
import test from 'ava';
import { noiseCrypto, signingOnce } from './noise-crypto.ts';

test('noiseCrypto() agrees with the crypto of noise on every secret, and never shows a private key', (t) => {
  const crypto = noiseCrypto();
  const own = crypto.generateX25519KeyPair();
  t.is(own.publicKey.length, 32);
  t.is(own.privateKey.length, 0);
  for (let round = 0; round < 3; round += 1) {
    const other = defaultCrypto.generateX25519KeyPair();
    const secret = defaultCrypto.generateX25519SharedKey(other.privateKey, own.publicKey);
    const remote = new Uint8Array(other.publicKey);
    t.deepEqual(crypto.generateX25519SharedKey(own.privateKey, remote), secret);
    // The second secret with the same ephemeral key is made of what the first one parsed.
    const second = crypto.generateX25519KeyPair();
    t.deepEqual(
      crypto.generateX25519SharedKey(second.privateKey, remote),
      defaultCrypto.generateX25519SharedKey(other.privateKey, second.publicKey),
    );
  }
  const words = Buffer.from('noise');
  t.deepEqual(Buffer.from(crypto.hashSHA256(words)), Buffer.from(defaultCrypto.hashSHA256(words)));
});

test('noiseCrypto() refuses a key that gives no secret, and a private key of somebody else', (t) => {
  const crypto = noiseCrypto();
  const { privateKey, publicKey } = crypto.generateX25519KeyPair();
  t.throws(() => crypto.generateX25519SharedKey(privateKey, new Uint8Array(32)));
  t.throws(() => crypto.generateX25519SharedKey(privateKey, publicKey.subarray(1)));
  t.throws(() => crypto.generateX25519SharedKey(new Uint8Array(32).fill(7), publicKey), {
    instanceOf: TypeError,
  });
});

test('signingOnce() gives the signature of the very words, also when the buffer they came in is used again', async (t) => {
  const key = await generateKeyPair('Ed25519');
  const plain = key.sign.bind(key);
  let signed = 0;
  key.sign = async (data, options) => {
    signed += 1;
    return plain(data, options);
  };
  signingOnce(key);
  const words = Buffer.from('one');
  const first = await key.sign(words);
  t.deepEqual(await key.sign(Buffer.from('one')), first);
  t.is(signed, 1);
  words.write('two');
  t.true(await key.publicKey.verify(words, await key.sign(words)));
  t.false(await key.publicKey.verify(words, first));
  t.is(signed, 2);
});
