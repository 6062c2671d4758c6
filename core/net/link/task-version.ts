/** One version of a task. */
export interface TaskVersion {
  readonly task: string;
  readonly version: string;
}

/** Names it among all: `task/version`. */
export function keyOf({ task, version }: TaskVersion): string {
  return `${task}/${version}`;
}
