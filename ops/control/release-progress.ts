import { CodedError } from '../../core/base/error.ts';
import type { HostResult } from './call-record.ts';
import { currentIn, installedIn, isSilence, reasonOf, shortened } from './release-answer.ts';
import type { ReleaseRecord } from './release-record.ts';
import type { HostProgress, ReleaseState } from './release-state.ts';

/** Where the hosts are after a step: those that it was for by what they said of it, all others as they were. */
export function progressAfter(
  release: ReleaseRecord,
  { step, hosts }: ReleaseState,
  {
    asked,
    results,
  }: { readonly asked: readonly string[]; readonly results: ReadonlyMap<string, HostResult> },
): Record<string, HostProgress> {
  const after = new Map(Object.entries(hosts));
  for (const peer of asked) {
    const former = hosts[peer];
    const result = results.get(peer);
    if (step === 'install') after.set(peer, installed(release, result));
    else if (former !== undefined) {
      const about = { release, former };
      after.set(peer, step === 'switch' ? switched(about, result) : restored(about, result));
    }
  }
  return Object.fromEntries(after);
}

interface Before {
  readonly release: ReleaseRecord;
  readonly former: HostProgress;
}

function installed(release: ReleaseRecord, result: HostResult | undefined): HostProgress {
  if (result?.outcome !== 'ok') {
    return { stage: 'failed', why: reasonOf(result), ...silence(result) };
  }
  try {
    const { name, version, current } = installedIn(result);
    if (name === release.application && version === release.version) {
      return { stage: 'installed', former: current, has: current };
    }
    return { stage: 'failed', why: 'it said that it has another package' };
  } catch (error) {
    // Without its former version there is no way back for it.
    return { stage: 'failed', why: shortened(`not understood: ${CodedError.from(error).message}`) };
  }
}

function switched({ release, former }: Before, result: HostResult | undefined): HostProgress {
  if (result?.outcome === 'ok') return { ...former, stage: 'switched', has: release.version };
  const why = reasonOf(result);
  if (result?.outcome === 'refused') return { ...former, stage: 'failed', why };
  return { ...unsaid(former), stage: 'broken', why, ...said(release, result) };
}

function restored({ release, former }: Before, result: HostResult | undefined): HostProgress {
  const before = unsaid(former);
  if (result?.outcome === 'ok') return { ...before, stage: 'restored', has: former.former ?? null };
  // Who refuses has done nothing, and what it said before holds.
  const has = result?.outcome === 'refused' && former.has !== undefined ? { has: former.has } : {};
  return {
    ...before,
    stage: 'lost',
    whyLost: reasonOf(result),
    ...has,
    ...said(release, result),
  };
}

function unsaid({ has: _has, isSilent: _isSilent, ...progress }: HostProgress): HostProgress {
  return progress;
}

function said(
  { application }: ReleaseRecord,
  result: HostResult | undefined,
): Pick<HostProgress, 'has' | 'isSilent'> {
  const has = currentIn(result, application);
  return { ...(has === undefined ? {} : { has }), ...silence(result) };
}

function silence(result: HostResult | undefined): Pick<HostProgress, 'isSilent'> {
  return isSilence(result) ? { isSilent: true } : {};
}
