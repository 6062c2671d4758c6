// Peer ids as libp2p makes them from ed25519 keys, without libp2p: link workers use this file and must stay small.
import { createPublicKey, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { CodedError } from '../base/error.ts';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const DIGITS = new Map(Array.from(ALPHABET, (character, value) => [character, BigInt(value)]));

/** Identity multihash of 36 bytes: the protobuf of an ed25519 public key (type 1, 32 bytes of data). */
const PEER_ID_PREFIX = Buffer.from([0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
/** DER of SubjectPublicKeyInfo for ed25519, up to the 32 bytes of the key. */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** What an ed25519 peer id looks like; its bytes are checked by `publicKeyOf()`. */
export const peerIdPattern = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/;

// A kept KeyObject makes a check 0.12 ms instead of 0.18 ms (Node 24, one core of a small machine). Signers are
// few (supernodes, seeds), so the bound only holds off strangers.
const keys = new LRUCache<string, KeyObject>({ max: 512 });

/** The libp2p peer id (`12D3KooW…`) of 32 bytes of ed25519 public key. */
export function peerIdOf(publicKey32: Uint8Array): string {
  if (publicKey32.length !== 32) throw new RangeError('an ed25519 public key has 32 bytes');
  // The leading zero byte of the prefix is the leading '1'.
  let rest = BigInt(`0x${Buffer.concat([PEER_ID_PREFIX, publicKey32]).toString('hex')}`);
  let text = '';
  while (rest > 0n) {
    text = ALPHABET.charAt(Number(rest % 58n)) + text;
    rest /= 58n;
  }
  return `1${text}`;
}

/** The 32 bytes of public key inside a peer id; ERR_SIGNATURE when it is not an ed25519 peer id. */
export function publicKeyOf(peerId: string): Uint8Array {
  const bytes = peerIdPattern.test(peerId) ? fromBase58(peerId) : undefined;
  const prefix = bytes?.subarray(0, PEER_ID_PREFIX.length);
  if (bytes === undefined || prefix === undefined || !PEER_ID_PREFIX.equals(prefix)) {
    throw new CodedError('ERR_SIGNATURE', 'not an ed25519 peer id', {
      detail: { peerId: peerId.slice(0, 64) },
    });
  }
  return bytes.subarray(PEER_ID_PREFIX.length);
}

/** True when `signature` over `bytes` was made with the key of `peerId`; ERR_SIGNATURE when that is no peer id. */
export function verifySignature(peerId: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  let key = keys.get(peerId);
  if (key === undefined) {
    const der = Buffer.concat([SPKI_PREFIX, publicKeyOf(peerId)]);
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    keys.set(peerId, key);
  }
  return verify(null, bytes, key, signature);
}

/** The 38 bytes of a text that matches `peerIdPattern`. */
function fromBase58(text: string): Buffer {
  let value = 0n;
  for (const character of text) value = value * 58n + (DIGITS.get(character) ?? 0n);
  return Buffer.from(value.toString(16).padStart(76, '0'), 'hex');
}
