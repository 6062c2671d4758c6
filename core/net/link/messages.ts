import { CodedError, isErrorCode } from '../../base/error.ts';
import type { ErrorCode } from '../../base/error-codes.ts';
import { HELLO_MAGIC, MAX_MANIFEST_BYTES, protocolError } from './frame.ts';
import type { FrameHeader } from './frame.ts';

/** Versions of the protocol that this program speaks. */
export const linkVersions = { lowest: 1, highest: 1 } as const;

/** A HELLO: over TLS it carries the record, in the clear the peer id claimed and a nonce. */
export interface Hello {
  readonly features: number;
  readonly record?: string;
  readonly peerId?: string;
  readonly nonce?: string;
}

/** An AUTH; `signature` is base64url. */
export interface Auth {
  readonly record: string;
  readonly signature: string;
}

/** What an OPEN asks for. */
export interface Open {
  readonly task: string;
  readonly version: string;
  readonly ticket: string;
}

const PEER_ID = /^[0-9A-Za-z]{1,128}$/;
const NONCE = /^[\w-]{43}$/;
const SIGNATURE = /^[\w-]{86}$/;
const TASK = /^[0-9a-f]{64}$/;
const VERSION = /^[0-9a-f]{16}$/;
/** Envelopes: base64url parts and dots. */
const ENVELOPE = /^[\w.-]{1,16000}$/;
const BATCH = /^[\w.-]+$/;
const CODE = /^[A-Z_]{1,64}$/;
const MAX_BATCHES = 16_384;

/** Codes that the other side may make our calls fail with; any other becomes ERR_LINK, since ours mean what happened here. */
const REMOTE_CODES: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_BUSY',
  'ERR_LINK',
  'ERR_MANIFEST',
  'ERR_NOT_FOUND',
  'ERR_NOT_MEMBER',
  'ERR_PROTOCOL',
  'ERR_STORE_IO',
  'ERR_TICKET',
]);

/** The version both sides speak; ERR_PROTOCOL when there is none or the frame is no HELLO of ours. */
export function commonVersion(header: FrameHeader): number {
  if (header.a !== HELLO_MAGIC) throw protocolError('this is not a piece link');
  const version = Math.min(header.b & 0xffff, linkVersions.highest);
  if (version < Math.max(header.b >>> 16, linkVersions.lowest)) {
    throw protocolError(`no common version: ${header.b >>> 16} to ${header.b & 0xffff} are spoken`);
  }
  return version;
}

/** `b` of our HELLO. */
export function versionRange(): number {
  return linkVersions.lowest * 0x1_0000 + linkVersions.highest;
}

export function parseHello(payload: Uint8Array): Hello {
  const fields = jsonFields(payload, 'HELLO');
  const features: unknown = fields['features'];
  if (typeof features !== 'number' || !Number.isInteger(features) || features < 0) {
    throw protocolError('HELLO has wrong features');
  }
  return {
    features,
    ...(fields['record'] === undefined ? {} : { record: text(fields, 'record', ENVELOPE) }),
    ...(fields['peerId'] === undefined ? {} : { peerId: text(fields, 'peerId', PEER_ID) }),
    ...(fields['nonce'] === undefined ? {} : { nonce: text(fields, 'nonce', NONCE) }),
  };
}

export function parseAuth(payload: Uint8Array): Auth {
  const fields = jsonFields(payload, 'AUTH');
  return {
    record: text(fields, 'record', ENVELOPE),
    signature: text(fields, 'signature', SIGNATURE),
  };
}

export function parseOpen(payload: Uint8Array): Open {
  const fields = jsonFields(payload, 'OPEN');
  return {
    task: text(fields, 'task', TASK),
    version: text(fields, 'version', VERSION),
    ticket: text(fields, 'ticket', ENVELOPE),
  };
}

/** The ticket in a TICKET frame. */
export function parseTicketPayload(payload: Uint8Array): string {
  const ticket = latin1(payload);
  if (!ENVELOPE.test(ticket)) throw protocolError('TICKET is malformed');
  return ticket;
}

/** The piece indexes of HAVE and UNHAVE, all below `limit`. */
export function parseIndexes(payload: Uint8Array, limit: number): number[] {
  if (payload.length % 4 !== 0) throw protocolError('a list of pieces ends in the middle of one');
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const pieces: number[] = [];
  for (let at = 0; at < payload.length; at += 4) {
    const piece = view.getUint32(at);
    if (piece >= limit) throw protocolError(`piece ${piece} of ${limit} is announced`);
    pieces.push(piece);
  }
  return pieces;
}

export function encodeIndexes(pieces: readonly number[]): Buffer {
  const payload = Buffer.allocUnsafe(pieces.length * 4);
  for (const [position, piece] of pieces.entries()) payload.writeUInt32BE(piece, position * 4);
  return payload;
}

export function parseManifest(payload: Uint8Array): string[] {
  const batches = latin1(payload).split('\n', MAX_BATCHES + 1);
  if (batches.length > MAX_BATCHES || !batches.every((batch) => BATCH.test(batch))) {
    throw protocolError('MANIFEST is malformed');
  }
  return batches;
}

/** True when a MANIFEST frame can carry the batch. */
export function isSendableBatch(batch: string): boolean {
  return batch.length <= MAX_MANIFEST_BYTES && BATCH.test(batch);
}

/** The failure that a code from the other side stands for; `what` completes "the peer …". */
export function remoteError(payload: Uint8Array, what: string, peer: string): CodedError {
  const remoteCode = latin1(payload.subarray(0, 64));
  const isKnown = CODE.test(remoteCode) && isErrorCode(remoteCode);
  const code = isKnown && REMOTE_CODES.has(remoteCode) ? remoteCode : 'ERR_LINK';
  return new CodedError(code, `the peer ${what}`, {
    detail: { peer, remoteCode: isKnown ? remoteCode : 'unknown' },
  });
}

function latin1(payload: Uint8Array): string {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('latin1');
}

function jsonFields(payload: Uint8Array, name: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch {
    throw protocolError(`${name} is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw protocolError(`${name} is not an object`);
  }
  return Object.fromEntries(Object.entries(value));
}

function text(fields: Readonly<Record<string, unknown>>, name: string, pattern: RegExp): string {
  const value = fields[name];
  if (typeof value !== 'string' || !pattern.test(value)) {
    throw protocolError(`the field ${name} is missing or malformed`);
  }
  return value;
}
