import type { Random } from '../base/random.ts';

/** What the picker knows of a parent it may ask now. */
export interface PickableParent {
  readonly peer: string;
  readonly role: 'peer' | 'seed';
  /** Requests it can take more. */
  readonly freeSlots: number;
  has(piece: number): boolean;
}

/** One request to make. */
export interface Pick {
  readonly peer: string;
  readonly piece: number;
}

/** What the picker decides over. */
export interface PickState {
  /** Pieces that are missing, whose digest is known, and that nobody was asked for; ascending. */
  readonly wanted: readonly number[];
  readonly parents: readonly PickableParent[];
  /** Requests that may be added in all. */
  readonly budget: number;
  /** Of the wanted pieces, only the first this many may be asked: for consumers that read in order. */
  readonly window?: number;
  /** True: the seed may be asked for anything, because nobody else brings it forward. */
  readonly isSeedFree?: boolean;
  readonly random: Random;
}

/**
 * Which pieces to ask of whom: rarest first by the have-maps of our links, ties by chance, so that hosts
 * that start together take different pieces and can trade them. The seed is asked only for pieces that
 * no linked peer has: its upload is the swarm's scarcest good.
 */
export function pickPieces(state: PickState): Pick[] {
  const wanted = state.window === undefined ? state.wanted : state.wanted.slice(0, state.window);
  const copies = new Map<number, number>();
  for (const piece of wanted) copies.set(piece, peerCopies(piece, state.parents));
  const open = new Set(wanted);
  const slots = new Map(state.parents.map((parent) => [parent.peer, parent.freeSlots]));
  const picks: Pick[] = [];
  let isAdding = true;
  // One piece a parent and round: the work spreads before anybody's queue fills.
  while (isAdding && picks.length < state.budget) {
    isAdding = false;
    for (const parent of state.parents) {
      const free = slots.get(parent.peer) ?? 0;
      if (free <= 0 || picks.length >= state.budget) continue;
      const piece = rarest(parent, { ...state, open, copies });
      if (piece === undefined) continue;
      open.delete(piece);
      slots.set(parent.peer, free - 1);
      picks.push({ peer: parent.peer, piece });
      isAdding = true;
    }
  }
  return picks;
}

function peerCopies(piece: number, parents: readonly PickableParent[]): number {
  let copies = 0;
  for (const parent of parents) if (parent.role === 'peer' && parent.has(piece)) copies += 1;
  return copies;
}

function rarest(
  parent: PickableParent,
  state: {
    readonly open: ReadonlySet<number>;
    readonly copies: ReadonlyMap<number, number>;
    readonly isSeedFree?: boolean;
    readonly random: Random;
  },
): number | undefined {
  let best: number | undefined;
  let bestCopies = Number.POSITIVE_INFINITY;
  let ties = 0;
  for (const piece of state.open) {
    if (!parent.has(piece)) continue;
    const copies = state.copies.get(piece) ?? 0;
    if (parent.role === 'seed' && copies > 0 && state.isSeedFree !== true) continue;
    if (copies > bestCopies) continue;
    // Reservoir of one: each piece among the rarest is as likely as the others.
    ties = copies < bestCopies ? 1 : ties + 1;
    if (copies < bestCopies || state.random.below(ties) === 0) best = piece;
    bestCopies = copies;
  }
  return best;
}
