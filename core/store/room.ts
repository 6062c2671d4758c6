import { CodedError } from '../base/error.ts';
import { freeBytes, noSpace, shortfall } from './capacity.ts';
import type { RoomState, Shortfall } from './capacity.ts';
import { dataFileFacts } from './data-file.ts';
import { evictableBytes, planRoom } from './evict.ts';
import type { Eviction, EvictionCandidate } from './evict.ts';
import type { StoredTask } from './stored-task.ts';
import type { TaskIndex } from './task-index.ts';

/** Bounds of the folder, and how to get rid of tasks. */
export interface RoomOptions {
  readonly directory: string;
  readonly index: TaskIndex;
  readonly reserveBytes: number;
  readonly quotaBytes: number | undefined;
  readonly maxTasks: number;
  readonly evict: (plan: readonly Eviction[]) => Promise<unknown>;
}

/** Of what may be stored and of the number of tasks; the rest is for what comes and goes. */
const KEPT_SHARE = 0.5;

/** Pieces of a task of unknown length that are on their way, and for which there is room. */
interface Hold {
  readonly task: StoredTask;
  readonly pieces: readonly number[];
}

/** Sees to it that there is room before bytes are written; see evict.ts for what goes. */
export class Room {
  readonly #options: RoomOptions;
  readonly #holds = new Set<Hold>();

  constructor(options: RoomOptions) {
    this.#options = options;
  }

  /** Bytes of pieces in the store. */
  get usedBytes(): number {
    let bytes = 0;
    for (const task of this.#options.index.all()) bytes += task.storedBytes;
    return bytes;
  }

  /** Bytes of tasks that are kept, with what they still lack. */
  get keptBytes(): number {
    let bytes = 0;
    for (const task of this.#kept()) bytes += wholeBytes(task);
    return bytes;
  }

  /** Throws ERR_NO_SPACE with the numbers when too much would be kept if this task were. */
  async refuseKept(task: StoredTask): Promise<void> {
    const { directory, quotaBytes = Infinity, reserveBytes, maxTasks } = this.#options;
    const onDisk = this.usedBytes + Math.max(0, (await freeBytes(directory)) - reserveBytes);
    const mostBytes = Math.floor(Math.min(quotaBytes, onDisk) * KEPT_SHARE);
    const mostTasks = Math.floor(maxTasks * KEPT_SHARE);
    const others = this.#kept().filter((kept) => kept !== task);
    const needBytes = wholeBytes(task);
    let keptBytes = 0;
    for (const other of others) keptBytes += wholeBytes(other);
    if (keptBytes + needBytes <= mostBytes && others.length < mostTasks) return;
    const message = `no more may be kept: ${keptBytes} bytes of ${others.length} tasks are, ${mostBytes} of ${mostTasks} may be`;
    const detail = { needBytes, keptBytes, mostBytes, keptTasks: others.length, mostTasks };
    throw new CodedError('ERR_NO_SPACE', message, { detail });
  }

  /** What the disk lacks to have its reserve. */
  async diskShortBytes(): Promise<number> {
    const { reserveBytes, directory } = this.#options;
    return Math.max(0, reserveBytes - (await freeBytes(directory)));
  }

  /** Evicts until `needBytes` more fit, for one more task or for the one that is resumed; ERR_NO_SPACE otherwise. */
  async ensure(needBytes: number, resumed: StoredTask | undefined): Promise<void> {
    const { index, maxTasks, directory, evict } = this.#options;
    const before = await this.#state(needBytes, resumed);
    const short = shortfall(before);
    const surplus = resumed === undefined ? Math.max(0, index.size + 1 - maxTasks) : 0;
    if (!isShort(short) && surplus === 0) return;
    const all = await this.candidates({ withDisk: short.diskBytes > 0 });
    const candidates = all.filter(({ key }) => key !== resumed?.name);
    const facts = { directory, evictableBytes: evictableBytes(candidates) };
    const plan = planRoom(candidates, { ...short, tasks: surplus });
    if (plan === undefined) throw noSpace(before, facts);
    await evict(plan);
    // What that freed is known only now: outputs may share blocks with data files.
    const after = await this.#state(needBytes, resumed);
    if (isShort(shortfall(after))) throw noSpace(after, facts);
  }

  /** Evicts until pieces of a task of unknown length fit, and keeps the room for them until disposed; ERR_NO_SPACE. */
  async reserve(task: StoredTask, pieces: readonly number[]): Promise<Disposable> {
    const held = this.#heldPieces(task);
    const more = pieces.filter((piece) => !task.pieces.has(piece) && !held.has(piece));
    await this.ensure(more.length * task.pieceLength, task);
    const hold = { task, pieces };
    this.#holds.add(hold);
    return { [Symbol.dispose]: () => this.#holds.delete(hold) };
  }

  /** Evicts so that `bytes` can be written, and the reserve too if that can be had; false when they cannot. */
  async free(bytes: number): Promise<boolean> {
    const { directory, reserveBytes, evict } = this.#options;
    const before = await freeBytes(directory);
    const candidates = await this.candidates({ withDisk: true });
    for (const wanted of [bytes + reserveBytes, bytes]) {
      const diskBytes = Math.max(0, wanted - before);
      const plan = planRoom(candidates, { diskBytes, quotaBytes: 0 });
      if (plan === undefined) continue;
      await evict(plan);
      break;
    }
    return (await freeBytes(directory)) >= bytes;
  }

  /** All tasks as the policy sees them; what the disk would get back is asked for only when it matters. */
  async candidates(options: { withDisk: boolean }): Promise<EvictionCandidate[]> {
    const diskBytes = new Map<StoredTask, number>();
    for (const task of options.withDisk ? [...this.#options.index.all()] : []) {
      if (task.isHeld) continue;
      const facts = await dataFileFacts(task.path);
      diskBytes.set(task, facts === undefined || facts.links > 1 ? 0 : facts.diskBytes);
    }
    return [...this.#options.index.all()].map((task) => ({
      key: task.name,
      taskId: task.taskId,
      createdMs: task.createdMs,
      accessedMs: task.accessedMs,
      bytes: task.storedBytes,
      diskBytes: diskBytes.get(task) ?? 0,
      isHeld: task.isHeld,
      isComplete: task.isComplete,
    }));
  }

  #kept(): StoredTask[] {
    return [...this.#options.index.all()].filter((task) => task.keptUntilMs !== undefined);
  }

  async #state(needBytes: number, resumed: StoredTask | undefined): Promise<RoomState> {
    const { directory, index, reserveBytes, quotaBytes } = this.#options;
    const free = await freeBytes(directory);
    let promisedBytes = 0;
    for (const task of index.all()) {
      if (task.length === undefined) {
        promisedBytes += this.#heldPieces(task).size * task.pieceLength;
      } else if (task !== resumed && task.inUse) promisedBytes += task.length - task.storedBytes;
    }
    const { usedBytes } = this;
    return { needBytes, freeBytes: free, reserveBytes, promisedBytes, usedBytes, quotaBytes };
  }

  /** Those that came already count as used. */
  #heldPieces(task: StoredTask): Set<number> {
    const held = new Set<number>();
    for (const hold of this.#holds) {
      if (hold.task !== task) continue;
      for (const piece of hold.pieces) if (!task.pieces.has(piece)) held.add(piece);
    }
    return held;
  }
}

function wholeBytes(task: StoredTask): number {
  return Math.max(task.length ?? 0, task.storedBytes);
}

function isShort(short: Shortfall): boolean {
  return short.diskBytes > 0 || short.quotaBytes > 0;
}
