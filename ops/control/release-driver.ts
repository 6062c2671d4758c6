import { abortable } from '../../core/base/clock.ts';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { Serial } from '../../core/store/serial.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditEntry } from './audit-record.ts';
import type { CallDesk } from './call-desk.ts';
import type { CallPlan } from './call-plan.ts';
import { digestOfTargets } from './call-record.ts';
import type { CallEvent, CallRequest, HostResult } from './call-record.ts';
import type { CallStore } from './call-store.ts';
import type { OwedTable } from './owed-table.ts';
import { principalOf } from './principal.ts';
import type { Principal } from './principal.ts';
import type { Principals } from './principals.ts';
import { callOf } from './release-call.ts';
import { advance } from './release-machine.ts';
import type { ReleaseEvent, ReleaseMove, StepCall } from './release-machine.ts';
import type { ReleaseRecord } from './release-record.ts';
import { failuresOf, isEnded } from './release-state.ts';
import type { ReleasePhase, ReleaseState } from './release-state.ts';
import type { ReleaseStore } from './release-store.ts';

/** After what could not be written: how long until it is tried again, at first and at most, ms. */
const RETRY_MS = { first: 1_000, most: 60_000 } as const;
const MAX_WHY_LENGTH = 300;

export interface ReleaseDriverParts {
  readonly store: ReleaseStore;
  readonly desk: CallDesk;
  readonly calls: CallStore;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly principals: Pick<Principals, 'isOpen'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborted when it is to stop where it is. */
  readonly signal: AbortSignal;
  readonly owed: Pick<OwedTable, 'endOf'>;
  /** Called when the release has ended, again when it throws. */
  readonly onEnd: (record: ReleaseRecord) => Promise<void>;
}

/** What there is to tell of a release as it goes. */
export type ReleaseNews =
  | { readonly type: 'state'; readonly state: ReleaseState }
  | {
      readonly type: 'host';
      readonly step: ReleaseState['step'];
      readonly batch: number;
      readonly event: Extract<CallEvent, { type: 'result' }>;
    };

/**
 * Leads one release to its end. Where it stands, what it does there, and the record of it are one commit, so that it can
 * be taken up at any point: calls that a commit made are waited for, and those that none made were never heard of.
 */
export class ReleaseDriver {
  readonly record: ReleaseRecord;
  /** Where it stands, as far as was heard. */
  phase: ReleasePhase = 'planned';
  readonly #parts: ReleaseDriverParts;
  readonly #serial = new Serial();
  readonly #watchers = new Set<(news: ReleaseNews) => void>();
  #running: Promise<void> | undefined;
  #isWoken = false;

  constructor(record: ReleaseRecord, parts: ReleaseDriverParts) {
    this.record = record;
    this.#parts = parts;
  }

  /** Goes on until it has ended, or waits for somebody. */
  wake(): void {
    this.#isWoken = true;
    this.#running ??= this.#run();
  }

  /** Somebody wished something, and the state with it is on the disk. */
  changed(state: ReleaseState): void {
    this.#tell({ type: 'state', state });
    this.wake();
  }

  /** Resolves when it does nothing any more. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Runs `work` while the release stands still. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#serial.run(work);
  }

  /** Everything that happens from now on. */
  watch(watcher: (news: ReleaseNews) => void): Disposable {
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }

  /** True when the key in whose name it goes on is locked. */
  isLocked({ by }: ReleaseState): boolean {
    return !this.#parts.principals.isOpen(principalOf(by));
  }

  async #run(): Promise<void> {
    const { clock, log, signal } = this.#parts;
    const { id } = this.record;
    let delayMs: number = RETRY_MS.first;
    while (this.#isWoken && !signal.aborted) {
      this.#isWoken = false;
      try {
        this.#isWoken = (await this.#step()) || this.#isWoken;
        delayMs = RETRY_MS.first;
      } catch (error) {
        if (signal.aborted) break;
        log.error({ release: id, err: error, ms: delayMs }, 'a release does not get on');
        this.#isWoken = true;
        await clock.sleep(delayMs, { signal }).catch(() => undefined);
        delayMs = Math.min(2 * delayMs, RETRY_MS.most);
      }
    }
    this.#running = undefined;
  }

  /** False when there is nothing to do before somebody wishes something. */
  async #step(): Promise<boolean> {
    const { state } = await this.#parts.store.state(this.record.id);
    this.phase = state.phase;
    if (isEnded(state)) {
      await this.#parts.onEnd(this.record);
      return false;
    }
    switch (state.phase) {
      case 'planned':
        await this.#take({ type: 'begin' });
        return true;
      case 'paused':
        if (state.wish === undefined) return false;
        await this.#take({ type: 'wished' });
        return true;
      default:
        await this.#take({ type: 'ended', results: await this.#resultsOf(state) });
        return true;
    }
  }

  async #take(event: ReleaseEvent): Promise<void> {
    await this.#serial.run(async () => {
      const { state, revision } = await this.#parts.store.state(this.record.id);
      const move = advance(this.record, state, event);
      try {
        await this.#commit(move, revision);
      } catch (error) {
        const { code, message } = CodedError.from(error);
        if (move.calls.length === 0 || !isHindrance(code)) throw error;
        const why = `${code}: ${message}`.slice(0, MAX_WHY_LENGTH).toWellFormed();
        await this.#commit(advance(this.record, move.state, { type: 'hindered', why }), revision);
      }
    });
  }

  /** Writes where it stands, with its calls, and then begins them. */
  async #commit(move: ReleaseMove, revision: number): Promise<void> {
    const { store, desk, audit, principals, clock, owed } = this.#parts;
    const principal = principalOf(move.state.by);
    const plans = move.calls.map((call) => this.#plan(call, principal));
    const calls = plans.map(({ record }) => record.id);
    const state = { ...move.state, calls, at: Math.round(clock.now()) };
    const moved = store.move(this.record, state, revision);
    const ending = isEnded(state) ? owed.endOf(this.record, state) : [];
    // Nothing may come between this look and the append: a lock that comes after it finds the calls.
    if (plans.length > 0 && !principals.isOpen(principal)) {
      throw new CodedError('ERR_UNAUTHORIZED', 'its key is locked');
    }
    await audit.append(entryOf(this.record, state, plans), {
      changes: [...moved.changes, ...ending, ...plans.flatMap(({ changes }) => changes)],
      expect: [...moved.expect, ...plans.flatMap(({ expect }) => expect)],
    });
    for (const { record } of plans) desk.begin(record);
    this.#tell({ type: 'state', state });
  }

  #plan({ word, command, args, peers }: StepCall, principal: Principal): CallPlan {
    const { batches, id } = this.record;
    const asked = new Set(peers);
    const hosts = batches.flat().filter(({ peer }) => asked.has(peer));
    const request: CallRequest = {
      ...callOf(this.record, command),
      args: [...args],
      on: `release=${id}`,
      idempotencyKey: word,
    };
    return this.#parts.desk.planFor(request, { principal, hosts });
  }

  async #resultsOf(state: ReleaseState): Promise<ReadonlyMap<string, HostResult>> {
    await Promise.all(state.calls.map(async (id) => this.#ended(id, state)));
    const results = new Map<string, HostResult>();
    for (const id of state.calls) {
      for await (const result of this.#parts.calls.results(id)) results.set(result.peer, result);
    }
    return results;
  }

  async #ended(id: string, { step, batch }: ReleaseState): Promise<void> {
    const call = await this.#parts.desk.takeUp(id);
    if (call === undefined) return;
    const over = Promise.withResolvers<void>();
    using _watch = call.watch((event) => {
      if (event.type === 'ended') over.resolve();
      if (event.type === 'result') this.#tell({ type: 'host', step, batch, event });
    });
    await abortable(over.promise, this.#parts.signal);
  }

  #tell(news: ReleaseNews): void {
    if (news.type === 'state') this.phase = news.state.phase;
    for (const watcher of this.#watchers) watcher(news);
  }
}

/** What will be no better in a moment: somebody has to look at it. */
function isHindrance(code: string): boolean {
  return ['ERR_UNAUTHORIZED', 'ERR_CONFLICT', 'ERR_REQUEST', 'ERR_KEY_FILE'].includes(code);
}

function entryOf(
  { id, application, version, batches }: ReleaseRecord,
  state: ReleaseState,
  plans: readonly CallPlan[],
): AuditEntry {
  const { by, phase, step, batch, pausedFor, rolledBackFor } = state;
  const calls = plans.map(({ record: { id: call, command, args, hosts } }) => ({
    call,
    command,
    version: args[1],
    hosts: hosts.length,
    hostsDigest: digestOfTargets(hosts),
  }));
  const where = { phase, step, batch, batches: batches.length, failures: failuresOf(state) };
  return {
    kind: 'release.step',
    principal: by.principal,
    source: 'release',
    decision: 'allowed',
    object: id,
    detail: { key: by.key, application, version, ...where, pausedFor, rolledBackFor, calls },
  };
}
