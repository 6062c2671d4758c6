import type { PickerParent } from './picker-parent.ts';
import { ResponseTime } from './response-time.ts';

/** A piece that a parent was asked for and did not bring yet. */
export interface PickerRequest {
  readonly parent: PickerParent;
  readonly sinceMs: number;
  /** Requests in its line then, this one too. */
  readonly line: number;
}

/** A piece to ask a second parent for. */
export interface Hedge {
  readonly piece: number;
  readonly parent: PickerParent;
}

/** Pieces asked twice because a parent is late, of those that came: the loser has mostly been sent, too. */
const HEDGE_SHARE = 0.02;

/** Which request is so late that a second parent is worth asking, within the share of bytes that may come twice. */
export class Hedging {
  /** How long pieces take of anybody. */
  readonly #usual = new ResponseTime();
  #brought = 0;
  #hedges = 0;

  brought(ms: number): void {
    this.#usual.note(ms, 1);
    this.#brought += 1;
  }

  /** The latest of the pieces that may be late and that `other` finds another parent for; it counts as asked twice. */
  next(
    requests: ReadonlyMap<number, readonly PickerRequest[]>,
    about: {
      readonly nowMs: number;
      readonly mayBeLate: (piece: number) => boolean;
      readonly other: (piece: number, than: PickerParent) => PickerParent | undefined;
    },
  ): Hedge | undefined {
    if (this.#hedges >= 1 + this.#brought * HEDGE_SHARE) return undefined;
    let latest: (Hedge & { readonly lateMs: number }) | undefined;
    for (const [piece, [request, second]] of requests) {
      if (request === undefined || second !== undefined || !about.mayBeLate(piece)) continue;
      const patienceMs = Math.min(request.parent.response.lateMs, this.#usual.lateMs);
      const lateMs = about.nowMs - request.sinceMs - patienceMs;
      if (!(lateMs > (latest?.lateMs ?? 0))) continue;
      const parent = about.other(piece, request.parent);
      if (parent !== undefined) latest = { piece, parent, lateMs };
    }
    if (latest !== undefined) this.#hedges += 1;
    return latest;
  }
}
