import { abortable } from '../base/clock.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { HostKey } from '../identity/host-key.ts';
import { withoutSecrets } from '../piece/task-id.ts';
import type { PieceStore, StoredTask } from '../store/piece-store.ts';
import type { Check, TaskSpec, Update } from '../wire/messages.ts';
import { announcementsOf } from './announcement.ts';
import type { CellMember, TaskListener } from './cell-member.ts';
import { KeptTasks } from './kept-tasks.ts';
import { closeUnread, isWorthAlone } from './registrar.ts';
import type { SwarmRegistration } from './registrar.ts';
import { Reporter } from './reporter.ts';
import { RequestTurns } from './request-turns.ts';
import type { SwarmContext } from './swarm-context.ts';
import { TaskPeer } from './task-peer.ts';
import { TaskPlaces } from './task-places.ts';
import { keyOf } from './task-key.ts';
import type { TransferPool } from './transfer-pool.ts';

/** A claim on a task: while it is held, the task goes on and its content is not evicted. */
export interface TaskLease extends AsyncDisposable {
  readonly stored: StoredTask;
  /** Undefined when everything was here already. */
  readonly peer: TaskPeer | undefined;
  /** Settles when the content is complete, or cannot become so. */
  readonly finished: Promise<void>;
}

/** How a version is taken part in. */
export interface JoinOptions {
  readonly signal: AbortSignal;
  /** The task goes on for so long after the lease was given up, unless its place is needed. Default 0. */
  readonly lingerMs?: number;
  /** It is read in order, from this byte on. Absent: all of it is wanted at its end. */
  readonly readFrom?: number;
}

interface ActiveTask {
  readonly peer: TaskPeer;
  readonly finished: Promise<void>;
  holders: number;
  /** It goes on until then even when nobody holds it. */
  lingersUntilMs: number;
  lingering: Timer | undefined;
}

export interface SwarmTasksOptions extends Pick<SwarmContext, 'downloadLimiter' | 'farTurns'> {
  readonly key: HostKey;
  readonly store: PieceStore;
  readonly pool: TransferPool;
  readonly member: CellMember | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const TICKET_RENEWAL_MS = 7 * 60_000;
const MAX_REPORT_TASKS = 1_000;
const MAX_EARLY = 1_000;
const SYNC_MS = 1_000;

/** The tasks of this host: those that download, and those that are only served. */
export class SwarmTasks implements TaskListener, AsyncDisposable {
  readonly #options: SwarmTasksOptions;
  readonly #active = new Map<string, ActiveTask>();
  readonly #slots = new TaskPlaces();
  readonly #reporter: Reporter;
  readonly #turns: RequestTurns;
  readonly #kept: KeptTasks;
  readonly #renewal: Timer;
  /** News of tasks that are being registered: it may come before the task has begun here. */
  readonly #expected = new Map<string, { holders: number; updates: Update[] }>();

  private constructor(options: SwarmTasksOptions) {
    this.#options = options;
    this.#turns = new RequestTurns(options.clock, options.downloadLimiter);
    this.#reporter = new Reporter(options.clock, (tasks) => {
      for (let start = 0; start < tasks.length; start += MAX_REPORT_TASKS) {
        const part = tasks.slice(start, start + MAX_REPORT_TASKS);
        options.member?.client.send({ type: 'report', tasks: part });
      }
    });
    this.#kept = new KeptTasks({
      ...options,
      reporter: this.#reporter,
      onLost: (stored, pieces) => this.#active.get(keyOf(stored))?.peer.lost(pieces),
    });
    this.#renewal = options.clock.every(TICKET_RENEWAL_MS, () => this.#renewTickets());
  }

  /** Makes everything in the store known to the workers, so that it is served from the start. */
  static async open(options: SwarmTasksOptions): Promise<SwarmTasks> {
    const tasks = new SwarmTasks(options);
    for (const stored of options.store.tasks()) await tasks.#kept.serve(stored);
    return tasks;
  }

  /** Downloads that are running. */
  get active(): number {
    return this.#active.size;
  }

  /**
   * The running download of the task for the very same request, headers and all: content that was fetched with
   * credentials is for whoever has them.
   */
  running(task: string, spec: TaskSpec): TaskPeer | undefined {
    const same = JSON.stringify(spec);
    for (const { peer } of this.#active.values()) {
      if (peer.stored.taskId !== task || peer.isEnding) continue;
      if (JSON.stringify(peer.spec) === same) return peer;
    }
    return undefined;
  }

  /** The tasks that download. */
  peers(): TaskPeer[] {
    return [...this.#active.values()].map(({ peer }) => peer);
  }

  /** Keeps news of a task from now until it has begun, or the returned hold is disposed. */
  expect(task: string): Disposable {
    const expected = this.#expected.get(task) ?? { holders: 0, updates: [] };
    expected.holders += 1;
    this.#expected.set(task, expected);
    return {
      [Symbol.dispose]: () => {
        expected.holders -= 1;
        if (expected.holders === 0) this.#expected.delete(task);
      },
    };
  }

  /**
   * Takes part in a version; the first to join starts it, the last to leave stops it. The
   * registration's open answer of the origin is taken over, also when this throws.
   */
  async join(registration: SwarmRegistration, options: JoinOptions): Promise<TaskLease> {
    try {
      return await this.#join(registration, options);
    } catch (error) {
      await closeUnread(registration.initial);
      const { task, shape, spec } = registration;
      // Whoever joins expects news of the task until then, too.
      this.#disclaim(task, { version: shape.version, mostExpecting: 1 });
      if (error instanceof CodedError) throw error;
      throw new CodedError(
        'ERR_INTERNAL',
        `cannot take part in ${task} of ${withoutSecrets(spec.url)}`,
        { cause: error, detail: { version: shape.version } },
      );
    }
  }

  onConnected(): void {
    this.#announceAll().catch((error: unknown) => {
      this.#options.log.debug({ err: error }, 'announcing ended early');
    });
  }

  onUpdate(update: Update): void {
    const active = this.#active.get(`${update.task}/${update.version}`);
    if (active === undefined) {
      const expected = this.#expected.get(update.task);
      if (expected !== undefined && expected.updates.length < MAX_EARLY)
        expected.updates.push(update);
      return;
    }
    if (update.parents !== undefined) active.peer.addParents(update.parents);
    if (update.manifest !== undefined) active.peer.addManifest(update.manifest, 'supernode');
    if (update.ticket !== undefined) active.peer.setTicket(update.ticket);
    if (update.failed === undefined) return;
    void this.#seedFailed(active.peer, CodedError.fromObject(update.failed));
  }

  onCheck(check: Check): void {
    this.recheck(`${check.task}/${check.version}`);
  }

  /** The supernode took this host for one that downloads the version; unless it does, it says that it does not. */
  onUnwanted(task: string, version: string): void {
    this.#disclaim(task, { version, mostExpecting: 0 });
  }

  /** Sends what there is to report now, not in a moment. */
  flush(): void {
    this.#reporter.flush();
  }

  /** Hashes a task again, in its own time, and withdraws what is not what the manifest says. */
  recheck(key: string): void {
    this.#kept.recheck(key);
  }

  /** Removes a task from this host; ERR_TASK_IN_USE while it is in use. */
  async remove(stored: StoredTask): Promise<void> {
    await this.#kept.remove(stored);
  }

  /** Removes a task whose content is wrong, whoever uses it. */
  async discard(stored: StoredTask): Promise<void> {
    await this.#kept.discard(stored);
  }

  /** Lets workers and supernode know what the store has evicted; for after a sweep. */
  async forgetEvicted(): Promise<void> {
    await this.#kept.forgetEvicted();
  }

  /** The seed gave up. What need not stop this host it may fetch itself, if the supernode lets it. */
  async #seedFailed(peer: TaskPeer, error: CodedError): Promise<void> {
    const { code, message } = error;
    const mayAsk = peer.mayGoAlone && isWorthAlone(error);
    if (mayAsk && (await this.#askSource(peer.stored, `${code}: ${message}`))) peer.goAlone();
    else peer.fail(error);
  }

  async #askSource({ taskId }: StoredTask, reason: string): Promise<boolean> {
    const { member, clock } = this.#options;
    using deadline = clock.deadline(SYNC_MS);
    const asked = member?.client.askSource(taskId, reason, deadline);
    const answer = await asked?.catch(() => undefined);
    return answer?.granted === true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#renewal.cancel();
    for (const { lingering } of this.#active.values()) lingering?.cancel();
    const stopping = new CodedError('ERR_INTERRUPTED', 'this program is stopping');
    for (const { peer } of this.#active.values()) peer.fail(stopping);
    await Promise.allSettled([...this.#active.values()].map(async ({ finished }) => finished));
    this.#reporter.flush();
  }

  async #join(registration: SwarmRegistration, options: JoinOptions): Promise<TaskLease> {
    const { signal, lingerMs = 0 } = options;
    const { task, shape } = registration;
    const stored = await this.#stored(registration);
    const inUse = stored.acquire();
    try {
      await stored.recover({ signal });
      const active = await this.#activate(registration, stored, options);
      if (active === undefined) {
        this.#reporter.state(stored, { complete: true, active: false });
        return leaseOfComplete(stored, inUse);
      }
      active.holders += 1;
      active.lingering?.cancel();
      active.lingering = undefined;
      active.peer.take(registration);
      this.#replay(task, shape.version);
      return {
        stored,
        peer: active.peer,
        finished: active.finished,
        [Symbol.asyncDispose]: async () => {
          inUse[Symbol.dispose]();
          await this.#leave(active, lingerMs);
        },
      };
    } catch (error) {
      inUse[Symbol.dispose]();
      throw error;
    }
  }

  async #stored(registration: SwarmRegistration): Promise<StoredTask> {
    const { task, shape, spec } = registration;
    const { version, pieceLength, length, validators } = shape;
    const stored = await this.#options.store.create({
      taskId: task,
      version,
      pieceLength,
      ...(length === undefined ? {} : { length }),
      validators,
      url: withoutSecrets(spec.url),
      isPrivate: shape.isPrivate === true,
    });
    await this.#kept.serve(stored);
    // Room for it may have been made.
    await this.#kept.forgetEvicted();
    return stored;
  }

  /** The running download of the version, begun if there is none; undefined when everything is here. */
  async #activate(
    registration: SwarmRegistration,
    stored: StoredTask,
    options: JoinOptions,
  ): Promise<ActiveTask | undefined> {
    const key = keyOf(stored);
    for (;;) {
      if (stored.isComplete && (await this.#kept.isIntact(stored))) {
        await closeUnread(registration.initial);
        return undefined;
      }
      const running = this.#active.get(key);
      if (running === undefined) {
        const begun = await this.#begin(registration, stored, options);
        if (begun !== undefined) return begun;
      } else if (running.peer.isEnding) {
        // Who comes now must not end with those for whom it was ended.
        await abortable(
          running.finished.catch(() => undefined),
          options.signal,
        );
      } else {
        await closeUnread(registration.initial);
        // The peer may have come to its end in the meantime.
        if (!running.peer.isEnding) return running;
      }
    }
  }

  /** Begins a download when its turn has come; undefined when somebody else began it meanwhile. */
  async #begin(
    registration: SwarmRegistration,
    stored: StoredTask,
    options: JoinOptions,
  ): Promise<ActiveTask | undefined> {
    this.#endLingering();
    const { priority, initial: _unread, ...unopened } = registration;
    const mustWait = !this.#slots.hasRoom(priority);
    if (mustWait) await closeUnread(registration.initial);
    const slot = await this.#slots.take(priority, options);
    const key = keyOf(stored);
    if (this.#active.has(key)) {
      slot[Symbol.dispose]();
      return undefined;
    }
    // Others needed the connection meanwhile, to come to an end: the origin is asked anew.
    const peer = this.#peer(mustWait ? { ...unopened, priority } : registration, stored, options);
    const inUse = stored.acquire();
    const finished = this.#run(peer).finally(() => {
      slot[Symbol.dispose]();
      inUse[Symbol.dispose]();
      this.#active.get(key)?.lingering?.cancel();
      this.#active.delete(key);
    });
    finished.catch(() => undefined);
    const lingersUntilMs = Number.NEGATIVE_INFINITY;
    const active: ActiveTask = { peer, finished, holders: 0, lingersUntilMs, lingering: undefined };
    this.#active.set(key, active);
    return active;
  }

  /** Runs a task to its end; done means that the supernode knows it, so that whoever starts next asks the origin. */
  async #run(peer: TaskPeer): Promise<void> {
    const { member, clock } = this.#options;
    try {
      await peer.run();
      this.#reporter.state(peer.stored, { complete: true });
    } finally {
      const sources = peer.ledger.since({ fromPeers: 0, fromSeed: 0, fromOrigin: 0 });
      this.#reporter.state(peer.stored, { active: false, ...sources });
      this.#reporter.flush();
      using deadline = clock.deadline(SYNC_MS);
      const { signal } = deadline;
      if (member?.client.isConnected === true)
        await member.client.sync({ signal }).catch(() => undefined);
      // It would stand in the way of the next download.
      if (peer.contradiction !== undefined) await this.discard(peer.stored).catch(() => undefined);
    }
    // That may have been said when everything was here already.
    if (peer.contradiction !== undefined) throw peer.contradiction;
  }

  #peer(registration: SwarmRegistration, stored: StoredTask, { readFrom }: JoinOptions): TaskPeer {
    const { member } = this.#options;
    const { shape, spec, policy, priority, initial } = registration;
    return new TaskPeer(
      {
        ...this.#options,
        reporter: this.#reporter,
        turns: this.#turns,
        verifySupernode: (signer) => {
          if (member === undefined) throw new CodedError('ERR_NOT_MEMBER', 'no cell is joined');
          member.verifySupernode(signer);
        },
        idc: () => member?.record?.idc,
        isSupervised: () => member?.client.isConnected === true,
        askSource: async (task, reason) => this.#askSource(task, reason),
        askParents: (task, reason) =>
          member?.client.send({
            type: 'more-parents',
            task: task.taskId,
            version: task.version,
            reason,
          }),
      },
      {
        stored,
        shape,
        spec,
        originPolicy: policy,
        priority,
        ...(initial === undefined ? {} : { initial }),
        ...(readFrom === undefined ? {} : { readFrom }),
      },
    );
  }

  async #leave(active: ActiveTask, lingerMs: number): Promise<void> {
    const { clock } = this.#options;
    const now = clock.monotonic();
    active.holders -= 1;
    active.lingersUntilMs = Math.max(active.lingersUntilMs, now + lingerMs);
    if (active.holders > 0 || this.#active.get(keyOf(active.peer.stored)) !== active) return;
    const restMs = active.lingersUntilMs - now;
    if (restMs <= 0 || this.#slots.waiting > 0) return this.#stop(active);
    active.lingering = clock.after(restMs, () => void this.#stop(active), { ref: false });
  }

  async #stop(active: ActiveTask): Promise<void> {
    active.lingering?.cancel();
    if (active.holders > 0) return;
    active.peer.fail(new CodedError('ERR_INTERRUPTED', 'nobody waits for it any more'));
    await active.finished.catch(() => undefined);
  }

  /** Where all places are taken, tasks that nobody waits for give theirs to one that somebody does. */
  #endLingering(): void {
    if (this.#slots.hasRoom()) return;
    for (const active of this.#active.values()) {
      if (active.lingering !== undefined) void this.#stop(active);
    }
  }

  /** Tells the supernode everything that is held, what is being downloaded first. */
  async #announceAll(): Promise<void> {
    const active = new Set(this.#active.keys());
    const stored = this.#options.store.tasks().toSorted((a, b) => {
      return Number(active.has(keyOf(b))) - Number(active.has(keyOf(a)));
    });
    for (const task of stored) await this.#announce(task);
  }

  async #announce(stored: StoredTask): Promise<void> {
    const { member, log } = this.#options;
    const peer = this.#active.get(keyOf(stored))?.peer;
    for (const announcement of announcementsOf(stored, peer)) {
      await member?.client.sendInTurn(announcement);
    }
    log.debug({ task: stored.taskId, pieces: stored.pieces.count }, 'announced to the supernode');
  }

  #disclaim(task: string, about: { version: string; mostExpecting: number }): void {
    const { version, mostExpecting } = about;
    if (this.#active.has(`${task}/${version}`)) return;
    // Somebody else is registering it, and will answer for it.
    if ((this.#expected.get(task)?.holders ?? 0) > mostExpecting) return;
    this.#reporter.state({ taskId: task, version }, { active: false });
  }

  /** News of the version that came while it was being registered. */
  #replay(task: string, version: string): void {
    const expected = this.#expected.get(task);
    if (expected === undefined) return;
    const early = expected.updates.filter((update) => update.version === version);
    expected.updates = expected.updates.filter((update) => update.version !== version);
    for (const update of early) this.onUpdate(update);
  }

  #renewTickets(): void {
    for (const { peer } of this.#active.values()) {
      const { taskId, version } = peer.stored;
      this.#options.member?.client.send({ type: 'renew-ticket', task: taskId, version });
    }
  }
}

function leaseOfComplete(stored: StoredTask, inUse: Disposable): TaskLease {
  return {
    stored,
    peer: undefined,
    finished: Promise.resolve(),
    [Symbol.asyncDispose]: async () => inUse[Symbol.dispose](),
  };
}
