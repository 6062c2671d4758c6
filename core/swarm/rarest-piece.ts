import type { Random } from '../base/random.ts';
import type { Bitfield } from '../piece/bitfield.ts';

/** Of very large content so many open pieces are looked at, from a place chosen by chance. */
export const MAX_LOOKED_AT = 2_048;

/** What a piece is chosen by; all of one length. */
export interface RarestAmong {
  readonly open: Bitfield;
  /** What the parent has. */
  readonly held: Bitfield;
  /** Undefined: any will do. */
  readonly due: Bitfield | undefined;
  readonly copies: Uint16Array;
}

/** The rarest open piece of a parent from one piece up to another, past the end from the start on; ties by chance. */
export function rarestPiece(
  among: RarestAmong,
  [from, to]: readonly [from: number, to: number],
  random: Random,
): number | undefined {
  const { copies } = among;
  const { bytes: open, length } = among.open;
  const { bytes: held } = among.held;
  const due = among.due?.bytes;
  let looked = 0;
  let best: number | undefined;
  let bestCopies = Number.POSITIVE_INFINITY;
  let ties = 0;
  for (let at = from; at < to && looked < MAX_LOOKED_AT; at += 1) {
    const piece = at % length;
    let byte = (open[piece >> 3] ?? 0) & (held[piece >> 3] ?? 0);
    if (due !== undefined) byte &= due[piece >> 3] ?? 0;
    // Nothing of use up to the end of this byte.
    if (byte === 0) at += Math.min(7 - (piece & 7), length - 1 - piece);
    if ((byte & (0x80 >> (piece & 7))) === 0) continue;
    looked += 1;
    const here = copies[piece] ?? 0;
    if (here > bestCopies) continue;
    ties = here < bestCopies ? 1 : ties + 1;
    if (here < bestCopies || random.below(ties) === 0) best = piece;
    bestCopies = here;
  }
  return best;
}
