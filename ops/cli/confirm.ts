import { createInterface } from 'node:readline/promises';

/** Asks a question at the terminal: true for `y` and `yes`. Undefined when no terminal is there. */
export function confirmer(
  { stdin, stderr }: Pick<NodeJS.Process, 'stdin' | 'stderr'>,
  signal: AbortSignal,
): ((question: string) => Promise<boolean>) | undefined {
  if (!stdin.isTTY || !stderr.isTTY) return undefined;
  return async (question) => {
    const lines = createInterface({ input: stdin, output: stderr });
    try {
      return /^y(?:es)?$/i.test((await lines.question(question, { signal })).trim());
    } finally {
      lines.close();
    }
  };
}
