// Signed calls for this host: verified, held against what this host lets be run, written down so that none runs twice,
// run in two lanes, and their results told until the cell has heard them. Nothing here trusts the supernode.
import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { Limiter } from '../../core/base/limiter.ts';
import type { Log } from '../../core/base/log.ts';
import { randomHex } from '../../core/base/random.ts';
import type { CallOrder, Lane } from '../../core/identity/call-order.ts';
import type { CallTaker, CallWay } from '../../core/swarm/call-taker.ts';
import { Serial } from '../../core/store/serial.ts';
import type { Call, CallStop, CallsHeard } from '../../core/wire/messages.ts';
import type { AllowMap, AllowedRun } from './allow-map.ts';
import type { BegunRow, CallJournal } from './call-journal.ts';
import { resultOf, resultOfRun, resultOfStart } from './call-result.ts';
import type { Became } from './call-result.ts';
import type { CallGroups } from './call-groups.ts';
import { CallTeller } from './call-teller.ts';
import { CapturedOutput } from './captured-output.ts';
import type { Launcher } from './launcher.ts';
import type { LocalUser } from './local-user.ts';
import { ProcessTree } from './process-tree.ts';
import { runCommand } from './run-command.ts';
import { claimedCall, isOver, verifyOrder } from './verify-order.ts';

/** Calls of each lane that run at a time, and that wait for it; past that they are refused with ERR_BUSY. */
export interface LaneLimits {
  readonly running: Readonly<Record<Lane, number>>;
  readonly waiting: number;
}
export const defaultLaneLimits: LaneLimits = { running: { fast: 16, slow: 4 }, waiting: 1_000 };

/** Ids that are no use to anybody any more are dropped so often. */
const FORGET_MS = 60_000;
/** Refusals of what anybody may have made up that wait to be told: more are only logged and counted. */
const MAX_UNPROVEN = 100;
/** What an earlier run of this program left behind gets so long to end by itself. */
const LEFTOVER_GRACE_MS = 2_000;

export interface CallAgentParts {
  readonly way: CallWay;
  readonly allowMap: AllowMap;
  readonly launcher: Launcher;
  readonly groups: CallGroups;
  readonly journal: CallJournal;
  /** What had begun in an earlier run of this program and has no end. */
  readonly begun: ReadonlyMap<string, BegunRow>;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits?: LaneLimits;
  /** What is not read-only runs only while the revocations that this host knows are younger. */
  readonly maxRevocationAgeMs: number;
}

/** What has happened since the start. */
export interface CallCounts {
  /** Orders that were right and new. */
  taken: number;
  refused: number;
  /** Orders that were here before: told again, or repeated by somebody. */
  repeated: number;
}

interface LiveCall {
  readonly order: CallOrder;
  readonly abort: AbortController;
  readonly stdout: CapturedOutput;
  readonly stderr: CapturedOutput;
}

/** Runs the calls that the cell signs for this host, each once. */
export class CallAgent implements CallTaker {
  readonly counts: CallCounts = { taken: 0, refused: 0, repeated: 0 };
  readonly #parts: CallAgentParts;
  readonly #lanes: Readonly<Record<Lane, Limiter>>;
  readonly #live = new Map<string, LiveCall>();
  readonly #work = new Set<Promise<void>>();
  readonly #hearing = new Serial();
  readonly #teller: CallTeller;
  readonly #forgetting: Timer;
  #isStopping = false;
  #unproven = 0;

  constructor(parts: CallAgentParts) {
    const { limits = defaultLaneLimits, way, journal, clock, log } = parts;
    const lane = (name: Lane): Limiter =>
      new Limiter({ max: limits.running[name], maxWaiting: limits.waiting });
    this.#parts = parts;
    this.#lanes = { fast: lane('fast'), slow: lane('slow') };
    this.#teller = new CallTeller({ way, journal, clock, log });
    this.#forgetting = clock.every(FORGET_MS, () => this.#forget());
    for (const [id, row] of parts.begun) this.#follow(this.#recover(id, row));
  }

  get active(): number {
    return this.#live.size;
  }

  onConnected(): void {
    this.#teller.connected();
  }

  take(message: Call | CallStop | CallsHeard): void {
    if (this.#isStopping) return;
    switch (message.type) {
      case 'call':
        this.#follow(this.#takeCall(message));
        break;
      case 'call-stop':
        for (const id of message.calls) this.#live.get(id)?.abort.abort();
        break;
      case 'calls-heard':
        this.#teller.heard(message.calls);
        this.#follow(this.#hearing.run(async () => this.#parts.journal.heard(message.calls)));
        break;
    }
  }

  /** Ended calls that the cell is still to be told of. */
  get untold(): number {
    return this.#teller.untold;
  }

  /** Resolves when nothing waits or runs. */
  async quiet(): Promise<void> {
    while (this.#work.size > 0) await Promise.allSettled(this.#work);
  }

  /** Resolves when nothing waits or runs, and all of it is told. */
  async idle(): Promise<void> {
    await this.quiet();
    await this.#teller.idle();
  }

  /** Ends what runs; its results are told when this program runs again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopping = true;
    this.#forgetting.cancel();
    for (const { abort } of this.#live.values()) abort.abort();
    await this.quiet();
    await this.#parts.groups.tidy();
    // Nobody waits for a supernode here: what it was not told it is told by the next run of this program.
    this.#teller[Symbol.dispose]();
  }

  async #takeCall(message: Call): Promise<void> {
    const order = this.#verified(message);
    if (order === undefined) return;
    const { call: id, maxOutputBytes } = order;
    // Nothing is waited for between the look and the entry: a second copy of the order finds the first.
    if (this.#live.has(id)) {
      this.counts.repeated += 1;
      this.#teller.again(id);
      return;
    }
    const onWrite = (): void => this.#teller.wrote();
    const live: LiveCall = {
      order,
      abort: new AbortController(),
      stdout: new CapturedOutput(maxOutputBytes, onWrite),
      stderr: new CapturedOutput(maxOutputBytes, onWrite),
    };
    this.#live.set(id, live);
    try {
      if (!(await this.#isKnown(order))) await this.#carryOut(live);
    } finally {
      this.#live.delete(id);
    }
  }

  #verified(message: Call): CallOrder | undefined {
    const { way } = this.#parts;
    try {
      return verifyOrder(message, way);
    } catch (error) {
      const refusal = CodedError.from(error);
      const id = claimedCall(message.order, way.key.peerId);
      this.#warnRefused(id, refusal);
      // Not written down: whoever made this up must not use up the id of a call that is right. But who waits for that
      // call must not hear that it was refused once it is here.
      if (id !== undefined && !this.#live.has(id) && this.#unproven < MAX_UNPROVEN) {
        this.#follow(this.#tellUnproven(id, refusal));
      }
      return undefined;
    }
  }

  async #tellUnproven(id: string, refusal: CodedError): Promise<void> {
    this.#unproven += 1;
    const known = await this.#parts.journal.find(id).finally(() => (this.#unproven -= 1));
    if (known === undefined && !this.#live.has(id) && this.#teller.untold < MAX_UNPROVEN) {
      this.#teller.ended(id, this.#result(id, { outcome: 'refused', error: refusal }));
    }
  }

  /** True when the call is over or has begun; whoever asks is told of it again. */
  async #isKnown({ call: id, expires, principal }: CallOrder): Promise<boolean> {
    const { journal, log } = this.#parts;
    const known = await journal.find(id);
    if (known === undefined && !journal.isForgotten(expires)) return false;
    this.counts.repeated += 1;
    if (known?.state === 'ended') this.#teller.again(id);
    else if (known?.state !== 'begun') {
      log.warn({ call: id, principal }, 'a call came again after the cell had its result');
    }
    return true;
  }

  /** The order is right and was never here before. */
  async #carryOut(live: LiveCall): Promise<void> {
    const { order, abort } = live;
    const { call: id, lane, expires } = order;
    this.counts.taken += 1;
    this.#teller.add(id, live);
    try {
      const allowed = this.#parts.allowMap.argvOf(order);
      if (!allowed.isReadOnly) this.#refuseStale(order);
      this.#parts.groups.check(allowed.limits);
      const user = await this.#parts.launcher.userOf(allowed.runAs);
      using slot = await this.#lanes[lane].acquire({ signal: abort.signal });
      void slot;
      if (isOver(expires, this.#parts.way.now())) {
        throw new CodedError('ERR_BUSY', 'the call expired while it waited for its turn');
      }
      await this.#run(live, { ...allowed, user });
    } catch (error) {
      await this.#refuse(live, CodedError.from(error));
    }
  }

  /** Who was put out of the cell since may be behind this. */
  #refuseStale({ issued, epoch }: CallOrder): void {
    const { way, maxRevocationAgeMs: maxAgeMs } = this.#parts;
    // The time of the cell comes by way of whoever brings the order; that of the order does not.
    const problem = way.staleness({ now: Math.max(way.now(), issued), maxAgeMs, epoch });
    if (problem !== undefined) throw new CodedError('ERR_REVOCATIONS_STALE', problem);
  }

  async #run(live: LiveCall, allowed: AllowedRun & { readonly user: LocalUser }): Promise<void> {
    const { user } = allowed;
    const { journal, groups, way, log } = this.#parts;
    const { order, abort } = live;
    const { call: id, expires, maxOutputBytes } = order;
    const marker = randomHex(16);
    // What such a tool starts is to outlive the call.
    const group = allowed.startsService ? undefined : groups.pathFor(marker);
    const began = Math.round(way.now());
    abort.signal.throwIfAborted();
    const maxBytes = 2 * maxOutputBytes;
    await journal.begin(id, {
      expires,
      began,
      marker,
      ...(group === undefined ? {} : { group }),
      maxBytes,
    });
    let became: Became;
    try {
      became = await this.#runToEnd(live, { ...allowed, marker });
    } catch (error) {
      became = resultOfStart(CodedError.from(error));
    }
    const facts = { call: id, command: order.command, principal: order.principal, user: user.name };
    log.info({ ...facts, outcome: became.outcome, code: became.error?.code }, 'call ended');
    await this.#end(live, { ...became, began });
  }

  async #runToEnd(
    { order: { timeoutMs }, abort: { signal }, stdout, stderr }: LiveCall,
    allowed: AllowedRun & { readonly user: LocalUser; readonly marker: string },
  ): Promise<Became> {
    const { launcher, groups, clock } = this.#parts;
    const { argv, graceMs, limits, isTool, startsService, marker } = allowed;
    // A tool becomes its user once it holds what only this program may open: the socket of the local API.
    const user = isTool ? launcher.self : allowed.user;
    const group = startsService ? undefined : await groups.make(marker, limits);
    try {
      const launch = await launcher.launch(argv, { user, marker, group });
      const options = { marker, group, stdout, stderr, timeoutMs, graceMs, signal, clock };
      return resultOfRun(await runCommand(launch, options), timeoutMs);
    } finally {
      if (group !== undefined) await groups.release(group);
    }
  }

  /** Nothing of it has run, and nothing will. */
  async #refuse(live: LiveCall, error: CodedError): Promise<void> {
    const { order, abort } = live;
    if (this.#isStopping) {
      // It may be given to this host again.
      this.#teller.drop(order.call);
      return;
    }
    if (abort.signal.aborted) {
      const stopped = new CodedError('ERR_INTERRUPTED', 'the call was stopped before it began');
      await this.#end(live, { outcome: 'failed', error: stopped });
      return;
    }
    this.#warnRefused(order.call, error, order);
    await this.#end(live, { outcome: 'refused', error });
  }

  async #end(live: LiveCall, became: Became): Promise<void> {
    const { journal, log } = this.#parts;
    const { order, stdout, stderr } = live;
    const { call: id, expires } = order;
    const result = this.#result(id, became, live);
    const output = { stdout: stdout.contents(), stderr: stderr.contents() };
    try {
      await journal.end(id, { expires, result, output });
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      log.error({ call: id, code, reason }, 'what a call came to is not written');
      if (became.began === undefined) await this.#burn(order);
    }
    this.#teller.ended(id, result);
  }

  /** So that nobody can let a call run of which we say that it was refused. */
  async #burn({ call: id, expires }: CallOrder): Promise<void> {
    const { journal, log } = this.#parts;
    try {
      await journal.burn(id, expires);
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      log.error({ call: id, code, reason }, 'a refused call is not written and may come again');
    }
  }

  /** Of a call that had begun when this program ended the last time. */
  async #recover(id: string, { marker, began, expires, group: path }: BegunRow): Promise<void> {
    const { journal, groups, clock, log } = this.#parts;
    const group = groups.leftover(path, marker);
    const tree = new ProcessTree(marker, { group });
    const left = await tree.kill({ clock, graceMs: LEFTOVER_GRACE_MS });
    await group?.remove();
    log.warn({ call: id, left }, 'a call had begun when this program ended');
    const error = new CodedError(
      'ERR_OUTCOME_UNKNOWN',
      'the daemon ended while the call ran: it may or may not have had its effect',
    );
    const result = this.#result(id, { outcome: 'unknown', error, began });
    await journal.end(id, { expires, result });
    this.#teller.ended(id, result);
  }

  #result(id: string, became: Became, live?: LiveCall): string {
    const { key, now } = { key: this.#parts.way.key, now: this.#parts.way.now() };
    return resultOf(became, {
      id,
      key,
      ended: Math.round(now),
      ...(live === undefined ? {} : { output: live }),
    });
  }

  #warnRefused(id: string | undefined, refusal: CodedError, order?: CallOrder): void {
    this.counts.refused += 1;
    const { code, message: reason } = refusal;
    const asked = order === undefined ? {} : { command: order.command, principal: order.principal };
    this.#parts.log.warn({ call: id, code, reason, ...asked }, 'call refused');
  }

  #forget(): void {
    const { journal, groups, way } = this.#parts;
    this.#follow(this.#hearing.run(async () => journal.forget(way.now())));
    this.#follow(groups.tidy());
  }

  #follow(work: Promise<void>): void {
    const followed = work
      .catch((error: unknown) => {
        const { code, message: reason } = CodedError.from(error);
        this.#parts.log.error({ code, reason }, 'a call could not be dealt with');
      })
      .finally(() => this.#work.delete(followed));
    this.#work.add(followed);
  }
}
