import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { Random } from '../../core/base/random.ts';
import { callOutcomes, issueCallOrder, openCallResult } from '../../core/identity/call-order.ts';
import type { CallOutcome, CallResult } from '../../core/identity/call-order.ts';
import { Serial } from '../../core/store/serial.ts';
import type { StateChange } from '../../core/store/state-store.ts';
import type { CallOutput, CallStates } from '../../core/wire/messages.ts';
import { ActiveCall } from './active-call.ts';
import type { OutputRoom } from './active-call.ts';
import type { CallHost, CallListener } from './call-host.ts';
import { checkCall, orderOf, recordOf } from './call-plan.ts';
import type { CallPlan } from './call-plan.ts';
import type { CallRecord, CallRequest, CallTarget, HostResult } from './call-record.ts';
import type { CallStore } from './call-store.ts';
import type { ControlKey } from './control-key.ts';
import type { Principal } from './principal.ts';
import { HostLanes } from './host-lanes.ts';
import { selectHosts } from './host-selector.ts';
import type { HostTable } from './host-table.ts';
import { newTimeId } from './time-id.ts';

/** Calls that have not ended; past it ERR_BUSY. */
const MAX_ACTIVE = 20_000;
/** Output of calls that have not ended. */
const MAX_HELD_BYTES = 128 * 1024 * 1024;
/** Orders signed at a stretch: about 10 ms. */
const TOGETHER = 100;
/** After the last moment at which a call can end on a host that tells of it. */
const GRACE_MS = 30_000;

export interface CallDeskParts {
  readonly store: CallStore;
  readonly control: ControlKey;
  /** What is known of hosts besides that they are connected. */
  readonly hosts: HostTable;
  /** Of the cell map whose revocations are in force. */
  readonly epoch: () => number | undefined;
  /** Cell id. */
  readonly cell: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Told of every result by which a host says that it would not. */
  readonly onRefused?: (result: CallResult) => void;
}

/** Passes calls to hosts, a few at a time, hears what becomes of them, and keeps it. */
export class CallDesk implements CallListener, AsyncDisposable {
  readonly #parts: CallDeskParts;
  readonly #hosts = new Map<string, CallHost>();
  readonly #lanes = new Map<string, HostLanes>();
  readonly #active = new Map<string, ActiveCall>();
  readonly #deadlines = new Map<string, Timer>();
  readonly #room: OutputRoom = { left: MAX_HELD_BYTES };
  /** Ends of calls on hosts since the start, by outcome. */
  readonly outcomes = new Map<CallOutcome, number>(callOutcomes.map((outcome) => [outcome, 0]));
  /** Results of one host are kept in the order in which it tells them. */
  readonly #keeping = new Map<string, Serial>();

  private constructor(parts: CallDeskParts) {
    this.#parts = parts;
  }

  /** Takes up what had not ended when the last run did. */
  static async open(parts: CallDeskParts): Promise<CallDesk> {
    const desk = new CallDesk(parts);
    for (const { record, isStopped } of await parts.store.unended()) {
      await desk.#resume(record, { isStopped });
    }
    return desk;
  }

  /** Calls that have not ended. */
  get active(): number {
    return this.#active.size;
  }

  /** Those that have not ended. */
  calls(): readonly ActiveCall[] {
    return [...this.#active.values()];
  }

  find(id: string): ActiveCall | undefined {
    return this.#active.get(id);
  }

  /** True while a host is connected and takes calls. */
  isHere(peer: string): boolean {
    return this.#lanes.has(peer);
  }

  /** The hosts that a selector means now, by peer id; ERR_REQUEST, ERR_NOT_FOUND. */
  targets(on: string): CallTarget[] {
    return this.#select(on).map(targetOf);
  }

  /** The call as it would be, with the hosts it is for; ERR_REQUEST, ERR_NOT_FOUND, ERR_BUSY or ERR_KEY_FILE. */
  plan(request: CallRequest, principal: Principal): CallPlan {
    return this.planFor(request, { principal, hosts: this.targets(request.on) });
  }

  /** The same for hosts that were chosen before, and may be away; `on` is what is shown. */
  planFor(
    request: CallRequest,
    { principal, hosts }: { readonly principal: Principal; readonly hosts: readonly CallTarget[] },
  ): CallPlan {
    const { control, clock, store, random, cell } = this.#parts;
    if (this.#active.size >= MAX_ACTIVE) {
      throw new CodedError('ERR_BUSY', `${MAX_ACTIVE} calls have not ended`);
    }
    // Without it no host would believe the order.
    void control.certificate;
    const created = Math.round(clock.now());
    const id = newTimeId(created, random);
    const record = recordOf(request, { id, principal, hosts, created });
    // What hosts would refuse is refused here, before anything is kept.
    checkCall(record, { key: control.key, cell });
    return { record, ...store.begin(record, request.idempotencyKey) };
  }

  /** Sends a call whose plan is on the disk. */
  begin(record: CallRecord): ActiveCall {
    const call = new ActiveCall(record, this.#room);
    this.#activate(call);
    return call;
  }

  /**
   * A call that has not ended, also one of which it was not known whether it is on the disk. Undefined: it has ended, or
   * there is none.
   */
  async takeUp(id: string): Promise<ActiveCall | undefined> {
    const { store } = this.#parts;
    const record = this.#active.has(id) ? undefined : await store.find(id);
    if (record !== undefined && (await store.end(id)) === undefined) {
      await this.#resume(record, { isStopped: false });
    }
    return this.#active.get(id);
  }

  /** What `stop()` changes before it has an effect. */
  planStop(id: string): readonly StateChange[] {
    return this.#parts.store.stop(id);
  }

  /** Ends a call: nobody begins it any more, and who runs it stops. */
  async stop(id: string): Promise<void> {
    const call = this.#active.get(id);
    if (call === undefined || call.isStopped) return;
    call.isStopped = true;
    const unsent = call.unfinished().filter((peer) => !call.maybeBegan(peer));
    for (const peer of unsent) this.#lanes.get(peer)?.drop(id);
    await this.#silence(call, unsent, {
      outcome: 'failed',
      code: 'ERR_INTERRUPTED',
      message: 'the call was stopped before this host had it',
    });
    for (const peer of call.unfinished()) {
      this.#hosts.get(peer)?.call({ type: 'call-stop', calls: [id] });
    }
  }

  connected(host: CallHost): void {
    this.#hosts.set(host.peer, host);
    if (!host.takesCalls) return;
    const lanes = new HostLanes((id) => this.#send(host, id));
    this.#lanes.set(host.peer, lanes);
    for (const call of this.#active.values()) {
      if (!call.awaits(host.peer)) continue;
      if (call.isStopped) host.call({ type: 'call-stop', calls: [call.id] });
      else lanes.add(call.record.lane, call.id);
    }
  }

  disconnected(host: CallHost): void {
    if (this.#hosts.get(host.peer) !== host) return;
    this.#hosts.delete(host.peer);
    this.#lanes.delete(host.peer);
    this.#keeping.delete(host.peer);
  }

  wrote(host: CallHost, output: CallOutput): void {
    this.#active.get(output.call)?.wrote(host.peer, output);
  }

  told(host: CallHost, { running, ended }: CallStates): void {
    for (const id of running) {
      const call = this.#active.get(id);
      if (call === undefined) continue;
      call.began(host.peer);
      if (call.isStopped) host.call({ type: 'call-stop', calls: [id] });
    }
    if (ended.length === 0) return;
    const results = ended.flatMap((envelope) => this.#resultIn(host, envelope));
    const keeping = this.#keeping.get(host.peer) ?? new Serial();
    this.#keeping.set(host.peer, keeping);
    keeping
      .run(async () => this.#keep(host, results))
      .catch((error: unknown) => {
        // The host tells it again.
        const { code, message: reason } = CodedError.from(error);
        this.#parts.log.error({ peer: host.peer, code, reason }, 'results of calls are not kept');
      });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#deadlines.values()) timer.cancel();
    this.#deadlines.clear();
    await Promise.allSettled([...this.#keeping.values()].map(async (serial) => serial.idle()));
  }

  /** It may have reached any of its hosts. */
  async #resume(record: CallRecord, { isStopped }: { readonly isStopped: boolean }): Promise<void> {
    const call = new ActiveCall(record, this.#room);
    call.isStopped = isStopped;
    for (const { peer } of record.hosts) call.sent(peer);
    for await (const result of this.#parts.store.results(record.id)) call.over(result);
    this.#activate(call);
  }

  #activate(call: ActiveCall): void {
    const { clock } = this.#parts;
    this.#active.set(call.id, call);
    const { goodUntil } = call.record;
    const restMs = Math.max(0, goodUntil - clock.now());
    this.#deadlines.set(
      call.id,
      clock.after(restMs, () => void this.#expire(call), { ref: false }),
    );
    void this.#giveOut(call);
    void this.#endIfOver(call);
  }

  #select(on: string): CallHost[] {
    const inventory = this.#parts.hosts;
    return selectHosts(on, {
      hosts: this.#hosts,
      inventory,
      isOffered: ({ peer, takesCalls }) => takesCalls && !inventory.isRetired(peer),
      none: 'no connected host takes calls',
    });
  }

  /** To many hosts a part at a time: each order is signed, and everything else of this program waits meanwhile. */
  async #giveOut(call: ActiveCall): Promise<void> {
    for (const [at, peer] of call.unfinished().entries()) {
      if (at > 0 && at % TOGETHER === 0) await new Promise((resolve) => setImmediate(resolve));
      this.#lanes.get(peer)?.add(call.record.lane, call.id);
    }
  }

  /** Its turn has come; false when there is nothing to send. */
  #send(host: CallHost, id: string): boolean {
    const call = this.#active.get(id);
    if (call === undefined || call.isStopped || !call.awaits(host.peer)) return false;
    const { control, clock, cell, epoch } = this.#parts;
    const now = Math.round(clock.now());
    if (now >= call.record.goodUntil) return false;
    try {
      const about = { cell, host: host.peer, hosts: call.hostsDigest, now, epoch: epoch() };
      const order = issueCallOrder(control.key, orderOf(call.record, about));
      host.call({ type: 'call', order, certificate: control.certificate });
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      this.#parts.log.error({ call: id, peer: host.peer, code, reason }, 'call not sent');
      return false;
    }
    call.sent(host.peer);
    return true;
  }

  /** What a host says, if it may say it. */
  #resultIn(host: CallHost, envelope: string): { result: CallResult; signed: string }[] {
    try {
      const result = openCallResult(envelope);
      if (result.host === host.peer) return [{ result, signed: envelope }];
      throw new CodedError('ERR_SIGNATURE', 'the result is of another host');
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      this.#parts.log.warn({ peer: host.peer, code, reason }, 'result of a call refused');
      return [];
    }
  }

  async #keep(
    host: CallHost,
    results: readonly { readonly result: CallResult; readonly signed: string }[],
  ): Promise<void> {
    const { store } = this.#parts;
    const kept: { id: string; result: HostResult }[] = [];
    for (const { result, signed } of results) {
      if (result.outcome === 'refused') this.#parts.onRefused?.(result);
      const id = result.call;
      const call = this.#active.get(id);
      const kind =
        call?.awaits(host.peer) === true
          ? call.resultOf(result, signed)
          : await this.#lateResult(result, signed);
      if (kind !== undefined) kept.push({ id, result: kind });
    }
    if (kept.length > 0) await store.keep(kept);
    for (const { id, result } of kept) this.#over(this.#active.get(id), result);
    const calls = results.map(({ result }) => result.call);
    host.call({ type: 'calls-heard', calls });
    for (const id of calls) this.#lanes.get(host.peer)?.done(id);
  }

  /** A host that was given up tells after all: that is what holds. */
  async #lateResult(result: CallResult, signed: string): Promise<HostResult | undefined> {
    const { store } = this.#parts;
    const { call, host } = result;
    const known = await store.result(call, host);
    if (known?.outcome !== 'unknown') return undefined;
    const record = await store.find(call);
    if (record === undefined) return undefined;
    return new ActiveCall(record, { left: 0 }).resultOf(result, signed);
  }

  #over(call: ActiveCall | undefined, result: HostResult): void {
    if (call === undefined) return;
    call.over(result);
    this.outcomes.set(result.outcome, (this.outcomes.get(result.outcome) ?? 0) + 1);
    void this.#endIfOver(call);
  }

  async #endIfOver(call: ActiveCall): Promise<void> {
    if (!call.isOver || call.isEnding) return;
    call.isEnding = true;
    this.#deadlines.get(call.id)?.cancel();
    this.#deadlines.delete(call.id);
    const { store, clock, log } = this.#parts;
    try {
      await store.ended(call.id, { at: Math.round(clock.now()), counts: call.counts });
    } catch (error) {
      // After the next start it is found to have ended.
      log.error({ call: call.id, err: error }, 'the end of a call is not kept');
    }
    this.#active.delete(call.id);
    call.end();
  }

  /** Hosts that have not had it by now never will; the others have the time that it may take. */
  async #expire(call: ActiveCall): Promise<void> {
    const { clock } = this.#parts;
    const unsent = call.unfinished().filter((peer) => !call.maybeBegan(peer));
    for (const peer of unsent) this.#lanes.get(peer)?.drop(call.id);
    await this.#silence(call, unsent, {
      outcome: 'failed',
      code: 'ERR_TIMEOUT',
      message: 'the host was away or busy, and never had the call',
    });
    if (!this.#active.has(call.id)) return;
    const { goodUntil, timeoutMs } = call.record;
    // What was sent last may be good for so long yet, and run for so long then.
    const restMs = goodUntil + GRACE_MS + timeoutMs + GRACE_MS - clock.now();
    this.#deadlines.set(
      call.id,
      clock.after(Math.max(0, restMs), () => void this.#giveUp(call), { ref: false }),
    );
  }

  /** No host that has not told by now is waited for. */
  async #giveUp(call: ActiveCall): Promise<void> {
    const unfinished = call.unfinished();
    for (const peer of unfinished) this.#lanes.get(peer)?.drop(call.id);
    await this.#silence(call, unfinished, {
      outcome: 'unknown',
      code: 'ERR_TIMEOUT',
      message: 'the host had the call and never told what became of it',
    });
  }

  async #silence(
    call: ActiveCall,
    peers: readonly string[],
    said: Pick<HostResult, 'outcome' | 'code' | 'message'>,
  ): Promise<void> {
    const ended = Math.round(this.#parts.clock.now());
    const results = peers.flatMap((peer) => call.silence(peer, { ...said, ended }) ?? []);
    if (results.length === 0) return;
    try {
      await this.#parts.store.keep(results.map((result) => ({ id: call.id, result })));
    } catch (error) {
      this.#parts.log.error({ call: call.id, err: error }, 'what a call came to is not kept');
    }
    for (const result of results) this.#over(call, result);
  }
}

function targetOf({ peer, hostname, idc }: CallHost): CallTarget {
  return {
    peer,
    ...(hostname === undefined ? {} : { hostname }),
    ...(idc === undefined ? {} : { idc }),
  };
}
