import { createPublicKey, diffieHellman, generateKeyPairSync, hash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { defaultCrypto } from '@chainsafe/libp2p-noise/crypto';
import type { ICryptoInterface, KeyPair } from '@chainsafe/libp2p-noise';
import type { Ed25519PrivateKey } from '@libp2p/interface';

type Bytes = Parameters<ICryptoInterface['generateX25519SharedKey']>[0];

/**
 * What noise computes with, on keys that OpenSSL keeps. Noise's own has each key written out and parsed again for every
 * secret that is agreed on: 390 µs in place of 60. What noise carries about as a private key is an empty token here, so
 * the key itself never lies in a buffer.
 */
export function noiseCrypto(): ICryptoInterface {
  const ours = new WeakMap<Bytes, KeyObject>();
  // The ephemeral key of the other side takes part in two secrets; noise passes the same object both times.
  const theirs = new WeakMap<Bytes, KeyObject>();
  const theirKey = (bytes: Bytes): KeyObject => {
    const key = theirs.get(bytes) ?? publicKeyOf(bytes.subarray());
    theirs.set(bytes, key);
    return key;
  };
  return {
    ...defaultCrypto,
    hashSHA256: (data) => hash('sha256', data.subarray(), 'buffer'),
    generateX25519KeyPair: (): KeyPair => {
      const { publicKey, privateKey } = generateKeyPairSync('x25519');
      const token = new Uint8Array(0);
      ours.set(token, privateKey);
      return { publicKey: bytesOf(publicKey), privateKey: token };
    },
    generateX25519SharedKey: (token, bytes) => {
      const privateKey = ours.get(token);
      if (privateKey === undefined) throw new TypeError('a private key that was not made here');
      return diffieHellman({ privateKey, publicKey: theirKey(bytes) });
    },
  };
}

/**
 * The key, which signs what it signed last without computing it anew: noise has one statement signed for each
 * connection, and ed25519 signs the same words the same way.
 */
export function signingOnce(key: Ed25519PrivateKey): Ed25519PrivateKey {
  const sign = key.sign.bind(key);
  let last: { readonly words: Uint8Array; readonly signature: Uint8Array } | undefined;
  key.sign = async (data, options) => {
    const words = data.subarray();
    if (last === undefined || Buffer.compare(last.words, words) !== 0) {
      last = { words: Uint8Array.from(words), signature: await sign(data, options) };
    }
    return last.signature;
  };
  return key;
}

function publicKeyOf(bytes: Uint8Array): KeyObject {
  const x = Buffer.from(bytes).toString('base64url');
  return createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'X25519', x } });
}

function bytesOf(publicKey: KeyObject): Uint8Array {
  return Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
}
