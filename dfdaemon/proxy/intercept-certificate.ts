// Certificates of the proxy's own CA, and of hosts in its name: ECDSA on P-256, which every TLS client knows, unlike
// ed25519.
import { createHash, createPublicKey, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import {
  COMMON_NAME,
  VERSION_3,
  der,
  pemOf,
  sequence,
  serialNumber,
  time,
} from '../../core/identity/der.ts';
import { parseIp } from '../../core/origin/ip-address.ts';

const DAY_MS = 86_400_000;
/** Clients refuse leaves that are valid for longer than 398 days. */
const LEAF_DAYS = 90;
const CA_DAYS = 3652;
const MAX_NAME_LENGTH = 64;

/** AlgorithmIdentifier of ecdsa-with-SHA256, 1.2.840.10045.4.3.2. */
const ECDSA_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex');
const TRUE = Buffer.from('0101ff', 'hex');
const oids = {
  subjectKeyIdentifier: Buffer.from('0603551d0e', 'hex'),
  keyUsage: Buffer.from('0603551d0f', 'hex'),
  subjectAltName: Buffer.from('0603551d11', 'hex'),
  basicConstraints: Buffer.from('0603551d13', 'hex'),
  authorityKeyIdentifier: Buffer.from('0603551d23', 'hex'),
  extKeyUsage: Buffer.from('0603551d25', 'hex'),
};
/** BIT STRING of keyCertSign and cRLSign, and of digitalSignature. */
const SIGNS_CERTIFICATES = Buffer.from('03020106', 'hex');
const SIGNS_DATA = Buffer.from('03020780', 'hex');
/** SEQUENCE of serverAuth, 1.3.6.1.5.5.7.3.1. */
const SERVER_AUTH = Buffer.from('300a06082b06010505070301', 'hex');

/** The CA's own certificate, for ten years from a day before `now` (ms). Its name follows from the key alone. */
export function caCertificate(key: KeyObject, options: { readonly now: number }): string {
  const keyId = keyIdOf(key);
  return certificate({
    signer: key,
    issuer: caName(key),
    subject: caName(key),
    publicKey: key,
    fromMs: options.now - DAY_MS,
    days: CA_DAYS,
    extensions: [
      critical(oids.basicConstraints, sequence(TRUE, Buffer.from('020100', 'hex'))),
      critical(oids.keyUsage, SIGNS_CERTIFICATES),
      extension(oids.subjectKeyIdentifier, der(0x04, keyId)),
    ],
  });
}

/** A certificate for one host name or address, for 90 days from a day before `now` (ms). */
export function hostCertificate(
  host: string,
  options: { readonly ca: KeyObject; readonly key: KeyObject; readonly now: number },
): string {
  const { ca, key, now } = options;
  return certificate({
    signer: ca,
    issuer: caName(ca),
    subject: named(host.slice(0, MAX_NAME_LENGTH)),
    publicKey: key,
    fromMs: now - DAY_MS,
    days: LEAF_DAYS,
    extensions: [
      critical(oids.basicConstraints, sequence()),
      critical(oids.keyUsage, SIGNS_DATA),
      extension(oids.extKeyUsage, SERVER_AUTH),
      extension(oids.subjectAltName, sequence(generalName(host))),
      extension(oids.subjectKeyIdentifier, der(0x04, keyIdOf(key))),
      extension(oids.authorityKeyIdentifier, sequence(der(0x80, keyIdOf(ca)))),
    ],
  });
}

/** How long a host's certificate may be handed out after it was made, ms. */
export const LEAF_USE_MS: number = (LEAF_DAYS / 2) * DAY_MS;

function certificate(parts: {
  readonly signer: KeyObject;
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly publicKey: KeyObject;
  readonly fromMs: number;
  readonly days: number;
  readonly extensions: readonly Buffer[];
}): string {
  const signed = sequence(
    VERSION_3,
    serialNumber(),
    ECDSA_SHA256,
    parts.issuer,
    sequence(time(parts.fromMs), time(parts.fromMs + parts.days * DAY_MS)),
    parts.subject,
    spkiOf(parts.publicKey),
    der(0xa3, sequence(...parts.extensions)),
  );
  const signature = der(0x03, Buffer.from([0]), sign('sha256', signed, parts.signer));
  return pemOf(sequence(signed, ECDSA_SHA256, signature));
}

function caName(key: KeyObject): Buffer {
  return named(`Odonata proxy CA ${keyIdOf(key).toString('hex').slice(0, 8)}`);
}

function named(name: string): Buffer {
  return sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(name)))));
}

function generalName(host: string): Buffer {
  if (isIP(host) === 0) return der(0x82, Buffer.from(host, 'latin1'));
  const { family, value } = parseIp(host) ?? { family: 4, value: 0n };
  const digits = value.toString(16).padStart(family === 4 ? 8 : 32, '0');
  return der(0x87, Buffer.from(digits, 'hex'));
}

function critical(oid: Buffer, value: Buffer): Buffer {
  return sequence(oid, TRUE, der(0x04, value));
}

function extension(oid: Buffer, value: Buffer): Buffer {
  return sequence(oid, der(0x04, value));
}

function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' });
}

/** As RFC 5280 §4.2.1.2 says: SHA-1 of the key's bits, which are the last 65 bytes of a key on P-256. */
function keyIdOf(key: KeyObject): Buffer {
  return createHash('sha1').update(spkiOf(key).subarray(-65)).digest();
}
