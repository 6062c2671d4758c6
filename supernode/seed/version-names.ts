import { CodedError } from '../../core/base/error.ts';
import type { SeedTask } from './seed-task.ts';

/** What messages call a version. */
export function versionNames({ stored }: Pick<SeedTask, 'stored'>): {
  task: string;
  version: string;
} {
  return { task: stored.taskId, version: stored.version };
}

/** What a host is told that waits for a version which nobody can complete any more. */
export function versionLost(): CodedError {
  return new CodedError(
    'ERR_ORIGIN_CHANGED',
    'no host has the rest, and the origin cannot be asked for the rest of this version',
  );
}
