import { statfs } from 'node:fs/promises';
import { CodedError } from '../base/error.ts';

/** Room on the filesystem of a folder, bytes. */
export interface DiskSpace {
  /** What an ordinary user may still write. */
  readonly freeBytes: number;
  readonly totalBytes: number;
}

/** What is known when room for more bytes is asked for; all in bytes. */
export interface RoomState {
  /** What is about to be written. */
  readonly needBytes: number;
  readonly freeBytes: number;
  /** Left free for others. */
  readonly reserveBytes: number;
  /** Not yet written by tasks in use: what is left of a known length, pieces on their way of an unknown one. */
  readonly promisedBytes: number;
  /** Held by the store. */
  readonly usedBytes: number;
  readonly quotaBytes: number | undefined;
}

/** What is missing, bytes; both zero when there is room. */
export interface Shortfall {
  readonly diskBytes: number;
  readonly quotaBytes: number;
}

const DEFAULT_RESERVE_BYTES = 256 * 1024 * 1024;
/** A small filesystem (a tmpfs for the memory storage kind) would be all reserve otherwise. */
const DEFAULT_RESERVE_SHARE = 0.05;

/** Room on the filesystem of `directory`; ERR_STORE_IO when it cannot be asked. */
export async function diskSpace(directory: string): Promise<DiskSpace> {
  try {
    const { bavail, blocks, bsize } = await statfs(directory);
    // Some network and FUSE filesystems report nothing at all: that is "unknown", not "full".
    if (blocks === 0) return { freeBytes: Infinity, totalBytes: Infinity };
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch (cause) {
    throw new CodedError('ERR_STORE_IO', 'cannot ask for the free space of the folder', {
      cause,
      detail: { directory },
    });
  }
}

/** Bytes that may still be written to the filesystem of `directory`; ERR_STORE_IO when it cannot be asked. */
export async function freeBytes(directory: string): Promise<number> {
  return (await diskSpace(directory)).freeBytes;
}

/** What is left free when nobody says otherwise: 256 MiB, on small filesystems 5 %. */
export function defaultReserveBytes(totalBytes: number): number {
  return Math.floor(Math.min(DEFAULT_RESERVE_BYTES, totalBytes * DEFAULT_RESERVE_SHARE));
}

/** How much has to be evicted before `needBytes` may be written. */
export function shortfall(state: RoomState): Shortfall {
  const wanted = state.needBytes + state.promisedBytes;
  return {
    diskBytes: Math.max(0, wanted + state.reserveBytes - state.freeBytes),
    quotaBytes:
      state.quotaBytes === undefined ? 0 : Math.max(0, wanted + state.usedBytes - state.quotaBytes),
  };
}

/** ERR_NO_SPACE with every number that led to it. */
export function noSpace(
  state: RoomState,
  facts: { readonly directory: string; readonly evictableBytes: number },
): CodedError {
  const { quotaBytes, ...numbers } = state;
  return new CodedError('ERR_NO_SPACE', `no room for ${state.needBytes} bytes in the data folder`, {
    detail: { ...numbers, ...(quotaBytes === undefined ? {} : { quotaBytes }), ...facts },
  });
}
