import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { HostResult } from './call-record.ts';
import { PackageName, PackageVersion } from './package-record.ts';
import type { ReleaseRecord } from './release-record.ts';
import type { HostProgress, ReleaseState } from './release-state.ts';

/** What is kept of why a host failed. */
const MAX_WHY_LENGTH = 200;

const parseInstalled = parser(
  Type.Object({
    name: PackageName,
    version: PackageVersion,
    current: Type.Union([PackageVersion, Type.Null()]),
  }),
);

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
      after.set(peer, step === 'switch' ? switched(former, result) : restored(former, result));
    }
  }
  return Object.fromEntries(after);
}

function installed(release: ReleaseRecord, result: HostResult | undefined): HostProgress {
  if (result?.outcome !== 'ok') return { stage: 'failed', why: reasonOf(result) };
  try {
    const { name, version, current } = parseInstalled(lineOf(result));
    if (name === release.application && version === release.version) {
      return { stage: 'installed', former: current };
    }
    return { stage: 'failed', why: 'it said that it has another package' };
  } catch (error) {
    // Without its former version there is no way back for it.
    return { stage: 'failed', why: shortened(`not understood: ${CodedError.from(error).message}`) };
  }
}

function switched(former: HostProgress, result: HostResult | undefined): HostProgress {
  if (result?.outcome === 'ok') return { ...former, stage: 'switched' };
  const stage = result?.outcome === 'refused' ? 'failed' : 'broken';
  return { ...former, stage, why: reasonOf(result) };
}

function restored(former: HostProgress, result: HostResult | undefined): HostProgress {
  if (result?.outcome === 'ok') return { ...former, stage: 'restored' };
  return { ...former, stage: 'lost', whyLost: reasonOf(result) };
}

function lineOf({ stdout, isOutputLost }: HostResult): unknown {
  if (isOutputLost === true) throw new CodedError('ERR_PROTOCOL', 'its output was lost');
  const text = Buffer.from(stdout, 'base64').toString().trim();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodedError('ERR_PROTOCOL', 'its output is no line of JSON', { cause });
  }
}

function reasonOf(result: HostResult | undefined): string {
  if (result === undefined) return 'unknown: it said nothing';
  const { outcome, exitCode, signal, code, message } = result;
  const more = [
    exitCode === undefined ? [] : [`exit ${exitCode}`],
    signal === undefined ? [] : [signal],
    code === undefined ? [] : [`${code}: ${message ?? ''}`],
  ].flat();
  return shortened(`${outcome}${more.length === 0 ? '' : ` (${more.join(', ')})`}`);
}

function shortened(text: string): string {
  return text.slice(0, MAX_WHY_LENGTH).toWellFormed();
}
