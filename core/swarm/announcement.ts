import type { StoredTask } from '../store/piece-store.ts';
import type { Announce, Holding, TaskShape, TaskSpec } from '../wire/messages.ts';
import { shapeOf } from './task-shape.ts';

/** What of a running download the supernode has to know. */
export interface Running {
  readonly shape: TaskShape;
  readonly spec: TaskSpec;
  /** Hosts that it is taken from. */
  readonly parents: readonly string[];
}

/** What is held of a version, as the supernode is told. */
export function holdingOf(stored: StoredTask): Holding {
  const { version } = stored;
  if (stored.isComplete) return { version };
  return { version, pieces: Buffer.from(stored.pieces.snapshot()).toString('base64') };
}

/** A message takes so many characters of batches: frames hold 1 MiB, and one batch may take 900,000. */
export const MAX_MESSAGE_CHARACTERS = 400_000;
const MAX_BATCHES = 4_096;

/** What a supernode is told of a version after a connection, in as many messages as it takes; none when it could not use it. */
export function announcementsOf(stored: StoredTask, running: Running | undefined): Announce[] {
  const batches = stored.manifest();
  // Only the cell's word is worth telling it of a task that nobody here waits for.
  if (running === undefined && !batches.some(isSigned)) return [];
  const digest = stored.wholeDigest;
  return messagesOf(batches).map((part) => ({
    type: 'announce',
    task: stored.taskId,
    shape: running === undefined ? shapeOf(stored) : { ...running.shape, ...lengthOf(stored) },
    holding: holdingOf(stored),
    manifest: part.filter(isSigned),
    provisional: part.filter((batch) => !isSigned(batch)),
    active: running !== undefined,
    ...(running === undefined ? {} : { spec: running.spec, parents: [...running.parents] }),
    ...(digest === undefined ? {} : { digest }),
  }));
}

/** Batches in parts that each fit a message; one part at least. */
export function messagesOf(batches: readonly string[]): string[][] {
  let part: string[] = [];
  const parts = [part];
  let characters = 0;
  for (const batch of batches) {
    characters += batch.length;
    const isFull = characters > MAX_MESSAGE_CHARACTERS || part.length >= MAX_BATCHES;
    if (isFull && part.length > 0) {
      part = [];
      parts.push(part);
      characters = batch.length;
    }
    part.push(batch);
  }
  return parts;
}

function isSigned(batch: string): boolean {
  return batch.startsWith('v1.manifest.');
}

/** The length may have been learned while it ran. */
function lengthOf({ length }: StoredTask): { length?: number } {
  return length === undefined ? {} : { length };
}
