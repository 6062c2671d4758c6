// The outer form of a zstd frame (RFC 8878, 3.1.1), as far as it must be known before anything is decompressed: a unit
// is one frame that states its content size and needs no dictionary and no window beyond its content. Both libraries
// that we use make such frames of a whole buffer. What one host takes another then takes too, whatever it reads with.

const MAGIC = 0xfd2f_b528;
const SIZE_BYTES: readonly number[] = [1, 2, 4, 8];
const LAST_BLOCK = 1;
const RUN_BLOCK = 1;
const RESERVED_BLOCK = 3;
const CHECKSUM_BYTES = 4;

/** Why `bytes` are not exactly one frame of `rawLength` bytes of content; undefined when they are, as far as one can see. */
export function frameFault(bytes: Uint8Array, rawLength: number): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 6 || view.getUint32(0, true) !== MAGIC) return 'it is no zstd frame';
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment || (descriptor & 0x0b) !== 0) return 'it is not made in one piece';
  const sizeBytes = SIZE_BYTES[descriptor >> 6] ?? 0;
  const start = 5 + sizeBytes;
  if (bytes.length < start) return 'it is cut short';
  if (contentSize(view, sizeBytes) !== rawLength) return 'it states another length';
  const end = blocksEnd(view, start);
  if (end === undefined) return 'it is cut short';
  const hasChecksum = (descriptor & 0x04) !== 0;
  const spare = bytes.length - end - (hasChecksum ? CHECKSUM_BYTES : 0);
  if (spare === 0) return undefined;
  return spare < 0 ? 'it is cut short' : 'something follows it';
}

function contentSize(view: DataView, sizeBytes: number): number {
  if (sizeBytes === 1) return view.getUint8(5);
  if (sizeBytes === 2) return view.getUint16(5, true) + 256;
  if (sizeBytes === 4) return view.getUint32(5, true);
  return Number(view.getBigUint64(5, true));
}

/** Where the last block ends; undefined when it does not. */
function blocksEnd(view: DataView, start: number): number | undefined {
  let at = start;
  while (at + 3 <= view.byteLength) {
    const header = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const type = (header >> 1) & 3;
    if (type === RESERVED_BLOCK) return undefined;
    at += 3 + (type === RUN_BLOCK ? 1 : header >> 3);
    if ((header & LAST_BLOCK) !== 0) return at <= view.byteLength ? at : undefined;
  }
  return undefined;
}
