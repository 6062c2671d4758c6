/**
 * How long a store takes to open, beside reading as many rows and looking at as many files; and what its journal
 * comes to when tasks come and go. No byte of content is written: opening does not look at any.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Type } from 'typebox';
import type { Static, TSchema } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { Command, outputOf } from '../cluster/command.ts';
import { Workplace } from '../cluster/workplace.ts';
import { median } from '../measure/median.ts';

/** What is measured. */
export interface StoreOptions {
  /** Tasks and pieces of each. */
  readonly shapes: readonly { readonly tasks: number; readonly pieces: number }[];
  /** Tasks made and evicted; 0: that part is left out. */
  readonly churn: number;
  readonly rounds: number;
  /** Where the folders are made; default the system's for temporary files. */
  readonly parent?: string;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

/** How the folder was left: closed, its process killed, or killed and its files gone. */
export const leavings = ['closed', 'kill -9', 'files gone'] as const;
export type Leaving = (typeof leavings)[number];

/** One folder, opened. */
export interface OpenSample {
  readonly leaving: Leaving;
  readonly tasks: number;
  readonly pieces: number;
  readonly openMs: number;
  /** Of all threads, user and system, while it was opened. */
  readonly cpuSeconds: number;
  /** The same rows and files read by nobody in particular, in a process of its own. */
  readonly readMs: number;
  readonly rowBytes: number;
  readonly repairs: number;
  readonly rss: number;
}

/** What the journal came to; bytes. */
export interface ChurnSample {
  readonly tasks: number;
  readonly kept: number;
  readonly largest: number;
  readonly end: number;
}

const PROCESS = join(import.meta.dirname, 'store-process.ts');
/** Of the tasks that are made and evicted, so many stay. */
const CHURN_KEPT = 50;
const CHURN_PIECES = 50;

const Filled = Type.Object({ filled: Type.Number() });
const Opened = Type.Object({
  openMs: Type.Number(),
  cpuSeconds: Type.Number(),
  tasks: Type.Number(),
  pieces: Type.Number(),
  repairs: Type.Number(),
  rss: Type.Number(),
});
const Read = Type.Object({ readMs: Type.Number(), rowBytes: Type.Number() });
const Churned = Type.Object({
  largest: Type.Number(),
  journalBytes: Type.Number(),
  tasks: Type.Number(),
});

/** Runs all of it; ERR_INTERNAL with what a process said when it failed. */
export async function runStore(options: StoreOptions): Promise<{
  readonly opened: readonly OpenSample[];
  readonly churned: ChurnSample | undefined;
}> {
  const { parent, signal, onStep } = options;
  await using place = await Workplace.open({ signal, ...(parent === undefined ? {} : { parent }) });
  const opened: OpenSample[] = [];
  for (const shape of options.shapes) {
    for (const leaving of leavings) {
      onStep(`${shape.tasks} tasks of ${shape.pieces} pieces, ${leaving}`);
      opened.push(await openOne(place, { ...shape, leaving, options }));
    }
  }
  if (options.churn === 0) return { opened, churned: undefined };
  onStep(`${options.churn} tasks made and evicted`);
  const words = ['churn', join(place.folder, 'churn'), options.churn, CHURN_PIECES, CHURN_KEPT];
  const { largest, journalBytes, tasks } = await tell(place, words, Churned);
  return { opened, churned: { tasks: options.churn, kept: tasks, largest, end: journalBytes } };
}

async function openOne(
  place: Workplace,
  what: {
    readonly tasks: number;
    readonly pieces: number;
    readonly leaving: Leaving;
    readonly options: StoreOptions;
  },
): Promise<OpenSample> {
  const { tasks, pieces, leaving, options } = what;
  const folder = join(place.folder, 'store');
  const samples: OpenSample[] = [];
  for (let round = 0; round < options.rounds; round += 1) {
    await rm(folder, { recursive: true, force: true });
    await fill(place, ['fill', folder, tasks, pieces], { isClosed: leaving === 'closed' });
    if (leaving === 'files gone') await rm(join(folder, 'tasks'), { recursive: true });
    const opened = await tell(place, ['open', folder], Opened);
    const read = await tell(place, ['rows', folder], Read);
    const right = leaving === 'files gone' ? 0 : tasks * pieces;
    if (opened.pieces !== right) {
      throw new CodedError('ERR_INTERNAL', `${leaving}: ${opened.pieces} pieces of ${right}`);
    }
    samples.push({ leaving, ...opened, pieces: tasks * pieces, ...read });
  }
  const openMs = median(samples.map((sample) => sample.openMs));
  const cpuSeconds = median(samples.map((sample) => sample.cpuSeconds));
  const readMs = median(samples.map((sample) => sample.readMs));
  const [first] = samples;
  if (first === undefined) throw new RangeError('at least one round');
  return { ...first, openMs, cpuSeconds, readMs };
}

/** Fills a folder, and closes it or kills who did. */
async function fill(
  place: Workplace,
  words: readonly (string | number)[],
  options: { readonly isClosed: boolean },
): Promise<void> {
  const filled = Promise.withResolvers<void>();
  const argv = [process.execPath, PROCESS, ...words.map(String)];
  const command = await Command.start(argv, {
    guard: place.guard,
    onLine: (line) => {
      parser(Filled)(JSON.parse(line));
      filled.resolve();
    },
  });
  const early = await Promise.race([filled.promise, command.result]);
  if (early !== undefined) throw new CodedError('ERR_INTERNAL', `filling failed: ${early.stderr}`);
  command.kill(options.isClosed ? 'SIGTERM' : 'SIGKILL');
  const { exitCode, signal, stderr } = await command.result;
  if (options.isClosed ? exitCode === 0 : signal === 'SIGKILL') return;
  throw new CodedError('ERR_INTERNAL', `closing ended with ${exitCode ?? signal}: ${stderr}`);
}

async function tell<const T extends TSchema>(
  place: Workplace,
  words: readonly (string | number)[],
  schema: T,
): Promise<Static<T>> {
  const argv = [process.execPath, PROCESS, ...words.map(String)];
  return parser(schema)(JSON.parse(await outputOf(argv, { guard: place.guard })));
}
