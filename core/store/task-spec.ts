import { CodedError } from '../base/error.ts';
import type { Validators } from '../piece/version.ts';
import { bitCapacity, isTaskName, MAX_PIECES, taskName } from './task-row.ts';
import type { TaskRow } from './task-row.ts';

/** What is known of a task when it is begun. */
export interface TaskSpec {
  /** 64 hex digits. */
  readonly taskId: string;
  /** 16 hex digits. */
  readonly version: string;
  readonly pieceLength: number;
  /** Bytes; undefined: not known until the end. */
  readonly length?: number | undefined;
  /** Without credentials. */
  readonly url?: string | undefined;
  readonly validators?: Validators | undefined;
  readonly scope?: string | undefined;
  readonly isPrivate?: boolean | undefined;
}

/** RangeError when ids or sizes are not what they must be; ERR_MANIFEST at more pieces than are kept. */
export function checkSpec(spec: TaskSpec): void {
  const name = taskName(spec);
  if (!isTaskName(name)) throw new RangeError(`not a task and version: ${name.slice(0, 100)}`);
  const { pieceLength, length } = spec;
  const isLength = length === undefined || (Number.isSafeInteger(length) && length >= 0);
  if (!isLength || !Number.isSafeInteger(pieceLength) || pieceLength < 1) {
    throw new RangeError(`length ${length}, piece length ${pieceLength}`);
  }
  const pieces = bitCapacity({ length, pieceLength });
  if (pieces > MAX_PIECES) {
    throw new CodedError('ERR_MANIFEST', 'too many pieces', {
      detail: { pieces, most: MAX_PIECES },
    });
  }
}

/** The row of a task that has nothing yet. */
export function newTaskRow(spec: TaskSpec, createdMs: number): TaskRow {
  return {
    taskId: spec.taskId,
    version: spec.version,
    pieceLength: spec.pieceLength,
    length: spec.length,
    url: spec.url,
    scope: spec.scope,
    isPrivate: spec.isPrivate ?? false,
    validators: spec.validators ?? {},
    wholeDigest: undefined,
    isManifestFinal: false,
    manifestRows: [],
    createdMs,
    accessedMs: createdMs,
    sealed: undefined,
    rested: undefined,
    keptUntilMs: undefined,
    boot: undefined,
    isSuspect: false,
    had: new Uint8Array(0),
  };
}
