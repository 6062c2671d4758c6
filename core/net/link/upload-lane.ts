import type { Timer } from '../../base/clock.ts';
import { weightOf } from '../../base/priority.ts';
import type { Priority } from '../../base/priority.ts';
import { LinkRate } from '../../compression/link-rate.ts';
import { FairShares } from '../fair-shares.ts';
import type { LanePace } from './lane-pace.ts';
import type { Upload } from './upload-block.ts';

/** Largest TLS record, unless the rate is low. */
export const LARGE_RECORD_BYTES = 16_384;

/** A link as uploads see it. */
export interface UploadLane {
  /** Writes a block; `onFlushed` says when its memory is free again, and may stay away once the lane is dropped. */
  writeBlock(block: Uint8Array, onFlushed: () => void): void;
  /** Asks for a PONG with this token, once the other side has read what was written. */
  ping(token: number): void;
  /** Largest TLS record from now on, bytes. */
  setRecordBytes(bytes: number): void;
  /** Its reader took nothing for too long, or others need the memory: close it. */
  onStalled(): void;
}

/** What uploads know of a lane. */
export interface LaneState {
  /** Of no other lane. */
  readonly number: number;
  readonly lane: UploadLane;
  readonly queue: Upload[];
  /** Its requests by class. */
  readonly wanted: Map<Priority, number>;
  /** Channels take turns, piece by piece. */
  readonly channels: FairShares<number>;
  /** The class that it is active for. */
  priority: Priority | undefined;
  phase: 'idle' | 'waiting' | 'active' | 'slow';
  block: Buffer | undefined;
  /** The block, of so many bytes, is with the socket; it has been for `sendingMs`. */
  isSending: boolean;
  sendingMs: number;
  sendingBytes: number;
  /** It has had its turn for so long. */
  turnMs: number;
  readonly pace: LanePace;
  /** Runs while the rate limit, or a unit that is being compressed, holds the block back. */
  pause: Timer | undefined;
  /** What the link delivers. */
  readonly rate: LinkRate;
  recordBytes: number;
}

/** A lane that nothing was asked on yet. */
export function newLane(about: Pick<LaneState, 'number' | 'lane' | 'pace'>): LaneState {
  return {
    ...about,
    queue: [],
    wanted: new Map(),
    channels: new FairShares(),
    priority: undefined,
    phase: 'idle',
    block: undefined,
    isSending: false,
    sendingMs: 0,
    sendingBytes: 0,
    turnMs: 0,
    pause: undefined,
    rate: new LinkRate(),
    recordBytes: LARGE_RECORD_BYTES,
  };
}

/** True while it wants something of the class. */
export function wants({ wanted }: LaneState, priority: Priority): boolean {
  return (wanted.get(priority) ?? 0) > 0;
}

/** The request of a class to go on with: what has begun, then what is urgent, then of the channel that had least. */
export function nextUpload({ queue, channels }: LaneState, priority: Priority): Upload | undefined {
  const begun = queue.find(
    ({ request, startedMs }) => startedMs !== undefined && request.priority === priority,
  );
  if (begun !== undefined) return begun;
  const own = queue.filter(({ request }) => request.priority === priority);
  const urgent = own.find(({ request }) => request.isUrgent);
  const channel = channels.next(own.map(({ request }) => request.channel));
  const next = urgent ?? own.find(({ request }) => request.channel === channel);
  if (next !== undefined) channels.pay(next.request.channel, next.request.length);
  return next;
}

/** True for a lane whose block waits for the rate limit, and is less important than what came. */
export function isHeldBackFor({ pause, priority }: LaneState, coming: Priority): boolean {
  if (pause === undefined || priority === undefined) return false;
  return weightOf(coming) > weightOf(priority);
}

/** Behind what is being sent and behind other urgent ones. */
export function urgentPlace(queue: readonly Upload[]): number {
  const place = queue.findIndex(
    ({ request, startedMs }) => !request.isUrgent && startedMs === undefined,
  );
  return place < 0 ? queue.length : place;
}

/** True until the last bytes of it are with the socket. */
export function isUnderWay({ isCancelled, offset, request }: Upload): boolean {
  return !isCancelled && offset < request.length;
}

/** True for a request of the channel, for that piece if one is given. */
export function isOf(upload: Upload, channel: number, piece: number | undefined): boolean {
  const { request } = upload;
  return request.channel === channel && (piece === undefined || request.piece === piece);
}
