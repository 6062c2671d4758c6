import { createHash } from 'node:crypto';

/** Pieces that one request to the origin takes: `[start, end)`. */
export interface OriginRun {
  readonly start: number;
  readonly end: number;
}

/** Neighbouring pieces that go to one owner, so that requests to the origin stay long. */
const GROUP = 8;

/**
 * The missing pieces that this host fetches from the origin when no supernode shares the work out:
 * each group of pieces belongs to the live host that rendezvous hashing of (group, host) puts first.
 * `patience` widens it when owners do not deliver: 1 takes what is second choice too, and so on.
 */
export function ownOriginPieces(
  missing: readonly number[],
  hosts: { readonly self: string; readonly others: readonly string[]; readonly patience: number },
): number[] {
  const ranks = new Map<number, boolean>();
  return missing.filter((piece) => {
    const group = Math.floor(piece / GROUP);
    const known = ranks.get(group);
    if (known !== undefined) return known;
    const own = weight(group, hosts.self);
    const ahead = hosts.others.filter((other) => weight(group, other) > own).length;
    const mine = ahead <= hosts.patience;
    ranks.set(group, mine);
    return mine;
  });
}

/** Cuts ascending piece indexes into at most `maxRuns` runs of neighbours, long ones split evenly. */
export function originRuns(
  pieces: readonly number[],
  options: { readonly maxRuns: number; readonly maxRunPieces: number },
): OriginRun[] {
  const runs: OriginRun[] = [];
  let start: number | undefined;
  let previous = -1;
  for (const piece of pieces) {
    const isBreak =
      start !== undefined && (piece !== previous + 1 || piece - start >= options.maxRunPieces);
    if (start !== undefined && isBreak) {
      runs.push({ start, end: previous + 1 });
      start = undefined;
    }
    start ??= piece;
    previous = piece;
  }
  if (start !== undefined) runs.push({ start, end: previous + 1 });
  return runs.slice(0, options.maxRuns);
}

function weight(group: number, host: string): number {
  return createHash('sha256').update(`${group}/${host}`).digest().readUInt32BE(0);
}
