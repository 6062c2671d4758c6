// A signed statement as one line of text: `v1.KIND.BODY.SIGNER.SIGNATURE`. The signature is over the text before
// the last dot, so nothing has to be put into a canonical form before it is checked, and the statement can be
// stored and passed on as it came. The kind is under the signature: a ticket never passes for a record. The same
// keys sign TLS and noise handshakes and certificates, whose signed bytes cannot begin with `v1.`.
import { CodedError } from '../base/error.ts';
import type { HostKey } from './host-key.ts';
import { peerIdPattern, verifySignature } from './peer-id.ts';

const VERSION = 'v1';
const KIND = /^[a-z][a-z0-9-]{0,31}$/;

/** Largest envelope a reader takes unless it says otherwise, in bytes. */
export const defaultMaxEnvelopeBytes = 65_536;

/** What an envelope said, and who signed it; whether that signer may say so is for the caller to judge. */
export interface OpenedEnvelope {
  readonly body: Record<string, unknown>;
  readonly signer: string;
}

/** `body` as a signed envelope of `kind` (lower-case word). */
export function seal(kind: string, body: Readonly<Record<string, unknown>>, key: HostKey): string {
  if (!KIND.test(kind)) throw new TypeError(`not an envelope kind: ${kind}`);
  const payload = Buffer.from(JSON.stringify(body)).toString('base64url');
  const signed = `${VERSION}.${kind}.${payload}.${key.peerId}`;
  return `${signed}.${Buffer.from(key.sign(Buffer.from(signed))).toString('base64url')}`;
}

/**
 * Body and signer of an envelope of `kind` whose signature is right; ERR_SIGNATURE naming what is wrong, before
 * anything of the body is looked at.
 */
export function openEnvelope(
  text: string,
  kind: string,
  options: { maxBytes?: number } = {},
): OpenedEnvelope {
  const maxBytes = options.maxBytes ?? defaultMaxEnvelopeBytes;
  if (text.length > maxBytes) throw refused(kind, `is longer than ${maxBytes} bytes`);
  const parts = text.split('.');
  const [version, actualKind, payload, signer, signatureText] = parts;
  if (
    parts.length !== 5 ||
    payload === undefined ||
    signer === undefined ||
    signatureText === undefined
  ) {
    throw refused(kind, 'does not have five parts');
  }
  if (version !== VERSION) throw refused(kind, 'has an unknown envelope version');
  if (actualKind !== kind) throw refused(kind, 'is an envelope of another kind');
  if (!peerIdPattern.test(signer)) throw refused(kind, 'names no peer id as its signer');
  const signature = fromBase64url(signatureText);
  if (signature?.length !== 64) throw refused(kind, 'has a malformed signature');
  const signed = Buffer.from(text.slice(0, text.lastIndexOf('.')));
  if (!verifySignature(signer, signed, signature)) {
    throw refused(kind, 'has a wrong signature', signer);
  }
  const body = parseBody(payload);
  if (body === undefined) throw refused(kind, 'has a body that is not a JSON object', signer);
  return { body, signer };
}

/**
 * The bytes of base64url in its one canonical spelling, undefined for any other text: Node's decoder skips what
 * it does not know, which would give one signature many spellings.
 */
export function fromBase64url(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
}

/** The JSON object in base64url `text`, undefined when it is anything else. */
export function parseBody(text: string): Record<string, unknown> | undefined {
  const bytes = fromBase64url(text);
  if (bytes === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** True for a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refused(kind: string, problem: string, signer?: string): CodedError {
  return new CodedError('ERR_SIGNATURE', `the ${kind} ${problem}`, {
    detail: signer === undefined ? { kind } : { kind, signer },
  });
}
