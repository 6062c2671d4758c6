import type { CompressionStats } from '../compression/compression-stats.ts';
import type { Priority } from '../base/priority.ts';
import type { ErrorObject } from '../base/error.ts';
import type { OriginHostLimit } from '../origin/origin-host-limit.ts';
import type { FetchResult } from '../net/link/piece-fetch.ts';
import type { FarRate } from './far-turns.ts';
import type { Validators } from '../piece/version.ts';

/**
 * What the main thread and the transfer workers say to each other. Payload never travels here:
 * workers read and write data files themselves, and share the bitfield of each task.
 */

/** Everything a worker needs to begin; plain data. */
export interface TransferInit {
  readonly origin: {
    /** CIDRs opened by `--origin-allow`; undefined: every address, as the user could reach himself. */
    readonly allow: readonly string[] | undefined;
    /** Memory of the limiter of all that comes from origins; absent: no limit. */
    readonly rate?: SharedArrayBuffer;
    /** Requests in flight to one host, of all threads, unless `hosts` says something else. */
    readonly connectionsPerHost: number;
    /** Hosts with limits of their own. */
    readonly hosts?: readonly OriginHostLimit[];
    /** Memory by which bodies of all threads make way for releases. */
    readonly releaseWay?: SharedArrayBuffer;
    /** Unix socket of the blobs of this supernode; absent: there are none. */
    readonly blobSocket?: string;
  };
  /** Absent: no piece link, this process only talks to origins. */
  readonly link?: {
    readonly hostKeyPem: string;
    readonly certificatePem: string;
    readonly certificateKeyPem: string;
    readonly encryption: 'tls' | 'none';
    /** Compresses where it pays, and takes compressed pieces; default false. */
    readonly isCompressing?: boolean;
    /** Memory of the limiter of all that is sent; absent: no limit. */
    readonly uploadRate?: SharedArrayBuffer;
    /** Memory of the limiter of all that is taken; absent: no limit. */
    readonly downloadRate?: SharedArrayBuffer;
  };
}

/** A task as workers see it. */
export interface TransferTask {
  /** `task/version`. */
  readonly key: string;
  readonly task: string;
  readonly version: string;
  readonly path: string;
  readonly pieceLength: number;
  readonly length: number | undefined;
  /** Shared: which pieces are verified and journalled. */
  readonly pieces: Uint8Array;
  readonly capacity: number;
  /** Shared, seed only: which pieces are announced to everybody; others are offered one by one. */
  readonly offered?: Uint8Array;
  /** Size and mtime of a finished file; another value means somebody edited it. */
  readonly sealed?: { readonly mtimeMs: number; readonly size: number };
}

/** Identity and trust, sent again whenever they change. */
export interface TransferTrust {
  readonly cell: unknown;
  readonly record: string;
  readonly now: number;
  /** False while no supernode answers: open tasks outlive their tickets until the child's record ends. */
  readonly isSupervised: boolean;
}

/** A request to an origin, as plain data. */
export interface TransferOriginRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly range?: { readonly start: number; readonly end?: number };
  /** Revalidate: 304 when these still hold. */
  readonly condition?: Validators;
  /** Continue: the same version or ERR_ORIGIN_CHANGED. */
  readonly ifMatch?: Validators;
}

/** The answer's head, as the main thread needs it. */
export interface TransferOriginHead {
  readonly status: number;
  /** Of everything at the URL, also where a range of it was asked for. */
  readonly length: number | undefined;
  readonly rangeStart: number;
  readonly acceptsRanges: boolean;
  readonly validators: Validators;
  readonly contentEncoding: string | undefined;
  readonly contentType: string | undefined;
}

/** Operations of a worker. */
export interface TransferOperations {
  init: { args: TransferInit; result: void };
  trust: { args: TransferTrust; result: void };
  /** Ports of this program, as soon as they are known: no origin is looked for there. */
  'own-ports': { args: { readonly ports: readonly number[] }; result: void };
  listen: {
    args: { readonly host: string; readonly port: number; readonly reusePort: boolean };
    result: { readonly port: number };
  };
  'task-put': { args: TransferTask; result: void };
  'task-drop': { args: { readonly key: string }; result: void };
  manifest: {
    args: { readonly key: string; readonly batches: readonly string[]; readonly replace: boolean };
    result: void;
  };
  announce: {
    args: {
      readonly key: string;
      readonly pieces: readonly number[];
      /** Only to this peer. */
      readonly to?: string;
    };
    result: void;
  };
  retract: { args: { readonly key: string; readonly pieces: readonly number[] }; result: void };
  /** Gives batches to every host linked for the task that may lack them. */
  'offer-manifest': {
    args: { readonly key: string; readonly batches: readonly string[] };
    result: void;
  };
  'channel-open': {
    args: {
      readonly channel: number;
      readonly peer: string;
      readonly addresses: readonly string[];
      readonly key: string;
      readonly task: string;
      readonly version: string;
      readonly ticket: string;
      /** Memory of the limiter of the task. */
      readonly rate?: SharedArrayBuffer;
      /** The limit of what comes from its idc, where that is another. */
      readonly farRate?: FarRate | undefined;
    };
    result: { readonly pieces: readonly number[]; readonly address: string };
  };
  'channel-ticket': {
    args: { readonly channel: number; readonly ticket: string };
    result: void;
  };
  'channel-close': { args: { readonly channel: number }; result: void };
  'channel-manifest': { args: { readonly channel: number }; result: void };
  /** Bytes of pieces that came on the channel so far, whole or not. */
  'channel-bytes': { args: { readonly channel: number }; result: ReceivedBytes };
  fetch: {
    args: {
      readonly channel: number;
      readonly key: string;
      readonly piece: number;
      readonly length: number;
      readonly digest: string;
      /** True: before what else waits on the link. */
      readonly isUrgent: boolean;
      readonly priority: Priority;
      /** True: `piece-came` is told while it comes. */
      readonly isTold?: boolean;
    };
    result: FetchResult;
  };
  /** Takes a request back that waits in the parent's line: the fetch fails, and true; false when its bytes are coming. */
  'fetch-back': {
    args: { readonly channel: number; readonly piece: number };
    result: boolean;
  };
  'origin-open': {
    args: {
      readonly origin: number;
      readonly request: TransferOriginRequest;
      readonly priority: Priority;
    };
    result: TransferOriginHead;
  };
  /** An answer to `origin-wanted`. */
  'origin-admitted': {
    args: {
      readonly pass: number;
      /** Of what comes from the host: memory of the limiter, and a number by which it is known again. */
      readonly limit?: { readonly id: number; readonly rate: SharedArrayBuffer };
      /** It may not. */
      readonly error?: ErrorObject;
    };
    result: void;
  };
  /** A body is wanted by somebody more important than before. */
  'origin-priority': {
    args: { readonly origin: number; readonly priority: Priority };
    result: void;
  };
  /** Writes the body to the task's file from piece `start` on, up to piece `end` (undefined: to its end). */
  'origin-pump': {
    args: {
      readonly origin: number;
      readonly key: string;
      readonly start: number;
      readonly end?: number;
      /** True: also hash the whole, which needs start 0. */
      readonly whole: boolean;
      /** Memory of the limiter of the task; absent: no limit. */
      readonly rate?: SharedArrayBuffer;
      /** Shared, of content of unknown length: pieces before this one may be written; see `BodyRoom`. */
      readonly mayWrite?: Int32Array;
    };
    result: { readonly bytes: number; readonly digest?: string };
  };
  /** Reads at most `max` bytes of the body into memory. */
  'origin-read': {
    args: { readonly origin: number; readonly max: number };
    result: Uint8Array;
  };
  /** Reads the body to its end; the digest of it, `ALGO:HEX`. */
  'origin-digest': {
    args: { readonly origin: number; readonly algorithm: string };
    result: string;
  };
  'origin-close': { args: { readonly origin: number }; result: void };
  /** sha256 of a piece as it lies in the data file, hex. */
  'piece-digest': {
    args: { readonly key: string; readonly piece: number; readonly length: number };
    result: string;
  };
  /** Digest of a file, `ALGO:HEX`. */
  digest: { args: { readonly path: string; readonly algorithm: string }; result: string };
  stats: { args: undefined; result: TransferStats };
  close: { args: undefined; result: void };
}

/** What came of a parent. */
export interface ReceivedBytes {
  readonly bytes: number;
  /** What came of all parents that the same thread takes pieces of, this one among them. */
  readonly allBytes: number;
  /** Parents that it takes pieces of at this moment. */
  readonly parents: number;
  /** Some of it waits for a limit here, so that no more may have been asked for. */
  readonly isHeldBack: boolean;
}

/** What workers tell without being asked. */
export interface TransferEvents {
  /** Of several channels at once. */
  have: readonly {
    readonly channel: number;
    readonly pieces: readonly number[];
    /** Of a seed: what this host is to take first. */
    readonly offers: readonly number[];
    /** Requests that wait in the parent's line. */
    readonly load: number;
  }[];
  unhave: { readonly channel: number; readonly pieces: readonly number[] };
  manifest: { readonly channel: number; readonly batches: readonly string[] };
  /** So much of pieces came in vain: their requests were cancelled. */
  wasted: { readonly channel: number; readonly bytes: number };
  'channel-closed': { readonly channel: number; readonly code: string; readonly message: string };
  /** A child asked for it and the file is not what it was: rehash. */
  altered: { readonly key: string };
  /** A piece read from an origin is on disk; its digest is stated, not yet signed by anybody. */
  piece: {
    readonly origin: number;
    readonly piece: number;
    readonly digest: string;
    readonly bytes: number;
  };
  /** A request is to be sent to a host: for which body, as far as that is known. */
  'origin-wanted': {
    readonly pass: number;
    readonly host: string;
    readonly origin: number | undefined;
  };
  /** It ended, or is not to be sent any more; `restMs`: the host asked to be left alone for so long. */
  'origin-left': { readonly pass: number; readonly restMs?: number };
  /** So many bytes of a piece that a parent sends are in the file, not verified yet. */
  'piece-came': { readonly channel: number; readonly piece: number; readonly bytes: number };
  log: {
    readonly level: 'warn' | 'info' | 'debug';
    readonly facts: object;
    readonly message: string;
  };
}

/** Counters of one worker. */
export interface TransferStats {
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Read from links: frames of all kinds, what waits for a limit and what came in vain among them. */
  readonly receivedBytes: number;
  readonly duplicateBytes: number;
  readonly links: number;
  readonly channels: number;
  readonly activeUploads: number;
  readonly compression: CompressionStats;
  readonly queuedBytes: number;
  readonly originBytes: number;
}
