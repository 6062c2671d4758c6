import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { messagesOf } from '../../core/swarm/announcement.ts';
import { CellMember } from '../../core/swarm/cell-member.ts';
import type { TaskListener } from '../../core/swarm/cell-member.ts';
import { Reporter } from '../../core/swarm/reporter.ts';
import type { Update } from '../../core/wire/messages.ts';
import { CrowdTask } from './crowd-task.ts';
import type { BatchReader } from './crowd-task.ts';
import { LightAgent } from './light-agent.ts';
import type { CrowdTraffic, Returned } from './crowd-messages.ts';

/** What the hosts of a process share. */
export interface CrowdHostParts {
  readonly supernode: string;
  readonly joinToken: string;
  /** A port that takes connections: the supernode looks whether the host can be reached. */
  readonly linkPort: number;
  readonly reader: BatchReader;
  readonly clock: Clock;
  readonly random: Random;
  /** True: it answers calls. */
  readonly takesCalls?: boolean;
}

/** What a light host says of itself, whatever it runs on. */
const VALUES = { load1: 0.5, memoryAvailableBytes: 4_294_967_296, calls: 0, tasks: 0 };
const CONNECT_MS = 60_000;
const SYNC_MS = 30_000;
const MAX_EARLY = 100;
/** Pieces that come from the seed, of all: it sends each of them to few. */
const SEED_SHARE = 0.01;

/**
 * A host without a data plane: it joins, keeps its connection, registers, announces and reports with the parts that
 * every host has, and comes to have pieces as time goes by.
 */
export class CrowdHost implements TaskListener, AsyncDisposable {
  readonly #member: CellMember;
  readonly #parts: CrowdHostParts;
  readonly #reporter: Reporter;
  readonly #tasks = new Map<string, CrowdTask>();
  /** News of tasks that are being registered. */
  #early: Update[] = [];
  #returned: number | undefined;
  #agent: LightAgent | undefined;

  private constructor(member: CellMember, parts: CrowdHostParts) {
    this.#member = member;
    this.#parts = parts;
    this.#reporter = new Reporter(parts.clock, (tasks) =>
      this.#member.client.send({ type: 'report', tasks }),
    );
  }

  /** Joins and resolves when it is connected. */
  static async open(dataDir: string, parts: CrowdHostParts): Promise<CrowdHost> {
    const { supernode, joinToken, linkPort, clock, random } = parts;
    const member = await CellMember.open(
      { dataDir, supernodes: [supernode], joinToken },
      {
        key: HostKey.generate(),
        pool: { linkPort, setTrust: async () => undefined },
        clock,
        random,
        log: silentLog,
      },
    );
    const host = new CrowdHost(member, parts);
    if (parts.takesCalls === true) {
      host.#agent = new LightAgent(member.callWay());
      member.takeCalls(host.#agent);
      member.tellValues(async () => VALUES);
    }
    member.start(host);
    await host.#connected();
    return host;
  }

  get peerId(): string {
    return this.#member.peerId;
  }

  /** Calls that it ran, and those that it was given twice. */
  get calls(): { readonly ran: number; readonly doubled: number } {
    return this.#agent?.counts ?? { ran: 0, doubled: 0 };
  }

  get active(): number {
    return this.#tasks.values().reduce((sum, { isComplete }) => sum + (isComplete ? 0 : 1), 0);
  }

  get traffic(): CrowdTraffic {
    const nothing = { sentMessages: 0, sentBytes: 0, receivedMessages: 0, receivedBytes: 0 };
    return this.#member.client.traffic ?? nothing;
  }

  /** The part in the task of this URL, if it takes it. */
  task(url: string): CrowdTask | undefined {
    return this.#tasks.get(taskIdOf({ url }));
  }

  /** Registers and begins to have pieces; milliseconds until the answer. */
  async take(url: string, piecesPerSecond: number): Promise<number> {
    const { clock, reader } = this.#parts;
    const spec = { url };
    const startMs = clock.monotonic();
    const { signal } = new AbortController();
    const registered = await this.#member.client.register(
      { task: taskIdOf(spec), spec },
      { signal },
    );
    const ms = clock.monotonic() - startMs;
    const task = new CrowdTask(registered, { spec, reader, piecesPerSecond });
    this.#tasks.set(task.taskId, task);
    const early = this.#early.filter((update) => update.task === task.taskId);
    this.#early = this.#early.filter((update) => update.task !== task.taskId);
    for (const update of early) this.onUpdate(update);
    return ms;
  }

  /** Registers, and leaves at once; the parents that it was told of. */
  async ask(url: string): Promise<string[]> {
    const { client } = this.#member;
    const spec = { url };
    const { signal } = new AbortController();
    const { task, shape, parents } = await client.register(
      { task: taskIdOf(spec), spec },
      { signal },
    );
    this.#reporter.state({ taskId: task, version: shape.version }, { active: false, gone: true });
    this.#reporter.flush();
    return parents.map(({ peer }) => peer);
  }

  /** Says that a parent gave nothing. */
  blame(url: string, parent: string): void {
    const task = this.task(url);
    if (task === undefined) throw new TypeError(`${url} is not taken here`);
    this.#reporter.failure(task, { parent, piece: 0, code: 'ERR_LINK' });
    this.#reporter.flush();
  }

  /** What came in the last `ms`. */
  advance(ms: number): void {
    for (const task of this.#tasks.values()) {
      if (task.isComplete) continue;
      const { random } = this.#parts;
      for (const piece of task.advance(ms, random)) {
        this.#reporter.had(task, piece, { isFirst: random.next() < SEED_SHARE });
      }
      if (!task.isComplete) continue;
      this.#reporter.state(task, { complete: true, active: false });
      this.#reporter.flush();
    }
  }

  /** When the supernode had taken in everything after the last connection, if that was after `sinceMs`. */
  returned(sinceMs: number): Returned {
    const isBack = this.#returned !== undefined && this.#returned > sinceMs;
    return { atMs: isBack ? this.#returned : undefined, isRunning: this.active > 0 };
  }

  onConnected(): void {
    this.#announce().catch(() => undefined);
  }

  onUpdate(update: Update): void {
    const task = this.#tasks.get(update.task);
    if (task !== undefined) task.take(update);
    else if (this.#early.length < MAX_EARLY) this.#early.push(update);
  }

  onCheck(): void {
    // There is nothing to hash.
  }

  onUnwanted(): void {
    // Registrations are waited for.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#member[Symbol.asyncDispose]();
  }

  /** As a real host does after a connection: what it downloads first. */
  async #announce(): Promise<void> {
    const { client } = this.#member;
    const { clock } = this.#parts;
    const tasks = [...this.#tasks.values()].toSorted(
      (a, b) => Number(a.isComplete) - Number(b.isComplete),
    );
    for (const task of tasks) {
      const { taskId, shape, holding, spec, isComplete } = task;
      const running = isComplete
        ? { active: false }
        : { active: true, spec, parents: [...task.parents].slice(0, 64) };
      for (const manifest of messagesOf(task.manifest)) {
        await client.sendInTurn({
          type: 'announce',
          task: taskId,
          shape,
          holding,
          manifest,
          ...running,
        });
      }
    }
    using deadline = clock.deadline(SYNC_MS);
    await client.sync(deadline);
    this.#returned = clock.now();
  }

  async #connected(): Promise<void> {
    const { clock } = this.#parts;
    const { client } = this.#member;
    using deadline = clock.deadline(CONNECT_MS);
    while (!(await client.whenConnected(1_000, deadline))) {
      if (deadline.signal.aborted) throw client.lastError ?? new CodedError('ERR_TIMEOUT', 'late');
      await clock.sleep(50, deadline);
    }
  }
}
