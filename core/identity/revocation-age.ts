// How old the revocations are that a host knows. It holds the newest stamp that it has verified, and so knows when the
// list of its cell map was last the one in force. Whoever keeps newer lists from it, or newer stamps, only makes what it
// knows grow old.
import { CodedError } from '../base/error.ts';
import type { CellMap } from './cell.ts';
import { openControlCertificate } from './control-certificate.ts';
import type { ControlCertificate } from './control-certificate.ts';
import { digestOfRevoked, openRevocationStamp } from './revocation-stamp.ts';
import type { RevocationStamp } from './revocation-stamp.ts';
import { expiryLeewayMs } from './trust.ts';
import type { CellTrust } from './trust.ts';

/** A stamp, and what makes a host believe who signed it. */
export interface StampedList {
  /** Envelope of the stamp. */
  readonly stamp: string;
  /** Envelope of the certificate of the control key. */
  readonly certificate: string;
}

/** What is asked of a list: how old it may be, in ms, and at what time of the cell. */
export interface AgeLimit {
  readonly now: number;
  readonly maxAgeMs: number;
  /** The epoch that whoever asks knows to be in force; absent: he knows of none. */
  readonly epoch?: number | undefined;
}

/** How far a stamp may lie in the future: clocks of a cell are set right by that much now and then. */
const MAX_AHEAD_MS = 15 * 60_000;

interface Known extends StampedList {
  readonly value: RevocationStamp;
  readonly signer: string;
}

/** The age of the revocation list in a host's trust. */
export class RevocationAge {
  readonly #trust: CellTrust;
  #known: Known | undefined;
  #digest: { readonly of: CellMap; readonly text: string } | undefined;

  constructor(trust: CellTrust) {
    this.#trust = trust;
  }

  /** The newest stamp that was verified. */
  toData(): StampedList | undefined {
    if (this.#known === undefined) return undefined;
    const { stamp, certificate } = this.#known;
    return { stamp, certificate };
  }

  /**
   * Takes a newer stamp; false when it is not newer. ERR_SIGNATURE when no control key of the cell in good standing at
   * `now` (ms of cell time) signed it.
   */
  take(list: StampedList, now: number): boolean {
    const { known, certificate } = this.#open(list);
    if (this.#trust.isRevoked(known.signer)) throw refused('signed by a key that is revoked');
    const { notBefore, expires } = certificate;
    if (now < notBefore - expiryLeewayMs || now >= expires + expiryLeewayMs) {
      throw refused('signed by a key whose certificate does not hold now');
    }
    if (!this.#isNewer(known.value, now)) return false;
    this.#known = known;
    return true;
  }

  /** Takes what `toData()` gave, whatever the time is now; ERR_SIGNATURE when a signature of it is wrong. */
  recall(list: StampedList): void {
    this.#known = this.#open(list).known;
  }

  /**
   * Why the list may not be the one in force, as a sentence without its end; undefined when it is young enough. A cell
   * that never dated its list has nothing that could grow old, as long as `epoch` is not given either.
   */
  problem({ now, maxAgeMs, epoch }: AgeLimit): string | undefined {
    const held = this.#trust.cellMap()?.epoch ?? 0;
    if (epoch !== undefined && held < epoch) {
      return 'a newer list of revocations is in force than this host was given';
    }
    if (this.#known === undefined) {
      return epoch === undefined
        ? undefined
        : 'this host was never given a dated list of revocations';
    }
    const { value, signer } = this.#known;
    if (this.#trust.isRevoked(signer)) return 'who dated the list of revocations is revoked';
    if (held < value.epoch)
      return 'this host was told of a newer list of revocations, and not given it';
    if (this.#heldDigest() !== value.digest) {
      return 'the list of revocations of this host is another than the control key dated';
    }
    const ageMs = now - value.issued;
    if (ageMs < -MAX_AHEAD_MS) return 'the list of revocations is dated in the future';
    if (ageMs <= maxAgeMs) return undefined;
    return `the newest list of revocations of this host is ${hoursOf(ageMs)} old, and may be ${hoursOf(maxAgeMs)}`;
  }

  #open(list: StampedList): { known: Known; certificate: ControlCertificate } {
    const { cell } = this.#trust;
    const certificate = openControlCertificate(list.certificate, cell);
    const { stamp: value, signer } = openRevocationStamp(list.stamp);
    if (signer !== certificate.control) {
      throw refused('signed by another key than its certificate is of');
    }
    if (value.cell !== cell) throw refused('of another cell');
    return { known: { ...list, value, signer }, certificate };
  }

  /** By version, and by time among those of one version. What counts for nothing any more gives way to either. */
  #isNewer({ epoch, issued }: RevocationStamp, now: number): boolean {
    if (this.#known === undefined || this.#trust.isRevoked(this.#known.signer)) return true;
    const { value } = this.#known;
    if (epoch !== value.epoch) return epoch > value.epoch;
    return issued > value.issued || value.issued > now + MAX_AHEAD_MS;
  }

  #heldDigest(): string | undefined {
    const map = this.#trust.cellMap();
    if (map === undefined) return undefined;
    if (this.#digest?.of !== map) {
      this.#digest = { of: map, text: digestOfRevoked(map.revoked) };
    }
    return this.#digest.text;
  }
}

function hoursOf(ms: number): string {
  return `${(ms / 3_600_000).toFixed(1)} h`;
}

function refused(problem: string): CodedError {
  return new CodedError('ERR_SIGNATURE', `the date of the revocations is ${problem}`, {
    detail: { kind: 'revocations' },
  });
}
