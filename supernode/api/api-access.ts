import { isIP } from 'node:net';
import { CodedError } from '../../core/base/error.ts';
import { moreImportant } from '../../core/base/priority.ts';
import type { Priority } from '../../core/base/priority.ts';
import { isInCidr } from '../../core/identity/cidr.ts';
import { operator } from '../../ops/control/principal.ts';
import type { Caller as OpsCaller } from '../../ops/control/principal.ts';
import type { Principals } from '../../ops/control/principals.ts';
import type { ApiKeys } from './api-keys.ts';

/** What of a request decides whether it is answered. */
export interface Caller {
  /** The address that the connection comes from. */
  readonly ip: string;
  /** The host name of the request, without port. */
  readonly hostname: string;
  readonly authorization: string | undefined;
}

/**
 * Throws unless the caller may use the API: ERR_UNAUTHORIZED without a right key, and where there are no keys at all
 * ERR_FORBIDDEN for everybody who is not on this machine.
 */
export function checkAccess(keys: ApiKeys | undefined, caller: Caller): void {
  if (keys !== undefined) {
    if (keys.accepts(caller.authorization)) return;
    throw new CodedError('ERR_UNAUTHORIZED', 'the API key is missing or wrong');
  }
  if (!isLoopback(caller.ip)) {
    throw new CodedError(
      'ERR_FORBIDDEN',
      'without --api-key-file the API answers only to callers on the same machine',
      { detail: { address: caller.ip } },
    );
  }
  // A web page in a browser on this machine could reach us by a name of its own that leads to 127.0.0.1.
  if (isIP(caller.hostname.replace(/^\[|\]$/g, '')) === 0 && caller.hostname !== 'localhost') {
    throw new CodedError(
      'ERR_FORBIDDEN',
      'without --api-key-file the API answers only to requests for localhost or an IP address',
    );
  }
}

/**
 * Who asks something of hosts: a principal with a key that the door gave out, or the operator, whose key is in
 * `--api-key-file` and good for everything. ERR_UNAUTHORIZED for any other; also for somebody on this machine, since
 * each of its users would have root on all hosts otherwise.
 */
export function opsCaller(
  { keys, principals }: { keys: ApiKeys | undefined; principals: Pick<Principals, 'find'> },
  { ip, authorization }: Pick<Caller, 'ip' | 'authorization'>,
): OpsCaller {
  const principal = principals.find(authorization);
  if (principal !== undefined) return { principal, source: ip };
  if (keys?.mostOf(authorization) === 'release') return { principal: operator, source: ip };
  if (keys?.accepts(authorization) === true) {
    throw new CodedError('ERR_FORBIDDEN', 'this API key is good for warm-ups only');
  }
  const advice = keys === undefined ? ': start the supernode with --api-key-file' : '';
  throw new CodedError('ERR_UNAUTHORIZED', `the API key is missing or wrong${advice}`);
}

/** Throws ERR_FORBIDDEN when the key of a caller who may use the API may not order downloads of this class. */
export function checkPriority(
  keys: ApiKeys | undefined,
  { authorization, priority }: Pick<Caller, 'authorization'> & { readonly priority: Priority },
): void {
  const most = keys === undefined ? 'release' : keys.mostOf(authorization);
  if (most !== undefined && moreImportant(most, priority) === most) return;
  throw new CodedError(
    'ERR_FORBIDDEN',
    `this API key may not order downloads of class ${priority}`,
  );
}

function isLoopback(address: string): boolean {
  return isInCidr(address, '127.0.0.0/8') || isInCidr(address, '::1');
}
