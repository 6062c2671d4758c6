import { CodedError } from '../../base/error.ts';
import type { Priority } from '../../base/priority.ts';
import type { Unit, UnitForm } from '../../compression/compression.ts';
import { UNIT_BYTES, unitLength } from '../../compression/unit.ts';
import {
  FLAG_LAST,
  FLAG_MORE,
  FLAG_ZSTD,
  FRAME_HEADER_BYTES,
  MAX_BLOCK_BYTES,
  frameTypes,
  writeHeader,
} from './frame.ts';
import type { ServedTask } from './served-task.ts';

/** A piece that a child asked for. */
export interface UploadRequest {
  readonly channel: number;
  readonly piece: number;
  readonly length: number;
  readonly isUrgent: boolean;
  readonly priority: Priority;
  readonly task: ServedTask;
  /** Absent: all of it goes raw. */
  readonly forms?: UploadForms | undefined;
  /** The whole piece is with the socket, `ms` after its first block was begun. */
  onSent(ms: number): void;
  /** It cannot be read; no more of it is sent. */
  onMiss(error: CodedError): void;
}

/** How the units of a request may go; `linkRate` is bytes a second, undefined while it is not known. */
export interface UploadForms {
  formOf(unit: Unit, linkRate: number | undefined): UnitForm;
  expect(unit: Unit, linkRate: number | undefined): void;
  sent(rawBytes: number, bytes: number): void;
}

/** A request on its way out. */
export interface Upload {
  readonly request: UploadRequest;
  /** Raw bytes that were sent, in whatever form. */
  offset: number;
  /** The compressed unit that begins there, and how much of it was sent. */
  unit: { readonly bytes: Uint8Array; readonly rawBytes: number; sent: number } | undefined;
  /** Undefined until its first block is begun. */
  startedMs: number | undefined;
  isCancelled: boolean;
}

const MIN_BLOCK_BYTES = 4096;

/** The largest block that keeps a rate exact: a fiftieth of what passes in a second, 4 KiB to 256 KiB. */
export function blockBytesFor(bytesPerSecond: number): number {
  if (bytesPerSecond <= 0) return MAX_BLOCK_BYTES;
  let bytes = MAX_BLOCK_BYTES;
  while (bytes > MIN_BLOCK_BYTES && bytes > bytesPerSecond / 50) bytes /= 2;
  return bytes;
}

/** Payload of the next block at a rate; a raw one ends with its unit, so that the next may be compressed. */
export function nextBlockBytes({ request, offset, unit }: Upload, bytesPerSecond: number): number {
  const most = blockBytesFor(bytesPerSecond);
  if (unit !== undefined) return Math.min(most, unit.bytes.length - unit.sent);
  return Math.min(most, request.length - offset, UNIT_BYTES - (offset % UNIT_BYTES));
}

/** The unit that is next and of which nothing was sent; undefined when one is under way in some form. */
export function nextUnit({ request, offset, unit }: Upload): Unit | undefined {
  const { piece, length } = request;
  const bytes = unit === undefined ? unitLength(offset, length) : undefined;
  return bytes === undefined ? undefined : { piece, offset, length: bytes };
}

/** The first `count` units of these requests of which nothing was sent, in order. */
export function unitsAhead(
  queue: readonly Upload[],
  count: number,
): { readonly forms: UploadForms; readonly unit: Unit }[] {
  const ahead: { forms: UploadForms; unit: Unit }[] = [];
  for (const { request, offset, unit, isCancelled } of queue) {
    const { forms, piece, length } = request;
    if (forms === undefined || isCancelled) continue;
    let at = UNIT_BYTES * Math.ceil((offset + (unit?.rawBytes ?? 0)) / UNIT_BYTES);
    for (; at < length && ahead.length < count; at += UNIT_BYTES) {
      ahead.push({ forms, unit: { piece, offset: at, length: Math.min(UNIT_BYTES, length - at) } });
    }
    if (ahead.length === count) break;
  }
  return ahead;
}

/**
 * Fills `block` with the next `bytes` behind a DATA header, which then count as sent; false when they cannot be read,
 * which the request is told.
 */
export function fillBlock(upload: Upload, block: Buffer, bytes: number): boolean {
  return upload.unit === undefined
    ? fillRaw(upload, block, bytes)
    : fillCompressed(upload, upload.unit, { block, bytes });
}

function fillRaw(upload: Upload, block: Buffer, bytes: number): boolean {
  const { request, offset } = upload;
  const { channel, piece, length, task } = request;
  try {
    const target = block.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + bytes);
    const got = task.read(piece, offset, target);
    if (got !== bytes) throw new CodedError('ERR_STORE_IO', `the piece ends after ${offset + got}`);
  } catch (error) {
    request.onMiss(CodedError.from(error));
    return false;
  }
  const flags = offset + bytes === length ? FLAG_LAST : 0;
  writeHeader(block, { type: frameTypes.data, flags, channel, a: piece, b: offset }, bytes);
  upload.offset += bytes;
  return true;
}

function fillCompressed(
  upload: Upload,
  unit: NonNullable<Upload['unit']>,
  into: { readonly block: Buffer; readonly bytes: number },
): boolean {
  const { request, offset } = upload;
  const { channel, piece, length, forms } = request;
  const { block, bytes } = into;
  block.set(unit.bytes.subarray(unit.sent, unit.sent + bytes), FRAME_HEADER_BYTES);
  unit.sent += bytes;
  const isWhole = unit.sent === unit.bytes.length;
  const end = offset + unit.rawBytes;
  const last = isWhole && end === length ? FLAG_LAST : 0;
  const flags = FLAG_ZSTD | (isWhole ? last : FLAG_MORE);
  writeHeader(block, { type: frameTypes.data, flags, channel, a: piece, b: offset }, bytes);
  if (isWhole) {
    forms?.sent(unit.rawBytes, unit.bytes.length);
    upload.offset = end;
    upload.unit = undefined;
  }
  return true;
}
