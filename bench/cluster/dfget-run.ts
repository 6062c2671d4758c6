import type { DownloadEvent } from '../../core/swarm/download-events.ts';
import { Command } from './command.ts';
import type { CommandOptions, CommandResult } from './command.ts';

/** The last event of a good download. */
export type DoneEvent = Extract<DownloadEvent, { type: 'done' }>;

/** The last event of a failed one. */
export type FailedEvent = Extract<DownloadEvent, { type: 'failed' }>;

/** What a dfget process came to. */
export interface DfgetResult extends CommandResult {
  readonly events: readonly DownloadEvent[];
  readonly done: DoneEvent | undefined;
  readonly failed: FailedEvent | undefined;
}

/** A dfget process under way. */
export interface DfgetRun {
  readonly pid: number;
  readonly result: Promise<DfgetResult>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts dfget with `--json` and these further arguments, and reads what it reports. */
export async function startDfget(
  argv: readonly string[],
  options: CommandOptions & { readonly onEvent?: (event: DownloadEvent) => void },
): Promise<DfgetRun> {
  const events: DownloadEvent[] = [];
  const onLine = (line: string): void => {
    const event = parseEvent(line);
    if (event === undefined) return;
    events.push(event);
    options.onEvent?.(event);
  };
  const command = await Command.start([...argv, '--json'], { ...options, onLine });
  const result = command.result.then((ended) => ({
    ...ended,
    events,
    done: events.find((event) => event.type === 'done'),
    failed: events.find((event) => event.type === 'failed'),
  }));
  return { pid: command.pid, result, kill: (signal) => command.kill(signal) };
}

// A process killed in the middle of a line leaves half of one.
function parseEvent(line: string): DownloadEvent | undefined {
  try {
    return JSON.parse(line) as DownloadEvent;
  } catch {
    return undefined;
  }
}
