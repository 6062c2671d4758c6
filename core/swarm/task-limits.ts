import { CodedError } from '../base/error.ts';
import type { SwarmTasks } from './swarm-tasks.ts';

/** What a task that is being downloaded may take a second, in bytes; 0 is no limit. */
export interface TaskLimit {
  readonly task: string;
  readonly bytesPerSecond: number;
}

/** The tasks that download, and what each may take. */
export function taskLimits(tasks: SwarmTasks): readonly TaskLimit[] {
  return tasks.peers().map(({ stored, rate }) => ({
    task: stored.taskId,
    bytesPerSecond: rate.bytesPerSecond,
  }));
}

/**
 * What tasks that download may take from now on, whatever their downloads wish. ERR_NOT_FOUND, and nothing is set, when
 * one of them does not download.
 */
export function setTaskLimits(tasks: SwarmTasks, limits: readonly TaskLimit[]): void {
  const peers = tasks.peers();
  const idle = limits.find(({ task }) => !peers.some(({ stored }) => stored.taskId === task));
  if (idle !== undefined) {
    throw new CodedError('ERR_NOT_FOUND', `this host is not downloading task ${idle.task}`);
  }
  for (const { task, bytesPerSecond } of limits) {
    for (const { stored, rate } of peers) {
      if (stored.taskId === task) rate.set(bytesPerSecond);
    }
  }
}
