import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { CodedError } from '../base/error.ts';

/** The system's own lookup. */
export const lookupBySystem: LookupFunction = (hostname, options, callback) => {
  systemLookup(hostname, options, callback);
};

/** `lookup` without the addresses that the check refuses; fails with the check's error when none is left. */
export function guardedLookup(lookup: LookupFunction, check: (ip: string) => void): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, options, (error, found, family) => {
      if (error !== null) {
        callback(error, found, family);
        return;
      }
      const entries = typeof found === 'string' ? [{ address: found, family: family ?? 4 }] : found;
      let refusal: Error | undefined;
      const allowed = entries.filter(({ address }) => {
        try {
          check(address);
          return true;
        } catch (cause) {
          refusal ??= cause instanceof Error ? cause : new Error(String(cause));
          return false;
        }
      });
      if (allowed.length === 0) callback(refusal ?? notFound(hostname), []);
      else if (typeof found === 'string') callback(null, found, family);
      else callback(null, allowed);
    });
  };
}

function notFound(hostname: string): CodedError {
  return new CodedError('ERR_ORIGIN_UNREACHABLE', `${hostname} has no address`, {
    detail: { reason: 'ENOTFOUND' },
  });
}
