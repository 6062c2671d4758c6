// What a host said of a command of a release, as far as it can be understood.
import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { HostResult } from './call-record.ts';
import { PackageName, PackageVersion } from './package-record.ts';

/** What is kept of why a host failed. */
const MAX_WHY_LENGTH = 200;
const Current = Type.Union([PackageVersion, Type.Null()]);

const parseInstalled = parser(
  Type.Object({ name: PackageName, version: PackageVersion, current: Current }),
);
const parseSwitched = parser(Type.Object({ name: PackageName, current: Current }));

/** What `package.install` printed; throws what cannot be understood. */
export function installedIn(result: HostResult): ReturnType<typeof parseInstalled> {
  return parseInstalled(lineOf(result));
}

/** What runs of the application, as `package.switch` printed it; undefined when that is not known. */
export function currentIn(
  result: HostResult | undefined,
  application: string,
): string | null | undefined {
  if (result === undefined) return undefined;
  try {
    const { name, current } = parseSwitched(lineOf(result));
    return name === application ? current : undefined;
  } catch {
    // It was ended before it could print.
    return undefined;
  }
}

/** True when the host was away, or died, and what became of it is not known. */
export function isSilence(result: HostResult | undefined): boolean {
  if (result === undefined || result.outcome === 'unknown') return true;
  // Whoever stopped the call knows what he did.
  return result.signed === undefined && result.code !== 'ERR_INTERRUPTED';
}

/** In a few words, what it came to. */
export function reasonOf(result: HostResult | undefined): string {
  if (result === undefined) return 'unknown: it said nothing';
  const { outcome, exitCode, signal, code, message } = result;
  const more = [
    exitCode === undefined ? [] : [`exit ${exitCode}`],
    signal === undefined ? [] : [signal],
    code === undefined ? [] : [`${code}: ${message ?? ''}`],
  ].flat();
  return shortened(`${outcome}${more.length === 0 ? '' : ` (${more.join(', ')})`}`);
}

export function shortened(text: string): string {
  return text.slice(0, MAX_WHY_LENGTH).toWellFormed();
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
