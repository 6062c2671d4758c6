import type { CodedError } from '../base/error.ts';

/** True when joining is refused for good: the user gave a wrong token or asked for too much. No fallback hides that. */
export function isJoinRefusal(error: CodedError | undefined): boolean {
  return error?.code === 'ERR_TOKEN' || error?.code === 'ERR_TOKEN_GRANT';
}
