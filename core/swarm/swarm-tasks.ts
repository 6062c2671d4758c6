import type { Clock, Timer } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { Limiter } from '../base/limiter.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { HostKey } from '../identity/host-key.ts';
import type { RateLimiter } from '../net/pacing.ts';
import type { PieceStore, StoredTask } from '../store/piece-store.ts';
import type { Announce, Check, Update } from '../wire/messages.ts';
import type { CellMember, TaskListener } from './cell-member.ts';
import { shapeOf } from './registrar.ts';
import type { Registration } from './registrar.ts';
import { Reporter } from './reporter.ts';
import { TaskPeer } from './task-peer.ts';
import { keyOf } from './transfer-pool.ts';
import type { TransferPool } from './transfer-pool.ts';

/** A claim on a task: while it is held, the task goes on and its content is not evicted. */
export interface TaskLease extends AsyncDisposable {
  readonly stored: StoredTask;
  /** Undefined when everything was here already. */
  readonly peer: TaskPeer | undefined;
  /** Settles when the content is complete, or cannot become so. */
  readonly finished: Promise<void>;
}

interface ActiveTask {
  readonly peer: TaskPeer;
  readonly finished: Promise<void>;
  holders: number;
}

export interface SwarmTasksOptions {
  readonly key: HostKey;
  readonly store: PieceStore;
  readonly pool: TransferPool;
  readonly member: CellMember | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly downloadLimiter: RateLimiter;
}

/** Tasks that download at a time; others wait in line. */
const MAX_ACTIVE = 64;
const MAX_WAITING = 10_000;
const TICKET_RENEWAL_MS = 7 * 60_000;
const MAX_REPORT_TASKS = 1_000;
const MAX_EARLY = 1_000;
const SYNC_MS = 1_000;

/** The tasks of this host: those that download, and those that are only served. */
export class SwarmTasks implements TaskListener, AsyncDisposable {
  readonly #options: SwarmTasksOptions;
  readonly #active = new Map<string, ActiveTask>();
  /** Tasks that the workers know, and the length they know of each. */
  readonly #served = new WeakMap<StoredTask, number | 'unknown'>();
  readonly #slots = new Limiter({ max: MAX_ACTIVE, maxWaiting: MAX_WAITING });
  readonly #reporter: Reporter;
  readonly #renewal: Timer;
  /** News of tasks that are being registered: it may come before the task has begun here. */
  readonly #expected = new Map<string, { holders: number; updates: Update[] }>();

  private constructor(options: SwarmTasksOptions) {
    this.#options = options;
    this.#reporter = new Reporter(options.clock, (tasks) => {
      for (let start = 0; start < tasks.length; start += MAX_REPORT_TASKS) {
        const part = tasks.slice(start, start + MAX_REPORT_TASKS);
        options.member?.client.send({ type: 'report', tasks: part });
      }
    });
    this.#renewal = options.clock.every(TICKET_RENEWAL_MS, () => this.#renewTickets());
  }

  /** Makes everything in the store known to the workers, so that it is served from the start. */
  static async open(options: SwarmTasksOptions): Promise<SwarmTasks> {
    const tasks = new SwarmTasks(options);
    for (const stored of options.store.tasks()) await tasks.#serve(stored);
    return tasks;
  }

  /** Downloads that are running. */
  get active(): number {
    return this.#active.size;
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

  /** Takes part in a version; the first to join starts it, the last to leave stops it. */
  async join(
    registration: Extract<Registration, { kind: 'swarm' }>,
    options: { signal: AbortSignal },
  ): Promise<TaskLease> {
    const { task, shape, spec } = registration;
    const stored = await this.#stored(registration);
    const inUse = stored.acquire();
    try {
      await stored.recover();
      if (stored.isComplete && (await this.#isIntact(stored))) {
        await registration.initial?.[Symbol.asyncDispose]();
        return leaseOfComplete(stored, inUse);
      }
      const key = keyOf(stored);
      const running = this.#active.get(key);
      const active = running ?? (await this.#begin(registration, stored, options.signal));
      active.holders += 1;
      if (running !== undefined) await registration.initial?.[Symbol.asyncDispose]();
      active.peer.allowRate(registration.limitRate);
      active.peer.addParents(registration.parents);
      active.peer.addManifest(registration.manifest, 'supernode');
      if (registration.ticket !== '') active.peer.setTicket(registration.ticket);
      if (registration.policy === 'alone') active.peer.goAlone();
      for (const update of this.#expected.get(task)?.updates.splice(0) ?? []) this.onUpdate(update);
      return {
        stored,
        peer: active.peer,
        finished: active.finished,
        [Symbol.asyncDispose]: async () => {
          inUse[Symbol.dispose]();
          await this.#leave(key, active);
        },
      };
    } catch (error) {
      inUse[Symbol.dispose]();
      throw error instanceof CodedError
        ? error
        : new CodedError(
            'ERR_INTERNAL',
            `cannot take part in ${task} of ${spec.url.slice(0, 80)}`,
            {
              cause: error,
              detail: { version: shape.version },
            },
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
    if (update.failed !== undefined) active.peer.fail(CodedError.fromObject(update.failed));
  }

  onCheck(check: Check): void {
    this.recheck(`${check.task}/${check.version}`);
  }

  /** Sends what there is to report now, not in a moment. */
  flush(): void {
    this.#reporter.flush();
  }

  /** Hashes a task again and withdraws what is not what the manifest says. */
  recheck(key: string): void {
    const { store, log } = this.#options;
    const [task = '', version = ''] = key.split('/');
    const stored = store.find(task, version);
    if (stored === undefined) return;
    this.#rehash(stored).catch((error: unknown) => {
      log.error({ err: error, task }, 'rehash failed');
    });
  }

  /** Removes a task from this host, unless it is in use. */
  async remove(stored: StoredTask): Promise<void> {
    await this.#options.pool.dropTask(stored);
    this.#served.delete(stored);
    try {
      await this.#options.store.remove(stored);
    } catch (error) {
      // In use after all: it stays, and is served on.
      await this.#serve(stored);
      throw error;
    }
    this.#reporter.state(stored, { gone: true, active: false });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#renewal.cancel();
    const stopping = new CodedError('ERR_INTERRUPTED', 'this program is stopping');
    for (const { peer } of this.#active.values()) peer.fail(stopping);
    await Promise.allSettled([...this.#active.values()].map(async ({ finished }) => finished));
    this.#reporter.flush();
  }

  async #stored(registration: Extract<Registration, { kind: 'swarm' }>): Promise<StoredTask> {
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
    await this.#serve(stored);
    return stored;
  }

  /** Makes the task known to the workers; what they know already is not read from the journal again. */
  async #serve(stored: StoredTask): Promise<void> {
    const { pool } = this.#options;
    if (this.#served.get(stored) === lengthOf(stored)) return;
    await pool.putTask(stored);
    pool.keepManifest(stored, stored.manifest(), true);
    this.#served.set(stored, lengthOf(stored));
  }

  /** False when the finished file is not what it was: what is wrong is dropped and fetched again. */
  async #isIntact(stored: StoredTask): Promise<boolean> {
    if (stored.checkUnchanged() === 'same') return true;
    await this.#rehash(stored);
    return stored.isComplete;
  }

  async #rehash(stored: StoredTask): Promise<void> {
    const { pool, log } = this.#options;
    const wrong = await stored.rehash();
    if (wrong.length > 0) {
      const facts = { task: stored.taskId, pieces: wrong.length };
      log.error(facts, 'stored pieces were altered on disk; they are withdrawn');
      pool.retract(stored, wrong);
      for (const piece of wrong) this.#reporter.lost(stored, piece);
    } else if (stored.isComplete) {
      await stored.complete();
    }
    await pool.putTask(stored);
  }

  async #begin(
    registration: Extract<Registration, { kind: 'swarm' }>,
    stored: StoredTask,
    signal: AbortSignal,
  ): Promise<ActiveTask> {
    const slot = await this.#slots.acquire({ signal });
    const key = keyOf(stored);
    const already = this.#active.get(key);
    if (already !== undefined) {
      slot[Symbol.dispose]();
      return already;
    }
    const peer = this.#peer(registration, stored);
    const finished = this.#run(peer).finally(() => {
      slot[Symbol.dispose]();
      this.#active.delete(key);
    });
    finished.catch(() => undefined);
    const active = { peer, finished, holders: 0 };
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
    }
  }

  #peer(registration: Extract<Registration, { kind: 'swarm' }>, stored: StoredTask): TaskPeer {
    const { member } = this.#options;
    const { shape, spec, ticket, policy, initial } = registration;
    return new TaskPeer(
      {
        ...this.#options,
        reporter: this.#reporter,
        verifySupernode: (signer) => {
          if (member === undefined) throw new CodedError('ERR_NOT_MEMBER', 'no cell is joined');
          member.verifySupernode(signer);
        },
        isSupervised: () => member?.client.isConnected === true,
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
        ticket,
        originPolicy: policy,
        ...(initial === undefined ? {} : { initial }),
      },
    );
  }

  async #leave(key: string, active: ActiveTask): Promise<void> {
    active.holders -= 1;
    if (active.holders > 0 || this.#active.get(key) !== active) return;
    active.peer.fail(new CodedError('ERR_INTERRUPTED', 'nobody waits for it any more'));
    await active.finished.catch(() => undefined);
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
    const active = this.#active.get(keyOf(stored));
    const batches = stored.manifest();
    const manifest = batches.filter((batch) => batch.startsWith('v1.manifest.'));
    // Only the cell's word is worth telling it of a task that nobody here waits for.
    if (manifest.length === 0 && active === undefined) return;
    const digest = stored.wholeDigest;
    const announce: Announce = {
      type: 'announce',
      task: stored.taskId,
      shape: active?.peer.shape ?? shapeOf(stored),
      holding: {
        version: stored.version,
        ...(stored.isComplete
          ? {}
          : { pieces: Buffer.from(stored.pieces.snapshot()).toString('base64') }),
      },
      manifest,
      provisional: batches.filter((batch) => batch.startsWith('v1.provisional.')),
      active: active !== undefined,
      ...(active === undefined ? {} : { spec: active.peer.spec }),
      ...(digest === undefined ? {} : { digest }),
    };
    log.debug({ task: stored.taskId, pieces: stored.pieces.count }, 'announced to the supernode');
    await member?.client.sendInTurn(announce);
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

/** The URL as it may be kept: without credentials and query, where secrets travel. */
function withoutSecrets(text: string): string {
  const url = new URL(text);
  url.username = '';
  url.password = '';
  url.search = '';
  url.hash = '';
  return url.href;
}

function lengthOf(stored: StoredTask): number | 'unknown' {
  return stored.length ?? 'unknown';
}
