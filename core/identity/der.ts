// Node has no call that makes a certificate, and the libraries that do bring dozens of packages into every link
// worker. What TLS needs of us are few fixed shapes, so they are written as DER with what is here.
import { randomBytes } from 'node:crypto';

/** OBJECT IDENTIFIER of commonName, 2.5.4.3. */
export const COMMON_NAME: Buffer = Buffer.from('0603550403', 'hex');
/** TBSCertificate.version: [0] EXPLICIT INTEGER 2, which is v3. */
export const VERSION_3: Buffer = Buffer.from('a003020102', 'hex');

/** One value with its tag. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  // Nothing here reaches 64 KiB: a whole certificate has 340 to 700 bytes.
  let header = [tag, length];
  if (length > 0xff) header = [tag, 0x82, length >> 8, length & 0xff];
  else if (length > 0x7f) header = [tag, 0x81, length];
  return Buffer.concat([Buffer.from(header), content]);
}

/** SEQUENCE. */
export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return der(0x30, ...parts);
}

/** A random positive INTEGER: the first bit clear for the sign, the second set so that no byte is superfluous. */
export function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0);
  return der(0x02, bytes);
}

/** UTCTime up to 2049, GeneralizedTime after, as RFC 5280 §4.1.2.5 asks. */
export function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\..*/g, '');
  if (digits < '2050') return der(0x17, Buffer.from(`${digits.slice(2)}Z`));
  return der(0x18, Buffer.from(`${digits}Z`));
}

/** A certificate as PEM. */
export function pemOf(certificate: Buffer): string {
  const lines = certificate.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
