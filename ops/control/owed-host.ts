// What the end of a release owes to a host that did not come to what was decided for it, and how that goes on: a
// function of where it stands and of what the host says. No clock, no disk, no hosts.
import { Type } from 'typebox';
import type { Static } from 'typebox';
import type { CallTarget, HostResult } from './call-record.ts';
import { PackageName, PackageVersion } from './package-record.ts';
import { currentIn, isSilence, reasonOf } from './release-answer.ts';
import type { ReleaseCommand } from './release-call.ts';
import { ReleaseId } from './release-record.ts';
import type { ReleaseRecord } from './release-record.ts';
import { Asker } from './release-state.ts';
import type { HostProgress, ReleaseState } from './release-state.ts';

/** How often a host is told before it is left to somebody. */
export const REPAIR_TRIES = 5;
/** After the first try, the second, and so on until the last, ms. */
const PAUSES_MS = [10_000, 60_000, 300_000, 900_000];
/** Exit codes of a switch after which the host is as well as it will be: see `switchExits`. */
const SETTLED = [3, 4];
/** How a tool says that the version is not installed. */
const NOT_INSTALLED = 'ERR_NOT_FOUND:';

const Version = Type.Union([PackageVersion, Type.Null()]);

/** One host of an application: what it should run, and how far it has come. At most one row for both. */
export const OwedHost = Type.Object({
  application: PackageName,
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
  release: ReleaseId,
  /** null: nothing is to run. */
  should: Version,
  /** What it last said that runs there; absent: it did not say. */
  has: Type.Optional(Version),
  /** Why it has not come to it. */
  why: Type.String(),
  /**
   * `waiting`: until it is here, or it is time for the next try. `installing`, `switching`: it was told. `left`: nothing
   * is done by itself. `mended`: it said that the version runs well.
   */
  stage: Type.Enum(['waiting', 'installing', 'switching', 'left', 'mended']),
  /** True: the version may not be installed there. */
  needsInstall: Type.Boolean(),
  /** How often it was told in vain. */
  tries: Type.Integer({ minimum: 0 }),
  /** The call under way. */
  call: Type.Optional(Type.String()),
  /** In whose name. */
  by: Asker,
  /** Cell time of the last change, and before which nothing is tried, ms. */
  at: Type.Integer(),
  notBefore: Type.Integer(),
});
export type OwedHost = Static<typeof OwedHost>;

/** What a release that has ended wants to run on one of its hosts; undefined: nothing was decided about it. */
export function decidedFor(
  record: ReleaseRecord,
  state: ReleaseState,
  peer: string,
): string | null | undefined {
  const host = state.hosts[peer];
  switch (state.phase) {
    case 'done':
      return record.batches.flat().some((one) => one.peer === peer) ? record.version : undefined;
    case 'rolled-back':
    case 'rollback-failed':
      return host !== undefined && isReturned(host) ? (host.former ?? null) : undefined;
    default:
      return undefined;
  }
}

/** Hosts about which the end of a release says something, what was owed to them before is over. */
export function settledBy(record: ReleaseRecord, state: ReleaseState): string[] {
  const isTold = (peer: string): boolean => {
    const stage = state.hosts[peer]?.stage;
    return stage === 'switched' || stage === 'broken' || stage === 'restored' || stage === 'lost';
  };
  const peers = record.batches.flat().map(({ peer }) => peer);
  return state.phase === 'done' ? peers : peers.filter(isTold);
}

/** What the end of a release owes. */
export function owedAfter(record: ReleaseRecord, state: ReleaseState): OwedHost[] {
  const { id: release, application } = record;
  return record.batches.flat().flatMap((host) => {
    const should = decidedFor(record, state, host.peer);
    const progress = state.hosts[host.peer];
    const isThere = progress?.stage === 'switched' || progress?.stage === 'restored';
    if (should === undefined || isThere) return [];
    const { has, why, whyLost, isSilent = progress === undefined } = progress ?? {};
    return [
      {
        ...host,
        application,
        release,
        should,
        ...(has === undefined ? {} : { has }),
        why: whyLost ?? why ?? 'it was not asked',
        // Who said that it will not do is no better when it is told again.
        stage: isSilent ? 'waiting' : 'left',
        needsInstall: progress?.former === undefined,
        tries: 0,
        by: state.by,
        at: state.at,
        notBefore: 0,
      },
    ];
  });
}

/** The same, because somebody wishes it: from the beginning, and in his name. */
export function owedAgain(
  former: OwedHost | undefined,
  fresh: CallTarget & Pick<OwedHost, 'application' | 'release' | 'should' | 'by' | 'at'>,
): OwedHost {
  const { application, release, should, by, at, ...host } = fresh;
  const known = former?.release === release ? former : undefined;
  // What it was told is waited for.
  if (known?.call !== undefined) return { ...known, tries: 0, by, at };
  const has = known?.has === undefined ? {} : { has: known.has };
  return {
    ...host,
    application,
    release,
    should,
    ...has,
    why: known?.why ?? 'somebody asked for it',
    stage: 'waiting',
    needsInstall: known?.needsInstall ?? true,
    tries: 0,
    by,
    at,
    notBefore: 0,
  };
}

/** What the host is told next; undefined: nothing. */
export function nextCommand({ stage, needsInstall, should }: OwedHost): ReleaseCommand | undefined {
  if (stage !== 'waiting') return undefined;
  return needsInstall && should !== null ? 'package.install' : 'package.switch';
}

/** It is told so, with this call. */
export function told(
  owed: OwedHost,
  { command, call, at }: { command: ReleaseCommand; call: string; at: number },
): OwedHost {
  return { ...owed, stage: command === 'package.install' ? 'installing' : 'switching', call, at };
}

/** Where it stands once that call has ended. A version that was installed is switched to without a pause. */
export function heard(owed: OwedHost, result: HostResult | undefined, at: number): OwedHost {
  const { call: _call, has: _has, ...before } = owed;
  if (result?.outcome === 'ok') {
    if (owed.stage === 'switching') return { ...before, stage: 'mended', has: owed.should, at };
    const has = owed.has === undefined ? {} : { has: owed.has };
    return { ...before, ...has, stage: 'waiting', needsInstall: false, at, notBefore: at };
  }
  const has = currentIn(result, owed.application);
  const isMissing = textOf(result).includes(NOT_INSTALLED) && owed.stage === 'switching';
  const tries = owed.tries + 1;
  const isOver = tries >= REPAIR_TRIES || isFinal(owed, result);
  const pauseMs = PAUSES_MS[tries - 1] ?? 0;
  return {
    ...before,
    ...(has === undefined ? {} : { has }),
    stage: isOver ? 'left' : 'waiting',
    needsInstall: owed.needsInstall || isMissing,
    why: reasonOf(result),
    tries,
    at,
    notBefore: at + pauseMs,
  };
}

function isReturned({ stage }: HostProgress): boolean {
  return stage === 'restored' || stage === 'lost';
}

/** It said no, or that the version is not well there: once more would end what runs for nothing. */
function isFinal({ stage }: OwedHost, result: HostResult | undefined): boolean {
  if (result === undefined || isSilence(result)) return false;
  if (result.outcome === 'refused') return true;
  return stage === 'switching' && SETTLED.includes(result.exitCode ?? 0);
}

function textOf(result: HostResult | undefined): string {
  return Buffer.from(result?.stderr ?? '', 'base64').toString();
}
