import { Type } from 'typebox';
import type { Static } from 'typebox';
import { callLimits, callOutcomes, digestOfHosts, lanes } from '../../core/identity/call-order.ts';

/** Longest that a call waits for a host that is busy or away, ms. */
export const MAX_WAIT_MS = 24 * 3_600_000;

/** What a caller asks for. */
export const CallRequest = Type.Object({
  command: Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,63}$' }),
  /** Passed to the program as they are. */
  args: Type.Optional(Type.Array(Type.String(), { maxItems: callLimits.args })),
  /** Which hosts: see `selectHosts`. */
  on: Type.String({ minLength: 1, maxLength: 8_192 }),
  /** Default fast. */
  lane: Type.Optional(Type.Enum([...lanes])),
  runAs: Type.Optional(Type.String({ pattern: '^[a-z_][a-z0-9_-]{0,31}$' })),
  /** Default 60 s. */
  timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: callLimits.timeoutMs })),
  /** How long it may wait for a host that is busy or away; default 60 s. */
  waitMs: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_WAIT_MS })),
  /** Of stdout and of stderr each; default 64 KiB. */
  maxOutputBytes: Type.Optional(Type.Integer({ minimum: 0, maximum: callLimits.outputBytes })),
  /** A second request with the same word of the same caller is the first one. */
  idempotencyKey: Type.Optional(Type.String({ pattern: '^[!-~]{1,128}$' })),
});

/** One host of a call, as it was when the call was made. */
export const CallTarget = Type.Object({
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
});

/** A call as it is kept: everything that does not change. */
export const CallRecord = Type.Object({
  id: Type.String(),
  principal: Type.String(),
  /** Id of the API key that it was made with; absent: the operator's. */
  key: Type.Optional(Type.String()),
  command: Type.String(),
  args: Type.Array(Type.String()),
  on: Type.String(),
  hosts: Type.Array(CallTarget),
  lane: Type.Enum([...lanes]),
  runAs: Type.Optional(Type.String()),
  timeoutMs: Type.Integer(),
  maxOutputBytes: Type.Integer(),
  /** Cell time, ms. */
  created: Type.Integer(),
  /** When it is not begun any more. */
  goodUntil: Type.Integer(),
});

/** How a call ended on one host, as it is kept. */
export const HostResult = Type.Object({
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  outcome: Type.Enum([...callOutcomes]),
  code: Type.Optional(Type.String()),
  message: Type.Optional(Type.String()),
  exitCode: Type.Optional(Type.Integer()),
  signal: Type.Optional(Type.String()),
  began: Type.Optional(Type.Integer()),
  ended: Type.Integer(),
  /** What the program wrote, and how much of it is here. */
  stdoutBytes: Type.Integer(),
  stderrBytes: Type.Integer(),
  /** Base64. */
  stdout: Type.String(),
  stderr: Type.String(),
  /** True: what is here is not all that the host passed on. */
  isOutputLost: Type.Optional(Type.Boolean()),
  /** What the host signed; absent when it said nothing. */
  signed: Type.Optional(Type.String()),
});

/** How many hosts of a call are where. */
export const CallCounts = Type.Object({
  hosts: Type.Integer(),
  /** Not begun, as far as is known. */
  waiting: Type.Integer(),
  running: Type.Integer(),
  ok: Type.Integer(),
  failed: Type.Integer(),
  refused: Type.Integer(),
  unknown: Type.Integer(),
});

/** How a call ended, beside its record. */
export const CallEnd = Type.Object({
  /** Cell time, ms. */
  at: Type.Integer(),
  counts: CallCounts,
});

export type CallRequest = Static<typeof CallRequest>;
export type CallTarget = Static<typeof CallTarget>;
export type CallRecord = Static<typeof CallRecord>;
export type CallCounts = Static<typeof CallCounts>;
export type CallEnd = Static<typeof CallEnd>;
export type HostResult = Static<typeof HostResult>;

/** What happens to a call, in order; `ended` is the last. */
export type CallEvent =
  | { readonly type: 'begun'; readonly peer: string; readonly hostname?: string }
  | {
      readonly type: 'output';
      readonly peer: string;
      readonly hostname?: string;
      readonly stream: 'stdout' | 'stderr';
      /** Base64. */
      readonly data: string;
    }
  | ({ readonly type: 'result' } & Omit<HostResult, 'stdout' | 'stderr' | 'signed'>)
  | { readonly type: 'ended'; readonly counts: CallCounts };

const digests = new WeakMap<readonly Pick<CallTarget, 'peer'>[], string>();

/** `digestOfHosts()` of the hosts of a call or a wish, which do not change: made once for each list of them. */
export function digestOfTargets(hosts: readonly Pick<CallTarget, 'peer'>[]): string {
  const known = digests.get(hosts);
  if (known !== undefined) return known;
  const digest = digestOfHosts(hosts.map(({ peer }) => peer));
  digests.set(hosts, digest);
  return digest;
}
