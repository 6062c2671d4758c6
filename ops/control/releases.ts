import { CodedError } from '../../core/base/error.ts';
import type { Random } from '../../core/base/random.ts';
import { pageLimits } from '../../core/base/paging.ts';
import type { Paged } from '../../core/base/paging.ts';
import type { Door } from './door.ts';
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
import { detailOf, summaryOf } from './release-view.ts';
import type { ReleaseDetail, ReleaseSummary } from './release-view.ts';
import { newTimeId } from './time-id.ts';

export interface ReleasesParts extends Omit<ReleaseDriverParts, 'signal' | 'onEnd'> {
  readonly door: Door;
  readonly packages: Pick<PackageTable, 'find'>;
  readonly random: Random;
}

/** The releases of a cell: planned, started, led to their ends, and looked at. */
export class Releases implements AsyncDisposable {
  readonly #parts: ReleasesParts;
  readonly #drivers = new Map<string, ReleaseDriver>();
  readonly #closing = new AbortController();

  private constructor(parts: ReleasesParts) {
    this.#parts = parts;
  }

  /** Takes up what had not ended when the last run did. */
  static async open(parts: ReleasesParts): Promise<Releases> {
    const releases = new Releases(parts);
    for (const record of await parts.store.unended()) releases.#drive(record);
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
    const { door, store, clock, random } = this.#parts;
    const { name: principal, key } = caller.principal;
    const created = Math.round(clock.now());
    const id = newTimeId(created, random);
    return door.perform(
      {
        verb: 'release.start',
        caller,
        input: { ...request, plan: seen },
        object: { id, ...about },
      },
      async () => {
        await this.#checkRoom(application);
        const by = key === undefined ? { principal } : { principal, key };
        const record = { ...planned, id, ...by, created };
        const state = stateAtStart(record);
        const choices = { on: on.slice(0, 200), pause, maxFailures, plan };
        return {
          ...store.begin(record, state),
          detail: { application, version, digest, hosts: hosts.length, ...choices },
          answer: () => {
            this.#drive(record);
            void this.#began();
            return summaryOf(record, state);
          },
        };
      },
    );
  }

  /** Wishes something of a release. ERR_NOT_FOUND, ERR_CONFLICT when that cannot be now, and what the door refuses. */
  async control(id: string, wish: ReleaseWish, caller: Caller): Promise<ReleaseSummary> {
    const record = await this.record(id);
    const { door, store, clock } = this.#parts;
    const { name: principal, key } = caller.principal;
    const by = key === undefined ? { principal } : { principal, key };
    const driver = this.#drivers.get(id) ?? this.#driverOf(record);
    const object = { id, command: 'package.switch', hosts: record.batches.flat() };
    return driver.alone(async () =>
      door.perform({ verb: 'release.control', caller, input: { id, wish }, object }, async () => {
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

  /** The release of this id; ERR_NOT_FOUND when there is none, or not any more. */
  async record(id: string): Promise<ReleaseRecord> {
    const record = this.#drivers.get(id)?.record ?? (await this.#parts.store.find(id));
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
    return detailOf(record, await this.state(id));
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

  /** Stops leading; calls that were made go on, and are waited for by the next run. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new CodedError('ERR_INTERRUPTED', 'the supernode stops'));
    await Promise.all([...this.#drivers.values()].map(async (driver) => driver.idle()));
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
      onEnd: (id) => void this.#drivers.delete(id),
    });
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
