/** What the policy knows of a stored task; plain data. */
export interface EvictionCandidate {
  readonly key: string;
  readonly taskId: string;
  readonly createdMs: number;
  readonly accessedMs: number;
  /** Counts against the quota. */
  readonly bytes: number;
  /** What the disk gets back: nothing when an output is a hard link to the data file. */
  readonly diskBytes: number;
  /** In use, or kept: it must stay. */
  readonly isHeld: boolean;
  readonly isComplete: boolean;
}

/** Bounds of the store; times in ms, sizes in bytes, watermarks as shares of the quota. */
export interface EvictionLimits {
  readonly now: number;
  readonly ttlMs: number | undefined;
  readonly quotaBytes: number | undefined;
  readonly highWatermark: number;
  readonly lowWatermark: number;
  readonly maxTasks: number;
  /** What the disk lacks to have its reserve. */
  readonly diskShortBytes: number;
}

/** `stale`: a newer version is there. The others name the bound that was passed. */
export type EvictionReason = 'stale' | 'ttl' | 'count' | 'quota' | 'space';

/** One task to remove, and why. */
export interface Eviction {
  readonly key: string;
  readonly reason: EvictionReason;
  readonly bytes: number;
}

/** What a sweep removes: stale versions, then expired tasks, then least recently used ones; never one that is held. */
export function planEviction(
  tasks: readonly EvictionCandidate[],
  limits: EvictionLimits,
): Eviction[] {
  const plan: Eviction[] = [];
  let usedBytes = 0;
  for (const task of tasks) usedBytes += task.bytes;
  let count = tasks.length;
  let diskShortBytes = limits.diskShortBytes;
  const evict = (task: EvictionCandidate, reason: EvictionReason): void => {
    plan.push({ key: task.key, reason, bytes: task.bytes });
    usedBytes -= task.bytes;
    diskShortBytes -= task.diskBytes;
    count -= 1;
  };

  const newest = newestVersions(tasks);
  const kept: EvictionCandidate[] = [];
  for (const task of leastRecentFirst(tasks)) {
    if (isStale(task, newest)) evict(task, 'stale');
    else if (isExpired(task, limits)) evict(task, 'ttl');
    else kept.push(task);
  }

  const quotaBytes = limits.quotaBytes ?? Infinity;
  // Down to the low mark once the high one is passed, so that a full store is not swept at each download.
  const aimBytes =
    usedBytes > quotaBytes * limits.highWatermark ? quotaBytes * limits.lowWatermark : Infinity;
  for (const task of kept) {
    if (count > limits.maxTasks) evict(task, 'count');
    else if (usedBytes > aimBytes) evict(task, 'quota');
    else if (diskShortBytes > 0 && task.diskBytes > 0) evict(task, 'space');
  }
  return plan;
}

/** What is missing before something can be stored. */
export interface Wanted {
  readonly diskBytes: number;
  readonly quotaBytes: number;
  /** Tasks above the bound on their number. */
  readonly tasks?: number;
}

/**
 * The least recently used tasks whose removal covers everything wanted; undefined when all that may go
 * would not do, so that nothing is thrown away in vain.
 */
export function planRoom(
  tasks: readonly EvictionCandidate[],
  wanted: Wanted,
): Eviction[] | undefined {
  const plan: Eviction[] = [];
  let { diskBytes, quotaBytes } = wanted;
  let count = wanted.tasks ?? 0;
  for (const task of leastRecentFirst(tasks)) {
    const reason = reasonToGo(task, { diskBytes, quotaBytes, tasks: count });
    if (reason === undefined) continue;
    plan.push({ key: task.key, reason, bytes: task.bytes });
    diskBytes -= task.diskBytes;
    quotaBytes -= task.bytes;
    count -= 1;
  }
  return diskBytes <= 0 && quotaBytes <= 0 && count <= 0 ? plan : undefined;
}

function reasonToGo(task: EvictionCandidate, wanted: Wanted): EvictionReason | undefined {
  if ((wanted.tasks ?? 0) > 0) return 'count';
  if (wanted.quotaBytes > 0 && task.bytes > 0) return 'quota';
  if (wanted.diskBytes > 0 && task.diskBytes > 0) return 'space';
  return undefined;
}

/** Bytes that could be had by removing everything that is not held. */
export function evictableBytes(tasks: readonly EvictionCandidate[]): number {
  let bytes = 0;
  for (const task of tasks) if (!task.isHeld) bytes += task.bytes;
  return bytes;
}

function leastRecentFirst(tasks: readonly EvictionCandidate[]): EvictionCandidate[] {
  return tasks
    .filter((task) => !task.isHeld)
    .toSorted((a, b) => a.accessedMs - b.accessedMs || a.createdMs - b.createdMs);
}

interface Newest {
  anyMs: number;
  completeMs: number;
}

function newestVersions(tasks: readonly EvictionCandidate[]): Map<string, Newest> {
  const newest = new Map<string, Newest>();
  for (const task of tasks) {
    const entry = newest.get(task.taskId) ?? { anyMs: -Infinity, completeMs: -Infinity };
    entry.anyMs = Math.max(entry.anyMs, task.createdMs);
    if (task.isComplete) entry.completeMs = Math.max(entry.completeMs, task.createdMs);
    newest.set(task.taskId, entry);
  }
  return newest;
}

/** A whole old version serves until a newer one is whole too; a partial one is useless at once. */
function isStale(task: EvictionCandidate, newest: ReadonlyMap<string, Newest>): boolean {
  const entry = newest.get(task.taskId);
  if (entry === undefined) return false;
  return task.createdMs < (task.isComplete ? entry.completeMs : entry.anyMs);
}

function isExpired(task: EvictionCandidate, limits: EvictionLimits): boolean {
  return limits.ttlMs !== undefined && limits.now - task.accessedMs > limits.ttlMs;
}
