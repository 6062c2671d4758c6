import { CodedError } from '../../core/base/error.ts';
import { pieceCount, pieceLengthFor } from '../../core/piece/piece-length.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { versionOf } from '../../core/piece/version.ts';
import { MAX_PIECES } from '../../core/store/task-row.ts';
import type { TaskShape, TaskSpec } from '../../core/wire/messages.ts';

/**
 * Refuses (ERR_REQUEST) a task id that is not that of what is asked for: everybody who asks for a task joins what is
 * held under its id, so whoever could name it freely could put content of his own there.
 */
export function checkTask(task: string, spec: TaskSpec): void {
  if (taskIdOf(spec) === task) return;
  throw new CodedError('ERR_REQUEST', 'the task id is not that of the URL', { detail: { task } });
}

/**
 * Refuses (ERR_REQUEST) a shape that no seed would have made: one whose piece length or version does not follow from
 * the rest, or that is larger than anything a link could carry.
 */
export function checkShape(shape: TaskShape, spec: TaskSpec | undefined): void {
  const { version, pieceLength, length, validators } = shape;
  // A length that was unknown at first was learned when the pieces had their length.
  const isByRule = [pieceLengthFor(length), pieceLengthFor(undefined)].includes(pieceLength);
  if (!isByRule || pieceCount(length ?? 0, pieceLength) > MAX_PIECES) {
    throw refused('/shape/pieceLength', version);
  }
  // Without the request it is not known whether a digest names the content.
  if (spec === undefined) return;
  const digest = spec.range === undefined ? spec.digest : undefined;
  const isNamed = /^sha(?:256|512):/.test(digest ?? '') || Object.keys(validators).length > 0;
  if (!isNamed) return;
  const versions = [length, undefined].map((known) =>
    versionOf({ digest, validators, length: known }),
  );
  if (!versions.includes(version)) throw refused('/shape/version', version);
}

function refused(path: string, version: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: does not follow from the rest`, {
    detail: { path, version },
  });
}
