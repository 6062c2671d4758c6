import { abortable } from '../../core/base/clock.ts';
import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { Serial } from '../../core/store/serial.ts';
import type { StateChange } from '../../core/store/state-store.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditEntry } from './audit-record.ts';
import type { CallDesk } from './call-desk.ts';
import type { CallPlan } from './call-plan.ts';
import type { HostResult } from './call-record.ts';
import type { CallStore } from './call-store.ts';
import { heard, nextCommand, told } from './owed-host.ts';
import type { OwedHost } from './owed-host.ts';
import type { OwedTable } from './owed-table.ts';
import type { PackageTable } from './package-table.ts';
import { principalOf } from './principal.ts';
import type { Principals } from './principals.ts';
import { callOf, switchArguments } from './release-call.ts';
import type { ReleaseCommand } from './release-call.ts';
import type { ReleaseRecord } from './release-record.ts';
import type { ReleaseStore } from './release-store.ts';

/** How often it is looked who is back. */
const LOOK_MS = 2_000;
/** Hosts that are brought back at one time. */
const TOGETHER = 10;
/** Who is here may be busy for so long. */
const WAIT_MS = 30_000;
/** After what could not be written. */
const RETRY_MS = 10_000;

export interface RepairsParts {
  readonly owed: OwedTable;
  readonly store: Pick<ReleaseStore, 'find'>;
  readonly desk: CallDesk;
  readonly calls: CallStore;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly principals: Pick<Principals, 'isOpen'>;
  readonly packages: Pick<PackageTable, 'find'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Releases that have not ended. */
  readonly openReleases: () => Iterable<ReleaseRecord>;
}

/**
 * Brings hosts that were away when a release ended to what it decided for them, once they are here. What a host is told,
 * the record of it and the call are one commit. A host is told one thing at a time, and nothing of an application while
 * a release of it that names the host has not ended.
 */
export class Repairs implements AsyncDisposable {
  readonly #parts: RepairsParts;
  readonly #serial = new Serial();
  /** By peer id. */
  readonly #busy = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();
  readonly #timer: Timer;
  /** Of releases that have not ended. */
  readonly #peers = new WeakMap<ReleaseRecord, ReadonlySet<string>>();

  constructor(parts: RepairsParts) {
    this.#parts = parts;
    this.#timer = parts.clock.every(LOOK_MS, () => this.look());
  }

  /** Runs `work` while nobody is told anything new. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#serial.run(work);
  }

  /** Begins what there is to do. */
  look(): void {
    if (this.#closing.signal.aborted) return;
    const now = this.#parts.clock.now();
    for (const owed of this.#parts.owed.open()) {
      if (this.#busy.size >= TOGETHER) return;
      if (this.#busy.has(owed.peer)) continue;
      const isDue = owed.notBefore <= now && this.whyHeld(owed) === undefined;
      if (owed.call === undefined && !isDue) continue;
      const working = this.#work(owed).finally(() => void this.#busy.delete(owed.peer));
      this.#busy.set(owed.peer, working);
    }
  }

  /** Why nothing is done for now, though it is time; undefined: it is. */
  whyHeld(owed: OwedHost): string | undefined {
    const { desk, principals } = this.#parts;
    if (!desk.isHere(owed.peer)) return 'the host is away';
    if (!principals.isOpen(principalOf(owed.by))) return 'the key is locked';
    const release = this.#openWith(owed);
    return release === undefined ? undefined : `release ${release.id} has not ended`;
  }

  /** The calls under way that a release of these hosts takes the place of, and what stops them. */
  inTheWayOf({ application, batches }: Pick<ReleaseRecord, 'application' | 'batches'>): {
    readonly calls: readonly string[];
    readonly changes: readonly StateChange[];
  } {
    const { owed, desk } = this.#parts;
    const peers = batches.flat().map(({ peer }) => peer);
    const calls = peers.flatMap((peer) => owed.find({ application, peer })?.call ?? []);
    const active = calls.filter((id) => desk.find(id) !== undefined);
    return { calls: active, changes: active.flatMap((id) => desk.planStop(id)) };
  }

  /** Stops; calls that were made go on, and are waited for by the next run. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel();
    this.#closing.abort(new CodedError('ERR_INTERRUPTED', 'the supernode stops'));
    await Promise.all(this.#busy.values());
  }

  /** Until the host has come to it, or there is nothing to do for now. */
  async #work({ application, peer }: OwedHost): Promise<void> {
    const { owed: table, log, clock } = this.#parts;
    const { signal } = this.#closing;
    try {
      for (;;) {
        signal.throwIfAborted();
        const owed = table.find({ application, peer });
        if (owed === undefined || !(await this.#step(owed))) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const { code, message: reason } = CodedError.from(error);
      log.error({ application, peer, code, reason }, 'a host is not repaired');
      await this.#reread({ application, peer }, clock.now() + RETRY_MS);
    }
  }

  /** False when there is nothing to do for now. */
  async #step(owed: OwedHost): Promise<boolean> {
    const { call } = owed;
    if (call === undefined) return this.#serial.run(async () => this.#tell(owed));
    const result = await this.#resultOf(call, owed.peer);
    await this.#serial.run(async () => this.#hear(owed, result));
    return true;
  }

  async #tell(seen: OwedHost): Promise<boolean> {
    const { owed: table, store, clock, desk } = this.#parts;
    const owed = table.find(seen);
    const record = owed === undefined ? undefined : await store.find(owed.release);
    if (owed === undefined || owed.call !== undefined) return owed !== undefined;
    // What a release is not known of any more was decided too long ago.
    if (record === undefined) return this.#leave(owed, 'the release is not known any more');
    const command = nextCommand(owed);
    const now = Math.round(clock.now());
    if (command === undefined || owed.notBefore > now || this.whyHeld(owed) !== undefined) {
      return false;
    }
    const args = await this.#argumentsOf(record, owed, command);
    if (args === undefined) return this.#leave(owed, 'that version is not published any more');
    const plan = this.#plan(record, owed, { command, args });
    const next = told(owed, { command, call: plan.record.id, at: now });
    await this.#commit(next, plan);
    desk.begin(plan.record);
    return true;
  }

  async #hear(seen: OwedHost, result: HostResult | undefined): Promise<void> {
    const owed = this.#parts.owed.find(seen);
    // A release that has ended meanwhile has another word for it.
    if (owed === undefined || owed.call !== seen.call) return;
    await this.#commit(heard(owed, result, Math.round(this.#parts.clock.now())));
  }

  async #leave(owed: OwedHost, why: string): Promise<boolean> {
    const at = Math.round(this.#parts.clock.now());
    await this.#commit({ ...owed, stage: 'left', why, at });
    return false;
  }

  async #commit(owed: OwedHost, plan?: CallPlan): Promise<void> {
    const { audit, owed: table, principals } = this.#parts;
    // Nothing may come between this look and the append: a lock that comes after it finds the call.
    if (plan !== undefined && !principals.isOpen(principalOf(owed.by))) {
      throw new CodedError('ERR_UNAUTHORIZED', 'its key is locked');
    }
    await audit.append(entryOf(owed, plan), {
      changes: [table.put(owed), ...(plan?.changes ?? [])],
      expect: plan?.expect ?? [],
    });
    table.keep(owed);
  }

  #plan(
    record: ReleaseRecord,
    { by, peer, hostname, idc }: OwedHost,
    { command, args }: { readonly command: ReleaseCommand; readonly args: string[] },
  ): CallPlan {
    const host = { peer, ...(hostname && { hostname }), ...(idc && { idc }) };
    const how = callOf(record, command);
    const request = { ...how, args, on: `release=${record.id}`, waitMs: WAIT_MS };
    return this.#parts.desk.planFor(request, { principal: principalOf(by), hosts: [host] });
  }

  async #argumentsOf(
    record: ReleaseRecord,
    { application, should }: OwedHost,
    command: ReleaseCommand,
  ): Promise<string[] | undefined> {
    if (command === 'package.switch' || should === null) return switchArguments(record, should);
    if (should === record.version) return [application, should, record.url, record.digest];
    const found = await this.#parts.packages.find(application, should);
    return found === undefined ? undefined : [application, should, found.url, found.digest];
  }

  async #resultOf(id: string, peer: string): Promise<HostResult | undefined> {
    const { desk, calls } = this.#parts;
    const call = await desk.takeUp(id);
    if (call !== undefined) {
      const over = Promise.withResolvers<void>();
      using _watch = call.watch(({ type }) => {
        if (type === 'ended') over.resolve();
      });
      await abortable(over.promise, this.#closing.signal);
    }
    return calls.result(id, peer);
  }

  #openWith({ application, peer }: OwedHost): ReleaseRecord | undefined {
    for (const record of this.#parts.openReleases()) {
      if (record.application !== application) continue;
      const peers =
        this.#peers.get(record) ?? new Set(record.batches.flat().map((host) => host.peer));
      this.#peers.set(record, peers);
      if (peers.has(peer)) return record;
    }
    return undefined;
  }

  /** Nobody knows what is on the disk; nothing is tried before that time. */
  async #reread(seen: Pick<OwedHost, 'application' | 'peer'>, notBefore: number): Promise<void> {
    const { owed: table, log } = this.#parts;
    try {
      await table.reread(seen.application);
    } catch (error) {
      log.error({ err: error, ...seen }, 'what is owed to a host cannot be read');
    }
    const owed = table.find(seen);
    if (owed !== undefined) table.keep({ ...owed, notBefore: Math.max(owed.notBefore, notBefore) });
  }
}

function entryOf(owed: OwedHost, plan: CallPlan | undefined): AuditEntry {
  const { application, release, peer, hostname, should, has, stage, tries, by, why } = owed;
  const { key } = by;
  const call = plan?.record;
  return {
    kind: 'release.repair',
    principal: by.principal,
    source: 'release',
    decision: 'allowed',
    object: release,
    detail: {
      ...(key === undefined ? {} : { key }),
      application,
      host: peer,
      ...(hostname === undefined ? {} : { hostname }),
      should: should ?? 'none',
      ...(has === undefined ? {} : { has: has ?? 'none' }),
      stage,
      tries,
      ...(call === undefined ? { why } : { call: call.id, command: call.command }),
    },
  };
}
