// The piece link, version 1: frames over one TCP connection, TLS 1.3 or (encryption `none`) in the clear.
//
// A frame is a header of 16 bytes, big-endian, and `length` bytes of payload:
//
//   type u8 | flags u8 | channel u16 | length u32 | a u32 | b u32
//
// The side that dialled is the dialler, the other the listener. Links are symmetrical: either side opens channels
// on tasks that the other serves. The opener of a channel is the child, the other the parent of it; the dialler
// opens channels with odd numbers, the listener with even ones, and 0 is the link itself.
//
//   type             from       a, b                  flags     payload
//   1 HELLO          both       magic, versions                 JSON: features, and record | peerId, nonce
//   2 AUTH           both                                       JSON: record, signature (encryption none only)
//   3 GOODBYE        both                                       error code, ASCII; the connection ends
//   4 PING           both       token                           -
//   5 PONG           both       token                           -
//   6 OPEN           child                                      JSON: task, version, ticket
//   7 OPENED         parent     pieces, piece length            have-map, lowest index in the highest bit
//   8 REFUSED        parent                                     error code; the channel never was
//   9 CLOSE          both                                       error code or nothing; answered by CLOSE
//   10 HAVE          parent     requests waiting there  1 offer piece indexes, u32 each
//   11 UNHAVE        parent                                     piece indexes, u32 each
//   12 MANIFEST_ASK  child                                      -
//   13 MANIFEST      both                                       signed batches, one a line
//   14 REQUEST       child      piece, its length     1 urgent, 6 class
//   15 DATA          parent     piece, offset         1 last    bytes of the piece, in order
//                                                     2 zstd, 4 more
//   16 MISS          parent     piece                           error code; the request is over
//   17 BUSY          parent     piece, retry after ms           - ; the request is over
//   18 CANCEL        child      piece                 1 if waiting  -
//   19 CANCELLED     parent     piece                 1 being sent  - ; answers each CANCEL
//   20 TICKET        child                                      a renewed ticket
//
// Order: the dialler's HELLO; the listener's HELLO, which it sends only once the dialler's record is verified; then
// anything. With encryption `none` the HELLOs carry peer ids and nonces instead, and each side's AUTH (again the
// dialler's first) proves the peer id by a signature over both HELLOs. `versions` is lowest << 16 | highest that
// the sender speaks; the highest common one is used. The number of pieces in OPENED is 0xffffffff while unknown.
// Frames of one channel are handled in the order of sending. DATA of several pieces of a link may come in turn.
// The class of a REQUEST, (flags >> 1) & 3, is 0 normal, 1 warm-up, 2 interactive, 3 release.
//
// After CANCELLED no DATA of that request follows, but where it says that the piece is being sent: the answer to a CANCEL
// that was meant for a request that waits, and which then changed nothing.
//
// A side whose HELLO has the feature bit 1 takes units as zstd frames. A unit is 256 KiB of a piece, from a multiple of
// that on, or what is left there to the end of the piece; it is one frame that states this length. DATA with the flag
// zstd has a part of a unit that begins at `offset`, and the flag more on all parts but the last; last then says that
// the piece ends with the unit. Raw and compressed bytes of one piece may follow each other.
//
// A frame that is too long, out of place, or of an unknown type is answered by GOODBYE ERR_PROTOCOL; a frame of an
// unknown type that carries the flag OPTIONAL is skipped. Unknown flags and unknown JSON fields are ignored.
import { CodedError } from '../../base/error.ts';
import { DEFAULT_PRIORITY } from '../../base/priority.ts';
import type { Priority } from '../../base/priority.ts';

export const FRAME_HEADER_BYTES = 16;
/** Largest payload of a DATA frame, bytes. */
export const MAX_BLOCK_BYTES = 262_144;
/** Bound on piece indexes: 16 TiB in pieces of 16 MiB, a have-map of 128 KiB. */
export const MAX_PIECES = 1_048_576;
/** Largest MANIFEST payload, bytes. */
export const MAX_MANIFEST_BYTES = 1_048_576;
/** Indexes in one HAVE or UNHAVE. */
export const MAX_INDEXES = 16_384;
/** `a` of HELLO: "ODON". */
export const HELLO_MAGIC = 0x4f44_4f4e;
/** `a` of OPENED while the number of pieces is unknown. */
export const UNKNOWN_PIECES = 0xffff_ffff;

/** Flag on any frame: skip it when its type is unknown. */
export const FLAG_OPTIONAL = 0x80;
/** Flag on REQUEST: before the other waiting requests of this link. */
export const FLAG_URGENT = 0x01;
/** Classes in the flags of REQUEST, by their number; 0 is what a child that knows of none says. */
const classes: readonly Priority[] = [DEFAULT_PRIORITY, 'warm-up', 'interactive', 'release'];
const CLASS_SHIFT = 1;
const CLASS_MASK = 0x06;
/** Flag on REQUEST: not compressed, because its bytes are of use as they come and those of a unit are when all have. */
export const FLAG_RAW = 0x08;
/** Flag on HAVE, of a seed: this child is to take these pieces first, so that others can have them from it. */
export const FLAG_OFFER = 0x01;
/** Flag on CANCEL: only if nothing of the piece was handed to the socket. */
export const FLAG_IF_WAITING = 0x01;
/** Flag on CANCELLED: the request goes on, for its bytes are on the way, or were. */
export const FLAG_BEING_SENT = 0x01;
/** Flag on DATA: the piece ends here. */
export const FLAG_LAST = 0x01;
/** Flag on DATA: this is of a compressed unit. */
export const FLAG_ZSTD = 0x02;
/** Flag on DATA of a compressed unit: more of it follows. */
export const FLAG_MORE = 0x04;

/** Feature bit of HELLO: the sender of it takes compressed units. */
export const FEATURE_ZSTD = 0x01;

/** Number of each frame type on the wire. */
export const frameTypes = {
  hello: 1,
  auth: 2,
  goodbye: 3,
  ping: 4,
  pong: 5,
  open: 6,
  opened: 7,
  refused: 8,
  close: 9,
  have: 10,
  unhave: 11,
  manifestAsk: 12,
  manifest: 13,
  request: 14,
  data: 15,
  miss: 16,
  busy: 17,
  cancel: 18,
  cancelled: 19,
  ticket: 20,
} as const;

const MAX_STATEMENT_BYTES = 16_384;
const MAX_CODE_BYTES = 64;

/** Largest payload by type; a type that is not here is unknown. */
const maxPayloads: ReadonlyMap<number, number> = new Map([
  [frameTypes.hello, MAX_STATEMENT_BYTES],
  [frameTypes.auth, MAX_STATEMENT_BYTES],
  [frameTypes.goodbye, MAX_CODE_BYTES],
  [frameTypes.ping, 0],
  [frameTypes.pong, 0],
  [frameTypes.open, MAX_STATEMENT_BYTES],
  [frameTypes.opened, MAX_PIECES / 8],
  [frameTypes.refused, MAX_CODE_BYTES],
  [frameTypes.close, MAX_CODE_BYTES],
  [frameTypes.have, MAX_INDEXES * 4],
  [frameTypes.unhave, MAX_INDEXES * 4],
  [frameTypes.manifestAsk, 0],
  [frameTypes.manifest, MAX_MANIFEST_BYTES],
  [frameTypes.request, 0],
  [frameTypes.data, MAX_BLOCK_BYTES],
  [frameTypes.miss, MAX_CODE_BYTES],
  [frameTypes.busy, 0],
  [frameTypes.cancel, 0],
  [frameTypes.cancelled, 0],
  [frameTypes.ticket, MAX_STATEMENT_BYTES],
]);

/** A frame's header; `a` and `b` mean what the table above says for the type. */
export interface FrameHeader {
  readonly type: number;
  readonly flags: number;
  readonly channel: number;
  /** Bytes of payload. */
  readonly length: number;
  readonly a: number;
  readonly b: number;
}

/** What a frame to be written says besides its payload; what is left out is 0. */
export interface FrameFields {
  readonly type: number;
  readonly flags?: number;
  readonly channel?: number;
  readonly a?: number;
  readonly b?: number;
}

/** Writes a header at the start of `target`. */
export function writeHeader(target: Buffer, fields: FrameFields, length: number): void {
  target.writeUInt8(fields.type, 0);
  target.writeUInt8(fields.flags ?? 0, 1);
  target.writeUInt16BE(fields.channel ?? 0, 2);
  target.writeUInt32BE(length, 4);
  target.writeUInt32BE(fields.a ?? 0, 8);
  target.writeUInt32BE(fields.b ?? 0, 12);
}

/** A whole frame; `payload` is copied. */
export function encodeFrame(fields: FrameFields, payload?: Uint8Array | string): Buffer {
  const length = payload === undefined ? 0 : Buffer.byteLength(payload);
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + length);
  writeHeader(frame, fields, length);
  if (typeof payload === 'string') frame.write(payload, FRAME_HEADER_BYTES, 'utf8');
  else if (payload !== undefined) frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** The header at `offset` of `bytes`, which must reach that far. */
export function readHeader(bytes: Uint8Array, offset: number): FrameHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, FRAME_HEADER_BYTES);
  return {
    type: view.getUint8(0),
    flags: view.getUint8(1),
    channel: view.getUint16(2),
    length: view.getUint32(4),
    a: view.getUint32(8),
    b: view.getUint32(12),
  };
}

/** `skip` for an unknown optional frame; ERR_PROTOCOL for an unknown other or an oversized one. */
export function judgeHeader(header: FrameHeader): 'take' | 'skip' {
  const max = maxPayloads.get(header.type);
  if (max === undefined) {
    // Skipped bytes are never held, but a frame nobody can outwait would be a way to keep a link busy.
    if ((header.flags & FLAG_OPTIONAL) !== 0 && header.length <= MAX_MANIFEST_BYTES) return 'skip';
    throw protocolError(`frame type ${header.type} is unknown`);
  }
  if (header.length > max) {
    throw protocolError(
      `a frame of type ${header.type} has ${header.length} bytes, ${max} at most`,
    );
  }
  return 'take';
}

/** Flags of a REQUEST. */
export function requestFlags(request: {
  readonly isUrgent: boolean;
  readonly isRaw: boolean;
  readonly priority: Priority;
}): number {
  const urgent = request.isUrgent ? FLAG_URGENT : 0;
  const raw = request.isRaw ? FLAG_RAW : 0;
  return urgent | raw | (classes.indexOf(request.priority) << CLASS_SHIFT);
}

/** What the flags of a REQUEST say. */
export function readRequestFlags(flags: number): {
  readonly isUrgent: boolean;
  readonly isRaw: boolean;
  readonly priority: Priority;
} {
  const priority = classes[(flags & CLASS_MASK) >> CLASS_SHIFT] ?? DEFAULT_PRIORITY;
  return { isUrgent: (flags & FLAG_URGENT) !== 0, isRaw: (flags & FLAG_RAW) !== 0, priority };
}

/** ERR_PROTOCOL with what was wrong; the other side's own words are never part of it. */
export function protocolError(reason: string): CodedError {
  return new CodedError('ERR_PROTOCOL', reason, { detail: { reason } });
}
