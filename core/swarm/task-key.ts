/** The name of a stored version among the workers. */
export function keyOf(task: { readonly taskId: string; readonly version: string }): string {
  return `${task.taskId}/${task.version}`;
}
