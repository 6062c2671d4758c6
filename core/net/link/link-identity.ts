import type { X509Certificate } from 'node:crypto';

/** Who this host is on its links: an ed25519 key, the peer id made of it, and a self-signed certificate over it. */
export interface LinkIdentity {
  readonly peerId: string;
  readonly keyPem: string;
  readonly certificatePem: string;
  /** The ed25519 signature over `bytes`. */
  sign(bytes: Uint8Array): Uint8Array;
}

/** What this host believes of others. Synchronous; every call throws a `CodedError` when the answer is no. */
export interface LinkTrust {
  /** The peer id whose key the certificate is for. */
  peerIdOfCertificate(certificate: X509Certificate): string;
  verifySignature(peerId: string, bytes: Uint8Array, signature: Uint8Array): boolean;
  /** `record` is the membership envelope that the peer showed; asked again once a minute while it is linked. */
  verifyMember(record: string, peerId: string): void;
  /** Asked when a channel is opened and once a minute while it is, so remembering signatures pays. */
  verifyTicket(
    ticket: string,
    about: { readonly child: string; readonly task: string; readonly version: string },
  ): void;
}
