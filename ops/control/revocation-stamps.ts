import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import type { CellMap } from '../../core/identity/cell.ts';
import type { StampedList } from '../../core/identity/revocation-age.ts';
import { digestOfRevoked, issueRevocationStamp } from '../../core/identity/revocation-stamp.ts';
import type { ControlKey } from './control-key.ts';

/** How often hosts are told that the list is still the same: a quarter of the least age that a host may ask for. */
export const restampMs = 3_600_000;
/** One that is younger is good enough for a host that comes. */
const REUSE_MS = restampMs / 2;

export interface RevocationStampsParts {
  readonly control: ControlKey;
  /** Cell id. */
  readonly cell: string;
  readonly clock: Clock;
  readonly log: Log;
}

interface Made {
  readonly map: CellMap;
  readonly issued: number;
  readonly digest: string;
  readonly list: StampedList;
}

/** Dates the revocations of the cell with the control key. */
export class RevocationStamps {
  readonly #parts: RevocationStampsParts;
  #last: Made | undefined;
  #isSilent = false;

  constructor(parts: RevocationStampsParts) {
    this.#parts = parts;
  }

  /** That the list of `map` is in force now, or was a moment ago; undefined while the control key has no certificate. */
  of(map: CellMap): StampedList | undefined {
    const last = this.#last;
    const ageMs = last === undefined ? 0 : this.#now() - last.issued;
    if (last?.map === map && ageMs >= 0 && ageMs < REUSE_MS) return last.list;
    return this.anew(map);
  }

  /** That the list of `map` is in force now. */
  anew(map: CellMap): StampedList | undefined {
    const { control, cell, log } = this.#parts;
    try {
      const { certificate } = control;
      const issued = this.#now();
      const digest = this.#last?.map === map ? this.#last.digest : digestOfRevoked(map.revoked);
      const stamp = issueRevocationStamp(control.key, { cell, epoch: map.epoch, digest, issued });
      const list = { stamp, certificate };
      this.#last = { map, issued, digest, list };
      this.#isSilent = false;
      return list;
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      if (!this.#isSilent) log.error({ code, reason }, 'revocations are not dated');
      this.#isSilent = true;
      return undefined;
    }
  }

  #now(): number {
    return Math.round(this.#parts.clock.now());
  }
}
