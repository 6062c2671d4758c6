import type { Random } from '../../core/base/random.ts';

/** A host that could give pieces of one version, as the swarm table sees it. */
export interface Candidate {
  readonly peer: string;
  readonly idc: string | undefined;
  readonly role: 'peer' | 'seed';
  /** Pieces it has, 0 … 1 of the content. */
  readonly share: number;
  /** Children it was given for this version already. */
  readonly children: number;
  /** Pieces it sent wrong or not at all, decayed. */
  readonly failures: number;
}

export interface ChosenParent {
  readonly peer: string;
  readonly role: 'peer' | 'seed';
  readonly reason: string;
}

/** Most parents a child is given: 20 links come within 7–9 % of the fluid bound in simulation. */
export const MAX_PARENTS = 20;

/**
 * Chooses up to `max` parents for a child: the seed, then hosts of its own idc before others, those with
 * fewer children and fewer failures first, ties by chance. Incomplete hosts count as much as complete ones:
 * they have what others lack.
 */
export function pickParents(
  child: { readonly peer: string; readonly idc: string | undefined },
  candidates: readonly Candidate[],
  options: { readonly max?: number; readonly random: Random },
): ChosenParent[] {
  const max = options.max ?? MAX_PARENTS;
  const ranked = candidates
    .filter((candidate) => candidate.peer !== child.peer)
    .map((candidate) => ({
      candidate,
      score: scoreOf(candidate, child),
      tie: options.random.next(),
    }))
    .toSorted((a, b) => b.score - a.score || a.tie - b.tie);
  return ranked.slice(0, max).map(({ candidate, score }) => ({
    peer: candidate.peer,
    role: candidate.role,
    reason: reasonOf(candidate, child, score),
  }));
}

function scoreOf(candidate: Candidate, child: { readonly idc: string | undefined }): number {
  const near = candidate.idc === child.idc ? 4 : 0;
  const seed = candidate.role === 'seed' ? 8 : 0;
  return seed + near - candidate.children / MAX_PARENTS - Math.min(candidate.failures, 10) * 2;
}

function reasonOf(
  candidate: Candidate,
  child: { readonly idc: string | undefined },
  score: number,
): string {
  const place = candidate.idc === child.idc ? 'same idc' : 'other idc';
  const has = candidate.share >= 1 ? 'complete' : `has ${Math.floor(candidate.share * 100)} %`;
  return `${candidate.role}, ${place}, ${has}, ${candidate.children} children, score ${score.toFixed(2)}`;
}
