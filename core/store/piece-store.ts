import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { abortable } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import { defaultReserveBytes, diskSpace } from './capacity.ts';
import { createDataFile, removeDataFile } from './data-file.ts';
import { planEviction } from './evict.ts';
import type { Eviction } from './evict.ts';
import { JOURNAL_ROOM_BYTES, Journal } from './journal.ts';
import type { JournalChange } from './journal.ts';
import { refuseNewer, writeFormat } from './folder-format.ts';
import { dataPath, findTasks, makeFolders } from './open-folder.ts';
import type { Repair } from './open-folder.ts';
import { RepairLog } from './repair-log.ts';
import { Room } from './room.ts';
import { Serial } from './serial.ts';
import { StoredTask } from './stored-task.ts';
import { TaskIndex } from './task-index.ts';
import { taskName } from './task-row.ts';
import { checkSpec, newTaskRow } from './task-spec.ts';
import type { TaskSpec } from './task-spec.ts';
import type { TaskSurroundings } from './task-surroundings.ts';

export type { TaskSpec } from './task-spec.ts';
export type { StoredTask } from './stored-task.ts';

/** How a data folder is opened. */
export interface PieceStoreOptions {
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Most bytes the store may hold; undefined: as the disk allows. */
  readonly quotaBytes?: number | undefined;
  /** Left free on the filesystem; default 256 MiB, at most 5 % of it. */
  readonly reserveBytes?: number | undefined;
  /** Tasks not used for so long are removed by a sweep; undefined: never. */
  readonly ttlMs?: number | undefined;
  /** Shares of the quota: a sweep that finds more than the high one (0.9) goes down to the low one (0.8). */
  readonly highWatermark?: number | undefined;
  readonly lowWatermark?: number | undefined;
  /** Default 5,000; each costs about 5 KB of memory. */
  readonly maxTasks?: number | undefined;
  /** How long closing may spend on bringing bytes to the platter, ms; default 2,000; 0: another boot hashes them. */
  readonly settleMs?: number | undefined;
  /** Identity of this boot of the machine; default: as the kernel says. */
  readonly bootId?: string | undefined;
}

const DEFAULT_MAX_TASKS = 5000;
/** A finished file is older than this when a sweep settles it, so the kernel has written most of it anyway. */
const SETTLE_AGE_MS = 60_000;
const MAX_SETTLED_AT_ONCE = 16;
const NOTHING_HELD: Disposable = { [Symbol.dispose]: () => undefined };

/** The tasks of one data folder; see DESIGN.md. One process opens it at a time. */
export class PieceStore implements AsyncDisposable {
  readonly directory: string;
  /** Awaited before the file of a removed task goes: whoever has it open closes it, or the disk gets nothing back. */
  onRemove: (task: StoredTask) => Promise<void> = async () => undefined;
  /** How long opening took, ms. */
  readonly openMs: number;
  readonly #repairs: RepairLog;
  readonly #options: PieceStoreOptions & { readonly reserveBytes: number };
  readonly #journal: Journal;
  readonly #around: TaskSurroundings;
  readonly #index: TaskIndex;
  readonly #room: Room;
  /** Whatever makes or removes files goes one after the other: each decides on what the one before left. */
  readonly #turns = new Serial();
  /** Begun without a length; that the rest fits was not seen to. */
  readonly #unbounded = new WeakSet<StoredTask>();
  /** Deletions of rows that are not journalled yet. */
  #removals: JournalChange[] = [];
  #closing: Promise<void> | undefined;

  private constructor(opened: {
    readonly options: PieceStoreOptions & { readonly reserveBytes: number };
    readonly around: TaskSurroundings;
    readonly tasks: readonly StoredTask[];
    readonly repairs: RepairLog;
    readonly openMs: number;
  }) {
    this.#options = opened.options;
    this.directory = opened.options.directory;
    this.#around = opened.around;
    this.#journal = opened.around.journal;
    this.#repairs = opened.repairs;
    this.openMs = opened.openMs;
    this.#index = new TaskIndex(opened.tasks);
    this.#room = new Room({
      directory: this.directory,
      index: this.#index,
      reserveBytes: opened.options.reserveBytes,
      quotaBytes: opened.options.quotaBytes,
      maxTasks: opened.options.maxTasks ?? DEFAULT_MAX_TASKS,
      evict: (plan) => this.#evict(plan),
    });
  }

  /** Opens or makes a data folder and repairs it; ERR_STORE_LOCKED, ERR_STORE_NEWER, ERR_NO_SPACE or ERR_STORE_IO. */
  static async open(given: PieceStoreOptions): Promise<PieceStore> {
    const directory = resolve(given.directory);
    const startMs = given.clock.monotonic();
    await refuseNewer(directory);
    await makeFolders(directory);
    const journal = await Journal.open(resolve(directory, 'journal'));
    try {
      // Again, now that nobody else can be writing it.
      const isDamaged = await refuseNewer(directory);
      await writeFormat(directory);
      const { totalBytes } = await diskSpace(directory);
      const reserveBytes = given.reserveBytes ?? defaultReserveBytes(totalBytes);
      const bootId = given.bootId ?? (await readBootId());
      const repairs = new RepairLog(given.log);
      if (isDamaged) repairs.add({ kind: 'format-damaged', name: 'FORMAT', pieces: 0 });
      const found = await findTasks(journal, {
        directory,
        bootId,
        onRepair: (repair) => repairs.add(repair),
      });
      const onMalformed = (name: string): void =>
        repairs.add({ kind: 'row-malformed', name, pieces: 0 });
      const around = { journal, clock: given.clock, log: given.log, bootId, onMalformed };
      const tasks = found.map((task) => new StoredTask(around, task));
      repairs.summarise();
      await journal.keepReserve();
      const options = { ...given, directory, reserveBytes };
      const openMs = given.clock.monotonic() - startMs;
      return new PieceStore({ options, around, tasks, repairs, openMs });
    } catch (error) {
      await journal.close();
      throw error;
    }
  }

  /** What was found broken and put right, the first thousand of it. */
  get repairs(): readonly Repair[] {
    return this.#repairs.told;
  }

  /** How many there were in all. */
  get repairCount(): number {
    return this.#repairs.count;
  }

  /** Bytes of tasks that are kept, with what they still lack. */
  get keptBytes(): number {
    return this.#room.keptBytes;
  }

  /** Bytes of pieces in the store. */
  get usedBytes(): number {
    return this.#room.usedBytes;
  }

  /** All tasks, in no order. */
  tasks(): readonly StoredTask[] {
    return [...this.#index.all()];
  }

  /** One version of a task, or its newest; `acquire()` it before the next `await`, and `recover()` it if it is suspect. */
  find(taskId: string, version?: string): StoredTask | undefined {
    return this.#index.find(taskId, version);
  }

  /**
   * Begins a task, or finds it, when there is room for what it still lacks; evicts least recently used tasks for it.
   * ERR_NO_SPACE with the numbers; ERR_MANIFEST when it is there with another shape. `acquire()` it within ten seconds.
   */
  async create(spec: TaskSpec): Promise<StoredTask> {
    checkSpec(spec);
    // Whatever is here already may be had of a full disk too, as far as its rows can be read.
    await this.#journal.mend().catch(() => undefined);
    return this.#inTurn(() => this.#create(spec));
  }

  /**
   * Sees to it that more fits of content whose length was not known when it was begun: these pieces, or all of the
   * rest once the length is known. ERR_NO_SPACE when it does not fit. Other content was looked at as a whole.
   * The room is kept until what is returned is disposed: when the pieces are had, or do not come.
   */
  async grow(task: StoredTask, pieces: readonly number[]): Promise<Disposable> {
    if (!this.#unbounded.has(task)) return NOTHING_HELD;
    return this.#inTurn(async () => {
      if (task.length === undefined) {
        const hold = await this.#room.reserve(task, pieces);
        // The length may have come meanwhile, and then what is held is not looked at.
        if (task.length === undefined) return hold;
        hold[Symbol.dispose]();
      }
      await this.#room.ensure(task.length - task.storedBytes, task);
      this.#unbounded.delete(task);
      return NOTHING_HELD;
    });
  }

  /** Removes a task and its file, in use or not: who uses it meets ERR_NOT_FOUND at the next change. */
  async remove(task: StoredTask): Promise<void> {
    await this.#inTurn(async () => {
      if (this.#index.find(task.taskId, task.version) === task) await this.#discard([task]);
    });
  }

  /**
   * Keeps a task from being evicted for so many ms from now, across restarts; undefined: no longer. What somebody
   * removes goes all the same. ERR_NO_SPACE when too much would be kept; ERR_NOT_FOUND when it is not here.
   */
  async keep(task: StoredTask, forMs: number | undefined): Promise<void> {
    await this.#inTurn(async () => {
      if (forMs !== undefined) await this.#room.refuseKept(task);
      await task.keep(forMs === undefined ? undefined : this.#around.clock.now() + forMs);
    });
  }

  /** Removes stale, expired and surplus tasks, settles finished files, and compacts the journal; call it now and then. */
  async sweep(): Promise<{ removed: number; bytes: number }> {
    const swept = await this.#sweep();
    await this.#journal.compact().catch((error: unknown) => {
      const { code } = CodedError.from(error);
      this.#around.log.warn({ code }, 'the journal could not be compacted');
    });
    return swept;
  }

  async #sweep(): Promise<{ removed: number; bytes: number }> {
    return this.#inTurn(async () => {
      const { quotaBytes, ttlMs } = this.#options;
      const diskShortBytes = await this.#room.diskShortBytes();
      const candidates = await this.#room.candidates({ withDisk: diskShortBytes > 0 });
      const plan = planEviction(candidates, {
        now: this.#around.clock.now(),
        ttlMs,
        quotaBytes,
        highWatermark: this.#options.highWatermark ?? 0.9,
        lowWatermark: this.#options.lowWatermark ?? 0.8,
        maxTasks: this.#options.maxTasks ?? DEFAULT_MAX_TASKS,
        diskShortBytes,
      });
      const swept = await this.#evict(plan);
      await this.#settleSome();
      return swept;
    });
  }

  /** Evicts so that `bytes` can be written after the disk said it was full; false when they still cannot. */
  async makeRoom(bytes: number): Promise<boolean> {
    // Where only the bytes fit, their row does not: the next write would find the disk full again.
    const wanted = Math.max(bytes, JOURNAL_ROOM_BYTES);
    return this.#inTurn(() => this.#room.free(wanted));
  }

  /** Ends what is under way, brings bytes to the platter within `settleMs`, and unlocks the folder. */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) {
      throw new CodedError('ERR_STORE_IO', 'the store is closed', {
        detail: { directory: this.directory },
      });
    }
    return this.#turns.run(work);
  }

  async #create(spec: TaskSpec): Promise<StoredTask> {
    const existing = this.find(spec.taskId, spec.version);
    if (existing !== undefined) return this.#resume(existing, spec);
    await this.#room.ensure(spec.length ?? spec.pieceLength, undefined);
    await this.#forgetRemoved();
    const name = taskName(spec);
    const path = dataPath(this.directory, name);
    // A clock set back must not make an older version the newest.
    const createdMs = Math.max(this.#around.clock.now(), this.#index.newestMs + 1);
    const row = newTaskRow(spec, createdMs);
    const task = new StoredTask(this.#around, { row, path, hasFile: true });
    await createDataFile(path, spec.length ?? 0);
    try {
      await task.writeRow();
    } catch (error) {
      await removeDataFile(path);
      throw error;
    }
    this.#index.add(task);
    if (spec.length === undefined) this.#unbounded.add(task);
    task.reserve();
    return task;
  }

  async #resume(task: StoredTask, spec: TaskSpec): Promise<StoredTask> {
    if (task.pieceLength !== spec.pieceLength) {
      throw new CodedError('ERR_MANIFEST', 'the task has another piece length', {
        detail: { task: task.taskId, known: task.pieceLength, pieceLength: spec.pieceLength },
      });
    }
    if (spec.length !== undefined) await task.setLength(spec.length);
    const missing = task.length === undefined ? task.pieceLength : task.length - task.storedBytes;
    if (missing > 0) await this.#room.ensure(missing, task);
    if (!task.isComplete) await task.stir();
    if (task.length === undefined) this.#unbounded.add(task);
    else this.#unbounded.delete(task);
    task.touch();
    task.reserve();
    return task;
  }

  async #evict(plan: readonly Eviction[]): Promise<{ removed: number; bytes: number }> {
    const planned = new Map(plan.map((eviction) => [eviction.key, eviction]));
    // Asked again: the plan is as old as its last `await`.
    const gone = this.tasks().filter((task) => planned.has(task.name) && !task.isHeld);
    await this.#discard(gone);
    let bytes = 0;
    for (const task of gone) {
      const eviction = planned.get(task.name);
      bytes += eviction?.bytes ?? 0;
      const facts = { task: task.taskId, bytes: eviction?.bytes, reason: eviction?.reason };
      this.#around.log.debug(facts, 'task evicted');
    }
    return { removed: gone.length, bytes };
  }

  async #discard(gone: readonly StoredTask[]): Promise<void> {
    if (gone.length === 0) return;
    for (const task of gone) {
      task.retire();
      this.#index.delete(task);
    }
    for (const task of gone) this.#removals.push(...(await task.removal()));
    for (const task of gone) await this.onRemove(task).catch(() => undefined);
    // Files first: on a full disk the journal can be written again only after that.
    for (const task of gone) await removeDataFile(task.path);
    await this.#forgetRemoved().catch((error: unknown) => {
      const { code } = CodedError.from(error);
      this.#around.log.warn(
        { code, tasks: gone.length },
        'rows of removed tasks are left for later',
      );
    });
  }

  /** Durable: a row that came back with the machine would claim pieces of a file that was made anew. */
  async #forgetRemoved(): Promise<void> {
    if (this.#removals.length === 0) return;
    await this.#journal.write(this.#removals, { durable: true });
    this.#removals = [];
  }

  async #settleSome(): Promise<void> {
    const now = this.#around.clock.now();
    const quiet = this.tasks().filter(
      (task) =>
        task.isUnsettled && task.sealed !== undefined && now - task.sealed.mtimeMs > SETTLE_AGE_MS,
    );
    for (const task of quiet.slice(0, MAX_SETTLED_AT_ONCE)) {
      await task.settle().catch((error: unknown) => this.#reportUnsettled(task, error));
    }
  }

  #reportUnsettled(task: StoredTask, error: unknown): void {
    const { code } = CodedError.from(error);
    this.#around.log.warn({ task: task.taskId, code }, 'a data file could not be synced');
  }

  async #close(): Promise<void> {
    await this.#turns.idle();
    for (const task of this.tasks()) await task.idle();
    await this.#forgetRemoved().catch(() => undefined);
    const settleMs = this.#options.settleMs ?? 2000;
    if (settleMs > 0) {
      using deadline = this.#around.clock.deadline(settleMs);
      // Out of time: what is not settled is hashed if the machine boots anew, and not otherwise.
      await abortable(this.#settleAll(deadline.signal), deadline.signal).catch(() => undefined);
    }
    await this.#journal.close();
  }

  async #settleAll(signal: AbortSignal): Promise<void> {
    for (const task of this.tasks()) {
      if (signal.aborted) return;
      if (!task.isUnsettled) continue;
      await task.settle({ signal }).catch((error: unknown) => this.#reportUnsettled(task, error));
    }
  }
}

async function readBootId(): Promise<string | undefined> {
  try {
    return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  } catch {
    return undefined;
  }
}
