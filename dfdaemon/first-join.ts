import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import type { ErrorCode } from '../core/base/error-codes.ts';
import type { Log } from '../core/base/log.ts';

const LOOK_MS = 100;

/** Refusals that somebody has to do something about: another token, another address, the right time of day. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'ERR_TOKEN',
  'ERR_TOKEN_GRANT',
  'ERR_NOT_MEMBER',
  'ERR_SIGNATURE',
]);

/** The part of `CellMember` that tells whether this host belongs, or once belonged, to a cell. */
export interface JoiningMember {
  readonly hasJoined: boolean;
  readonly client: { readonly lastError: CodedError | undefined };
}

/**
 * Resolves when this host is, or was, a member of its cell; throws what the supernode has against it when it never was one
 * and trying again does not help. Waits as long as nobody answers, and logs each new reason for that.
 */
export async function firstJoin(
  member: JoiningMember,
  options: { readonly clock: Clock; readonly log: Log; readonly signal: AbortSignal },
): Promise<void> {
  let told: ErrorCode | undefined;
  while (!member.hasJoined) {
    const error = member.client.lastError;
    if (error !== undefined && FINAL.has(error.code)) {
      throw new CodedError(error.code, `--join-token: cannot join: ${error.message}`, {
        cause: error,
        detail: error.detail,
      });
    }
    if (error !== undefined && error.code !== told) {
      told = error.code;
      options.log.warn({ code: error.code, reason: error.message }, 'not joined yet');
    }
    await options.clock.sleep(LOOK_MS, { signal: options.signal });
  }
}
