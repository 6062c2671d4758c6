import { CodedError } from '../../core/base/error.ts';
import { digestOfHosts, issueCallOrder, maxCallTtlMs } from '../../core/identity/call-order.ts';
import type { CallOrder } from '../../core/identity/call-order.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import type { Expectation, StateChange } from '../../core/store/state-store.ts';
import type { CallRecord, CallRequest, CallTarget } from './call-record.ts';
import type { Principal } from './principal.ts';

const DEFAULTS = { timeoutMs: 60_000, waitMs: 60_000, maxOutputBytes: 65_536 } as const;

/** What one call changes before any host hears of it. */
export interface CallPlan {
  readonly record: CallRecord;
  readonly changes: readonly StateChange[];
  readonly expect: readonly Expectation[];
}

/** Whose call it is, which it is, and for whom; hosts may be away, they have until it is good no more. */
export interface CallFacts {
  readonly id: string;
  readonly principal: Principal;
  readonly hosts: readonly CallTarget[];
  /** Cell time, ms. */
  readonly created: number;
}

/** A call as it is kept. */
export function recordOf(
  request: CallRequest,
  { id, principal: { name: principal, key }, hosts, created }: CallFacts,
): CallRecord {
  const { command, args = [], on, lane = 'fast', runAs } = request;
  return {
    id,
    principal,
    ...(key === undefined ? {} : { key }),
    command,
    args,
    on,
    hosts: [...hosts],
    lane,
    ...(runAs === undefined ? {} : { runAs }),
    timeoutMs: request.timeoutMs ?? DEFAULTS.timeoutMs,
    maxOutputBytes: request.maxOutputBytes ?? DEFAULTS.maxOutputBytes,
    created,
    goodUntil: created + (request.waitMs ?? DEFAULTS.waitMs),
  };
}

/** What one of its hosts is told now; `hosts` is the digest of all. */
export function orderOf(
  record: CallRecord,
  about: {
    readonly cell: string;
    readonly host: string;
    readonly hosts: string;
    readonly now: number;
    readonly epoch?: number | undefined;
  },
): CallOrder {
  const { id, principal, command, args, runAs, lane, timeoutMs, maxOutputBytes } = record;
  const { cell, host, hosts, now, epoch } = about;
  return {
    cell,
    call: id,
    host,
    hosts,
    principal,
    issued: now,
    expires: Math.min(Math.max(record.goodUntil, now), now + maxCallTtlMs),
    lane,
    command,
    args,
    ...(runAs === undefined ? {} : { runAs }),
    timeoutMs,
    maxOutputBytes,
    ...(epoch === undefined ? {} : { epoch }),
  };
}

/** ERR_REQUEST for what every host would refuse. */
export function checkCall(
  record: CallRecord,
  { key, cell }: { readonly key: HostKey; readonly cell: string },
): void {
  const bad = record.args.findIndex((arg) => arg.includes('\0') || !arg.isWellFormed());
  if (bad >= 0) {
    const message = `args[${bad}]: no program can be given a NUL or half a character`;
    throw new CodedError('ERR_REQUEST', message, { detail: { path: `args[${bad}]` } });
  }
  const [first] = record.hosts;
  if (first === undefined) return;
  try {
    const host = first.peer;
    const hosts = digestOfHosts([host]);
    issueCallOrder(key, orderOf(record, { cell, host, hosts, now: record.created }));
  } catch (error) {
    const { message, detail } = CodedError.from(error);
    throw new CodedError('ERR_REQUEST', message, { detail });
  }
}
