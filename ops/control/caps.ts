import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { Serial } from '../../core/store/serial.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { Expectation, StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';

/** Bounds of caps: each counted host and call is a row, and those of one call go with one record of the audit. */
export const capLimits = {
  hosts: 3_000,
  calls: 10_000,
  minWindowMs: 1_000,
  maxWindowMs: 31 * 86_400_000,
  /** Rows of hosts, and of calls, whose window has passed that one reservation removes. */
  removed: 500,
  /** Requests of one principal that wait for their turn. */
  waiting: 1_000,
  /** Principals whose rows are held in memory. */
  held: 100,
} as const;

const WindowMs = Type.Integer({
  minimum: capLimits.minWindowMs,
  maximum: capLimits.maxWindowMs,
});

/** What a principal may do in a sliding window, whatever the number of its keys, calls and supernodes' lives. */
export const PrincipalCaps = Type.Object({
  /** Distinct hosts that it runs something on. */
  hosts: Type.Optional(
    Type.Object({
      max: Type.Integer({ minimum: 0, maximum: capLimits.hosts }),
      windowMs: WindowMs,
    }),
  ),
  /** Calls. */
  calls: Type.Optional(
    Type.Object({
      max: Type.Integer({ minimum: 0, maximum: capLimits.calls }),
      windowMs: WindowMs,
    }),
  ),
});
export type PrincipalCaps = Static<typeof PrincipalCaps>;

/** Rows that must be in the commit of what was reserved for. */
export interface Reservation {
  readonly changes: readonly StateChange[];
  readonly expect: readonly Expectation[];
}

/** Who wants to run something, and where. */
export interface CapRequest {
  readonly principal: string;
  readonly caps: PrincipalCaps;
  /** Peer ids. */
  readonly hosts: readonly string[];
  /** Cell time, ms. */
  readonly now: number;
}

/** What a principal has used: when each host was last run on, and when each call was made. */
interface Used {
  /** Of its last reservation; the same number in the store means that nothing was reserved since. */
  readonly sequence: number;
  readonly hosts: ReadonlyMap<string, number>;
  /** By row. */
  readonly calls: ReadonlyMap<string, number>;
}

const parseHead = parser(Type.Object({ sequence: Type.Integer() }), { code: 'ERR_STORE_IO' });
const parseUse = parser(Type.Object({ at: Type.Integer() }), { code: 'ERR_STORE_IO' });

/**
 * Counts what principals use, in rows that are committed together with what they are used for. One reservation of a
 * principal at a time, and each expects that no other came between: what has no commit has used nothing, and what has
 * one is counted after any restart.
 */
export class Caps {
  readonly #store: StateStore;
  readonly #turns = new Map<string, { readonly serial: Serial; waiting: number }>();
  readonly #held = new Map<string, Used>();

  constructor(store: StateStore) {
    this.#store = store;
  }

  /**
   * Runs `commit`, which must commit the reservation, when the principal may; ERR_CAP when a cap is reached. Nothing
   * of the same principal is reserved meanwhile.
   */
  async within<T>(
    request: CapRequest,
    commit: (reservation: Reservation) => Promise<T>,
  ): Promise<T> {
    const { principal } = request;
    const turn = this.#turns.get(principal) ?? { serial: new Serial(), waiting: 0 };
    if (turn.waiting >= capLimits.waiting) {
      throw new CodedError(
        'ERR_BUSY',
        `${turn.waiting} requests of ${principal} wait for their turn`,
      );
    }
    this.#turns.set(principal, turn);
    turn.waiting += 1;
    try {
      return await turn.serial.run(async () => this.#reserve(request, commit));
    } finally {
      turn.waiting -= 1;
      if (turn.waiting === 0) this.#turns.delete(principal);
    }
  }

  async #reserve<T>(
    request: CapRequest,
    commit: (reservation: Reservation) => Promise<T>,
  ): Promise<T> {
    const { principal } = request;
    const head = await this.#store.get(headKey(principal));
    const sequence = head === undefined ? 0 : parseHead(head.value).sequence;
    const used = await this.#usedBy(request, sequence);
    const { changes, after } = planReservation(used, request);
    // Should the commit fail, or be written though it seemed to fail, the rows say what is so.
    this.#held.delete(principal);
    const expect = [{ key: headKey(principal), revision: head?.revision ?? 0 }];
    const result = await commit({ changes, expect });
    this.#hold(principal, after);
    return result;
  }

  #hold(principal: string, used: Used): void {
    const [oldest] = this.#held.keys();
    if (oldest !== undefined && this.#held.size >= capLimits.held) this.#held.delete(oldest);
    this.#held.set(principal, used);
  }

  async #usedBy({ principal, now }: CapRequest, sequence: number): Promise<Used> {
    const held = this.#held.get(principal);
    if (held?.sequence === sequence) return held;
    const hosts = new Map<string, number>();
    const calls = new Map<string, number>();
    for await (const { key, value } of this.#store.range(keysWith(`${headKey(principal)}/`))) {
      // A clock that was ahead must not hold a place for longer than a window from now.
      const at = Math.min(parseUse(value).at, now);
      const peer = peerOf(principal, key);
      if (peer === undefined) calls.set(key, at);
      else hosts.set(peer, at);
    }
    const used = { sequence, hosts, calls };
    this.#hold(principal, used);
    return used;
  }
}

/** The rows of a reservation and what is used after it; ERR_CAP when that would be too much. */
function planReservation(
  used: Used,
  request: CapRequest,
): { readonly changes: StateChange[]; readonly after: Used } {
  const { principal, caps, now } = request;
  const hosts = stillCounted(used.hosts, caps.hosts?.windowMs, now);
  const calls = stillCounted(used.calls, caps.calls?.windowMs, now);
  checkCaps({ hosts, calls }, request);
  const sequence = used.sequence + 1;
  const head = headKey(principal);
  const newHosts = caps.hosts === undefined ? [] : request.hosts;
  const callKey = `${head}/call/${String(sequence).padStart(16, '0')}`;
  const newCalls = caps.calls === undefined ? [] : [callKey];
  const after = {
    sequence,
    hosts: new Map([...used.hosts, ...newHosts.map((peer): [string, number] => [peer, now])]),
    calls: new Map([...used.calls, ...newCalls.map((key): [string, number] => [key, now])]),
  };
  const overHosts = overOf(used.hosts, hosts, newHosts).slice(0, capLimits.removed);
  const overCalls = overOf(used.calls, calls, []).slice(0, capLimits.removed);
  for (const peer of overHosts) after.hosts.delete(peer);
  for (const key of overCalls) after.calls.delete(key);
  const put = [...new Set(newHosts)].map((peer) => hostKey(principal, peer)).concat(newCalls);
  const gone = overHosts.map((peer) => hostKey(principal, peer)).concat(overCalls);
  const changes: StateChange[] = [
    { type: 'put', key: head, value: { sequence } },
    ...put.map((key): StateChange => ({ type: 'put', key, value: { at: now } })),
    ...gone.map((key): StateChange => ({ type: 'del', key })),
  ];
  return { changes, after };
}

function checkCaps(
  counted: Pick<Used, 'hosts' | 'calls'>,
  { caps, hosts }: Pick<CapRequest, 'caps' | 'hosts'>,
): void {
  if (caps.hosts !== undefined) {
    const used = counted.hosts.size;
    const more = [...new Set(hosts)].filter((peer) => !counted.hosts.has(peer)).length;
    // Who stays within the hosts that he has used already adds none, though the cap may have become smaller.
    if (more > 0 && used + more > caps.hosts.max) {
      throw capReached('hosts', { ...caps.hosts, used, more });
    }
  }
  if (caps.calls !== undefined && counted.calls.size + 1 > caps.calls.max) {
    throw capReached('calls', { ...caps.calls, used: counted.calls.size, more: 1 });
  }
}

/** Those whose window has not passed; without a cap none counts. */
function stillCounted(
  uses: ReadonlyMap<string, number>,
  windowMs: number | undefined,
  now: number,
): ReadonlyMap<string, number> {
  if (windowMs === undefined) return new Map();
  return new Map([...uses].filter(([, at]) => at > now - windowMs));
}

/** Those that count no more, without what is used anew. */
function overOf(
  uses: ReadonlyMap<string, number>,
  counted: ReadonlyMap<string, number>,
  anew: readonly string[],
): string[] {
  const kept = new Set(anew);
  return [...uses.keys()].filter((key) => !counted.has(key) && !kept.has(key));
}

function capReached(
  cap: 'hosts' | 'calls',
  counts: {
    readonly max: number;
    readonly windowMs: number;
    readonly used: number;
    readonly more: number;
  },
): CodedError {
  const { max, windowMs, used, more } = counts;
  const what = cap === 'hosts' ? 'distinct hosts' : 'calls';
  const message = `at most ${max} ${what} within ${windowMs / 1_000} s: ${used} are used, and this would add ${more}`;
  return new CodedError('ERR_CAP', message, { detail: { cap, ...counts } });
}

function headKey(principal: string): string {
  return `cap/${principal}`;
}

function hostKey(principal: string, peer: string): string {
  return `${headKey(principal)}/host/${peer}`;
}

function peerOf(principal: string, key: string): string | undefined {
  const prefix = hostKey(principal, '');
  return key.startsWith(prefix) ? key.slice(prefix.length) : undefined;
}
