import { CodedError } from '../../core/base/error.ts';
import type { Random } from '../../core/base/random.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { Paged } from '../../core/base/paging.ts';
import type { CallTarget } from './call-record.ts';
import type { Door } from './door.ts';
import type { OwedTable } from './owed-table.ts';
import type { PackageTable } from './package-table.ts';
import type { Caller } from './principal.ts';
import { ReleaseDriver } from './release-driver.ts';
import type { ReleaseDriverParts } from './release-driver.ts';
import { wished } from './release-machine.ts';
import { planRelease } from './release-plan.ts';
import { releaseLimits } from './release-record.ts';
import type {
  ReleasePlan,
  ReleaseRecord,
  ReleaseRequest,
  ReleaseStart,
  ReleaseWish,
} from './release-record.ts';
import { stateAtStart } from './release-state.ts';
import type { ReleaseState } from './release-state.ts';
import { detailOf, owedView, summaryOf } from './release-view.ts';
import type { OwedView, ReleaseDetail, ReleaseSummary } from './release-view.ts';
import { RepairOrders } from './repair-orders.ts';
import { Repairs } from './repairs.ts';
import { newTimeId } from './time-id.ts';

export interface ReleasesParts extends Omit<ReleaseDriverParts, 'signal' | 'onEnd'> {
  readonly owed: OwedTable;
  readonly door: Door;
  readonly packages: Pick<PackageTable, 'find'>;
  readonly random: Random;
}

/** The releases of a cell: planned, started, led to their ends, and looked at. */
export class Releases implements AsyncDisposable {
  readonly repairs: Repairs;
  readonly orders: RepairOrders;
  /** Since the start, by how they ended. */
  readonly ended = new Map<string, number>();
  readonly #parts: ReleasesParts;
  readonly #drivers = new Map<string, ReleaseDriver>();
  readonly #closing = new AbortController();

  private constructor(parts: ReleasesParts) {
    this.#parts = parts;
    this.repairs = new Repairs({ ...parts, openReleases: () => this.#open() });
    this.orders = new RepairOrders({ ...parts, repairs: this.repairs });
  }

  /** Takes up what had not ended when the last run did. */
  static async open(parts: ReleasesParts): Promise<Releases> {
    const releases = new Releases(parts);
    for (const record of await parts.store.unended()) releases.#drive(record);
    releases.repairs.look();
    return releases;
  }

  /** What a release would do, to the hosts that are there now; what `start()` throws for a request. */
  async preview(request: ReleaseRequest, caller: Caller): Promise<ReleasePlan> {
    const { door, desk, packages } = this.#parts;
    const { application, version, on } = request;
    const object = { id: application, command: 'package.switch' };
    const asked = { verb: 'release.preview', caller, input: request, object } as const;
    const hosts = await door.lookUp(asked, () => desk.targets(on));
    if (hosts.length > releaseLimits.hosts) {
      const message = `on: a release goes to at most ${releaseLimits.hosts} hosts, not ${hosts.length}`;
      throw new CodedError('ERR_REQUEST', message, { detail: { path: 'on' } });
    }
    const found = await packages.find(application, version);
    if (found === undefined) {
      throw new CodedError('ERR_NOT_FOUND', `no package ${application} ${version} was published`);
    }
    return planRelease(request, { hosts, found });
  }

  /**
   * Starts a release, if what comes of it is what the caller has seen. ERR_CONFLICT when it is not, or when another
   * release of the application has not ended; ERR_NOT_FOUND for hosts or a package that there are not; ERR_REQUEST,
   * ERR_BUSY, and what the door refuses.
   */
  async start({ plan: seen, ...request }: ReleaseStart, caller: Caller): Promise<ReleaseSummary> {
    const planned = await this.preview(request, caller);
    if (planned.plan !== seen) {
      const message = 'plan: hosts or package are not what they were: preview the release again';
      throw new CodedError('ERR_CONFLICT', message, { detail: { path: 'plan' } });
    }
    const { application, version, batches, on, digest, plan, maxFailures, pause } = planned;
    const hosts = batches.flat();
    const args = [application, version, String(planned.healthTimeoutMs)];
    const about = { command: 'package.switch', args, hosts };
    const { door, store, clock, random, desk } = this.#parts;
    const { name: principal, key } = caller.principal;
    const created = Math.round(clock.now());
    const id = newTimeId(created, random);
    const input = { ...request, plan: seen };
    const asked = { verb: 'release.start', caller, input, object: { id, ...about } } as const;
    const { repairs } = this;
    // What a host is told for a former release must not come after what this one tells it.
    return repairs.alone(async () =>
      door.perform(asked, async () => {
        await this.#checkRoom(application);
        await this.#checkPackage(planned);
        const stopped = repairs.inTheWayOf(planned);
        const by = key === undefined ? { principal } : { principal, key };
        const record = { ...planned, id, ...by, created };
        const state = stateAtStart(record);
        const choices = { on: on.slice(0, 200), pause, maxFailures, plan };
        const { changes, expect } = store.begin(record, state);
        return {
          changes: [...changes, ...stopped.changes],
          expect,
          detail: { application, version, digest, hosts: hosts.length, ...choices },
          answer: () => {
            this.#drive(record);
            for (const call of stopped.calls) void desk.stop(call);
            void this.#began();
            return summaryOf(record, state);
          },
        };
      }),
    );
  }

  /** Wishes something of a release. ERR_NOT_FOUND, ERR_CONFLICT when that cannot be now, and what the door refuses. */
  async control(id: string, wish: ReleaseWish, caller: Caller): Promise<ReleaseSummary> {
    const { door, store, clock } = this.#parts;
    const asked = { verb: 'release.control', caller, input: { id, wish } } as const;
    const record = await door.lookUp({ ...asked, object: { id } }, async () => this.record(id));
    const { name: principal, key } = caller.principal;
    const by = key === undefined ? { principal } : { principal, key };
    const driver = this.#drivers.get(id) ?? this.#driverOf(record);
    const object = { id, command: 'package.switch', hosts: record.batches.flat() };
    return driver.alone(async () =>
      door.perform({ ...asked, object }, async () => {
        const { state, revision } = await store.state(id);
        const isLocked = driver.isLocked(state);
        const at = Math.round(clock.now());
        const next = { ...wished(state, wish, { by, isLocked }), at };
        const { application, version } = record;
        return {
          ...store.move(record, next, revision),
          detail: { wish, application, version, phase: state.phase },
          answer: () => {
            this.#drivers.set(id, driver);
            driver.changed(next);
            return summaryOf(record, next);
          },
        };
      }),
    );
  }

  /** The release of this id; undefined when there is none, or not any more. */
  async find(id: string): Promise<ReleaseRecord | undefined> {
    return this.#drivers.get(id)?.record ?? (await this.#parts.store.find(id));
  }

  /** The release of this id; ERR_NOT_FOUND. */
  async record(id: string): Promise<ReleaseRecord> {
    const record = await this.find(id);
    if (record !== undefined) return record;
    throw new CodedError('ERR_NOT_FOUND', 'there is no release of this id, or not any more');
  }

  /** Where it stands; ERR_STORE_IO when it cannot be read, or when there is no such release. */
  async state(id: string): Promise<ReleaseState> {
    return (await this.#parts.store.state(id)).state;
  }

  /** The release with all its hosts; ERR_NOT_FOUND. */
  async detail(id: string): Promise<ReleaseDetail> {
    const record = await this.record(id);
    const { owed, store } = this.#parts;
    const state = await this.state(id);
    const owedTo = (peer: string): OwedView | undefined => {
      const row = owed.find({ application: record.application, peer });
      return row?.release === id ? owedView(row, this.repairs.whyHeld(row)) : undefined;
    };
    const shown = detailOf(record, state, owedTo);
    const isNow = !['closed', 'rolled-back', 'rollback-failed'].includes(state.phase);
    if (!isNow || (await store.newestOf(record.application)) !== id) return shown;
    const late = this.#lateFor(record).map((host) => {
      const row = owedTo(host.peer);
      return row === undefined ? host : { ...host, owed: row };
    });
    return late.length === 0 ? shown : { ...shown, late };
  }

  /** Releases, the newest first. */
  async list(page: { before?: string; limit?: number }): Promise<Paged<ReleaseSummary>> {
    const { limit = pageLimits.default, before } = page;
    const about = before === undefined ? { limit } : { limit, before };
    const { store } = this.#parts;
    const records = await store.list(about);
    const items: ReleaseSummary[] = [];
    for (const record of records) items.push(summaryOf(record, await this.state(record.id)));
    const last = records.length === limit ? records.at(-1)?.id : undefined;
    return { items, ...(last === undefined ? {} : { next: last }) };
  }

  /** Who leads it, while it has not ended. */
  driver(id: string): ReleaseDriver | undefined {
    return this.#drivers.get(id);
  }

  /** How many have not ended, by where they stand. */
  standing(): Map<string, number> {
    return countsOf([...this.#drivers.values()].map(({ phase }) => phase));
  }

  /** How many hosts are owed something, or were and are mended, by how far that is. */
  owedHosts(): Map<string, number> {
    return countsOf([...this.#parts.owed.all()].map(({ stage }) => stage));
  }

  /** Stops leading; calls that were made go on, and are waited for by the next run. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new CodedError('ERR_INTERRUPTED', 'the supernode stops'));
    await this.repairs[Symbol.asyncDispose]();
    await Promise.all([...this.#drivers.values()].map(async (driver) => driver.idle()));
  }

  /** It may have been removed since it was looked for. */
  async #checkPackage({ application, version, digest }: ReleasePlan): Promise<void> {
    if ((await this.#parts.packages.find(application, version))?.digest === digest) return;
    throw new CodedError('ERR_NOT_FOUND', `${application} ${version} was removed just now`);
  }

  async #checkRoom(application: string): Promise<void> {
    const open = await this.#parts.store.openOf(application);
    if (open !== undefined) {
      const message = `release ${open} of ${application} has not ended`;
      throw new CodedError('ERR_CONFLICT', message, { detail: { release: open } });
    }
    if (this.#drivers.size >= releaseLimits.open) {
      throw new CodedError('ERR_BUSY', `${releaseLimits.open} releases have not ended`);
    }
  }

  #drive(record: ReleaseRecord): void {
    const driver = this.#driverOf(record);
    this.#drivers.set(record.id, driver);
    driver.wake();
  }

  #driverOf(record: ReleaseRecord): ReleaseDriver {
    return new ReleaseDriver(record, {
      ...this.#parts,
      signal: this.#closing.signal,
      onEnd: async (ended) => this.#ended(ended),
    });
  }

  /** Hosts that came after it was planned. */
  #lateFor({ on, batches }: ReleaseRecord): CallTarget[] {
    const part = new Set(batches.flat().map(({ peer }) => peer));
    try {
      return this.#parts.desk.targets(on).filter(({ peer }) => !part.has(peer));
    } catch {
      // None of those that it names is here.
      return [];
    }
  }

  *#open(): Generator<ReleaseRecord, void, undefined> {
    for (const { record } of this.#drivers.values()) yield record;
  }

  /** Nothing that was owed before holds for its hosts, so that must be known before they are told anything. */
  async #ended({ id, application }: ReleaseRecord): Promise<void> {
    const { owed } = this.#parts;
    await this.repairs.alone(async () => owed.reread(application));
    const phase = this.#drivers.get(id)?.phase;
    this.#drivers.delete(id);
    if (phase !== undefined) this.ended.set(phase, (this.ended.get(phase) ?? 0) + 1);
    this.repairs.look();
  }

  async #began(): Promise<void> {
    const { store, log } = this.#parts;
    try {
      await store.began();
    } catch (error) {
      log.error({ err: error }, 'old releases are not removed');
    }
  }
}

function countsOf(words: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}
