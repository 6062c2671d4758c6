// Node has no call that makes a certificate, and the libraries that do bring dozens of packages into every link
// worker. What TLS needs of us is one fixed shape, so it is written as DER here.
import { createPublicKey, randomBytes } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { CodedError } from '../base/error.ts';
import type { HostKey } from './host-key.ts';
import { peerIdOf } from './peer-id.ts';

const DAY_MS = 86_400_000;
/** AlgorithmIdentifier of ed25519, 1.3.101.112. */
const ED25519 = Buffer.from('300506032b6570', 'hex');
/** OBJECT IDENTIFIER of commonName, 2.5.4.3. */
const COMMON_NAME = Buffer.from('0603550403', 'hex');
/** TBSCertificate.version: [0] EXPLICIT INTEGER 2, which is v3. */
const VERSION_3 = Buffer.from('a003020102', 'hex');

/**
 * A self-signed X.509 v3 certificate over the host's key, valid from a day before `now` (ms) for ten years. The
 * pin is the key: neither names nor dates are looked at by the other side.
 */
export function selfSignedCertificate(
  key: HostKey,
  options: { now: number },
): { certificatePem: string; keyPem: string } {
  const from = options.now - DAY_MS;
  const name = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(key.peerId)))));
  const signed = sequence(
    VERSION_3,
    serialNumber(),
    ED25519,
    name,
    sequence(time(from), time(from + 3652 * DAY_MS)),
    name,
    createPublicKey(key.privateKey).export({ format: 'der', type: 'spki' }),
  );
  const signature = der(0x03, Buffer.from([0]), key.sign(signed));
  const base64 = sequence(signed, ED25519, signature).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return {
    certificatePem: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    keyPem: key.exportPem(),
  };
}

/** The peer id whose key the certificate is for; ERR_NOT_MEMBER when the key is not ed25519. */
export function peerIdOfCertificate(certificate: X509Certificate): string {
  // The certificate's own signature needs no check: TLS made the other side prove that it holds the key.
  let spki: Buffer | undefined;
  try {
    const { publicKey } = certificate;
    if (publicKey.asymmetricKeyType === 'ed25519') {
      spki = publicKey.export({ format: 'der', type: 'spki' });
    }
  } catch (error) {
    throw new CodedError('ERR_NOT_MEMBER', 'the key of the certificate cannot be read', {
      cause: error,
    });
  }
  if (spki === undefined) {
    throw new CodedError('ERR_NOT_MEMBER', 'the certificate is not for an ed25519 key');
  }
  return peerIdOf(spki.subarray(-32));
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  // Nothing here reaches 64 KiB: a whole certificate has about 340 bytes.
  let header = [tag, length];
  if (length > 0xff) header = [tag, 0x82, length >> 8, length & 0xff];
  else if (length > 0x7f) header = [tag, 0x81, length];
  return Buffer.concat([Buffer.from(header), content]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(0x30, ...parts);
}

/** A random positive INTEGER: the first bit clear for the sign, the second set so that no byte is superfluous. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0);
  return der(0x02, bytes);
}

/** UTCTime up to 2049, GeneralizedTime after, as RFC 5280 §4.1.2.5 asks. */
function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\..*/g, '');
  if (digits < '2050') return der(0x17, Buffer.from(`${digits.slice(2)}Z`));
  return der(0x18, Buffer.from(`${digits}Z`));
}
