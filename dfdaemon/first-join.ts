import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';

const LOOK_MS = 100;

/** The part of `CellMember` that tells whether this host belongs to a cell. */
export interface JoiningMember {
  readonly record: object | undefined;
  readonly client: { readonly lastError: CodedError | undefined };
}

/**
 * Resolves when this host is a member of its cell; throws ERR_TOKEN or ERR_TOKEN_GRANT when it never was one and
 * is refused for a reason that trying again does not change. Waits as long as nobody answers.
 */
export async function firstJoin(
  member: JoiningMember,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  while (member.record === undefined) {
    const error = member.client.lastError;
    if (error?.code === 'ERR_TOKEN' || error?.code === 'ERR_TOKEN_GRANT') {
      throw new CodedError(error.code, `--join-token: the supernode says: ${error.message}`, {
        cause: error,
        detail: error.detail,
      });
    }
    await options.clock.sleep(LOOK_MS, { signal: options.signal });
  }
}
