import type { ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Clock } from '../../core/base/clock.ts';
import type { CallGroup } from './call-group.ts';
import type { CapturedOutput } from './captured-output.ts';
import type { LimitName } from './command-limits.ts';
import type { Launch } from './launcher.ts';
import { ProcessTree, startedProcess } from './process-tree.ts';
import { startDetached, startError } from './start-detached.ts';

/**
 * After the end of a program what it wrote is read until its pipes are closed, or until so many looks in a row saw
 * nothing come: between two of them this program has read what there was, however busy the machine is.
 */
const DRAIN = { everyMs: 250, quietLooks: 3, looks: 20 } as const;

export interface RunOptions {
  /** In the environment of the launch. */
  readonly marker: string;
  /** Of the launch; whoever made it takes it away. */
  readonly group?: CallGroup | undefined;
  readonly stdout: CapturedOutput;
  readonly stderr: CapturedOutput;
  /** Longest run, then all its processes are ended. */
  readonly timeoutMs: number;
  /** Between being asked to end and being killed. */
  readonly graceMs: number;
  /** Ends all its processes. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

/** How a program ended. */
export interface RunEnd {
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  /** Why we ended it, if we did. */
  readonly ended: 'timeout' | 'cancelled' | undefined;
  /** Processes that were to be ended and could not be killed within 10 s. */
  readonly left: number;
  /** Limit that any of its processes was killed for. */
  readonly exceeded: LimitName | undefined;
}

/**
 * Runs a program, never a shell: no input, in a session of its own, no open file but its three. It is over when
 * the program has ended, or, when we end it, when none of its processes is left. What it left behind by itself lives on.
 * ERR_COMMAND_START when it cannot be started.
 */
export async function runCommand(launch: Launch, options: RunOptions): Promise<RunEnd> {
  const { clock, stdout, stderr, timeoutMs } = options;
  options.signal.throwIfAborted();
  const { child, ...pipes } = start(launch);
  const exit = exitOf(child);
  const reading = Promise.all([
    stdout.readAll(pipes.stdout, clock),
    stderr.readAll(pipes.stderr, clock),
  ]);
  try {
    using deadline = clock.deadline(timeoutMs, { signal: options.signal });
    const left = await endOn(child, { ...options, signal: deadline.signal, exit });
    // Nobody waits for a program that cannot be killed.
    const { code, signal } = left === undefined || left === 0 ? await exit : NO_EXIT;
    await drained(reading, { clock, bytes: () => stdout.bytes + stderr.bytes });
    const cause = deadline.isOver ? 'timeout' : 'cancelled';
    return {
      exitCode: code ?? undefined,
      signal: signal ?? undefined,
      ended: left === undefined ? undefined : cause,
      left: left ?? 0,
      exceeded: await options.group?.exceeded(),
    };
  } finally {
    pipes.stdout.destroy();
    pipes.stderr.destroy();
  }
}

interface PipedChild {
  readonly child: ChildProcess;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

function start(launch: Launch): PipedChild {
  const child = startDetached(launch, { out: 'pipe' });
  return { child, stdout: pipeOf(child.stdout), stderr: pipeOf(child.stderr) };
}

function pipeOf(stream: Readable | null): Readable {
  if (stream === null) throw new TypeError('a child without a pipe');
  return stream;
}

interface Exit {
  readonly code: number | null;
  readonly signal: string | null;
}

const NO_EXIT: Exit = { code: null, signal: null };

async function exitOf(child: ChildProcess): Promise<Exit> {
  const { promise, resolve, reject } = Promise.withResolvers<Exit>();
  child.once('exit', (code, signal) => resolve({ code, signal }));
  child.once('error', (error) => reject(startError(child.spawnfile, error)));
  return promise;
}

/** Waits for the end of the program; when `signal` aborts first ends all of it: how many are left then. */
async function endOn(
  child: ChildProcess,
  options: RunOptions & { readonly exit: Promise<Exit> },
): Promise<number | undefined> {
  const { signal, marker, group, clock, graceMs, exit } = options;
  const root = child.pid === undefined ? undefined : startedProcess(child.pid);
  const { promise: aborted, resolve: abort } = Promise.withResolvers<'aborted'>();
  const onAbort = (): void => abort('aborted');
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    if ((await Promise.race([exit, aborted])) !== 'aborted') return undefined;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  return new ProcessTree(marker, { root, group }).kill({ clock, graceMs });
}

/** A process that lives on may hold the pipes for ever; nobody waits for that. */
async function drained(
  reading: Promise<unknown>,
  { clock, bytes }: { readonly clock: Clock; readonly bytes: () => number },
): Promise<void> {
  let isOver = false;
  const end = reading.then(() => {
    isOver = true;
  });
  let before = -1;
  let quiet = 0;
  for (let look = 0; !isOver && look < DRAIN.looks && quiet < DRAIN.quietLooks; look += 1) {
    quiet = before === bytes() ? quiet + 1 : 0;
    before = bytes();
    const pause = new AbortController();
    const wait = clock.sleep(DRAIN.everyMs, { signal: pause.signal }).catch(() => undefined);
    await Promise.race([end, wait]);
    pause.abort();
  }
}
