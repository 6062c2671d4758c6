import type { CodedError } from '../base/error.ts';

/** A parent as far as waiting is concerned. */
interface WaitedFor {
  readonly isOpen: boolean;
  readonly isBanned: boolean;
  readonly lastError: CodedError | undefined;
}

/** Why nothing moves, in words that end "waiting for …". */
export function waitReason(state: {
  readonly parents: readonly WaitedFor[];
  readonly isSupervised: boolean;
  /** Some piece was asked for and did not come. */
  readonly isAsked: boolean;
  /** Some missing piece has a known digest. */
  readonly isWanted: boolean;
}): string {
  const { parents, isSupervised, isAsked, isWanted } = state;
  const hasOpen = parents.some((parent) => parent.isOpen && !parent.isBanned);
  if (isAsked) return 'parents: they are asked and bring nothing';
  if (!isSupervised && !hasOpen) return 'no supernode and no linked host';
  if (parents.length === 0) return 'no parents yet';
  if (parents.every((parent) => parent.isBanned)) return 'parents: all of them sent wrong pieces';
  if (!hasOpen) {
    const error = parents.find((parent) => parent.lastError !== undefined)?.lastError;
    return error === undefined ? 'links to parents' : `no parent reachable: ${error.message}`;
  }
  if (!isWanted) return 'the origin: the seed has nothing new yet';
  return 'parents: none of them has a piece that is missing here';
}
