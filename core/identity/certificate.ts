import { createPublicKey } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { CodedError } from '../base/error.ts';
import { COMMON_NAME, VERSION_3, der, pemOf, sequence, serialNumber, time } from './der.ts';
import type { HostKey } from './host-key.ts';
import { peerIdOf } from './peer-id.ts';

const DAY_MS = 86_400_000;
/** AlgorithmIdentifier of ed25519, 1.3.101.112. */
const ED25519 = Buffer.from('300506032b6570', 'hex');
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
  return {
    certificatePem: pemOf(sequence(signed, ED25519, signature)),
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
