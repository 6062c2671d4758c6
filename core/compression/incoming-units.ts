import { CodedError } from '../base/error.ts';
import type { Compression } from './compression.ts';
import { UNIT_BYTES } from './unit.ts';

/** Units that one link may have begun and not ended: a sender puts one off for what matters more, of four classes. */
const MAX_BEGUN = 4;

/** What the fetches of one link share to take compressed units. */
export class UnitIntake {
  readonly compression: Compression;
  #begun = 0;

  constructor(compression: Compression) {
    this.compression = compression;
  }

  /** A unit comes in parts; throws ERR_PROTOCOL when too many do. */
  begin(): void {
    if (this.#begun === MAX_BEGUN) throw broken(`${MAX_BEGUN} units are begun and not ended`);
    this.#begun += 1;
  }

  end(): void {
    this.#begun -= 1;
  }
}

/** The compressed units of one piece on their way in: gathered, decompressed, and kept if the piece is right. */
export class IncomingUnits {
  readonly #intake: UnitIntake;
  readonly #about: { readonly key: string; readonly piece: number };
  readonly #whole = new Map<number, Uint8Array>();
  #gathered: Buffer | undefined;
  #bytes = 0;
  #held = 0;

  constructor(intake: UnitIntake, about: { readonly key: string; readonly piece: number }) {
    this.#intake = intake;
    this.#about = about;
  }

  /** True while a unit is begun and not whole. */
  get isWithin(): boolean {
    return this.#gathered !== undefined;
  }

  /**
   * Takes the next bytes of a compressed unit; `isEnd` says that it is whole. Throws ERR_PROTOCOL when it is longer
   * than what it can hold, or too many are begun.
   */
  take(part: Uint8Array, isEnd: boolean): Uint8Array | undefined {
    if (this.#bytes + part.length >= UNIT_BYTES) throw broken('a unit is longer than raw');
    if (isEnd && this.#gathered === undefined) return part;
    if (this.#gathered === undefined) this.#intake.begin();
    this.#gather(part);
    if (!isEnd) return undefined;
    const unit = this.#gathered?.subarray(0, this.#bytes);
    this.#reset();
    return unit;
  }

  /** The raw bytes of a whole unit, valid until the next call; throws ERR_PROTOCOL. */
  decompress(
    unit: Uint8Array,
    at: { readonly offset: number; readonly length: number },
  ): Uint8Array {
    const { compression } = this.#intake;
    const raw = compression.decompress(unit, at.length);
    if (compression.hold(unit.length)) {
      this.#held += unit.length;
      // The memory it lies in is used again.
      this.#whole.set(at.offset, new Uint8Array(unit));
    }
    return raw;
  }

  /** The piece is verified: its units may be sent on as they came. */
  keep(): void {
    for (const [offset, unit] of this.#whole) {
      this.#intake.compression.keep({ ...this.#about, offset }, unit);
    }
    this.drop();
  }

  /** Nothing of it is needed any more. */
  drop(): void {
    if (this.#gathered !== undefined) this.#reset();
    this.#whole.clear();
    this.#intake.compression.release(this.#held);
    this.#held = 0;
  }

  /** Doubling as bytes come: a unit that is only claimed costs nothing. */
  #gather(part: Uint8Array): void {
    const needed = this.#bytes + part.length;
    let held = this.#gathered;
    if (held === undefined || held.length < needed) {
      const grown = Buffer.allocUnsafe(Math.min(UNIT_BYTES, Math.max(2 * needed, 16_384)));
      held?.copy(grown, 0, 0, this.#bytes);
      held = grown;
    }
    held.set(part, this.#bytes);
    this.#gathered = held;
    this.#bytes = needed;
  }

  #reset(): void {
    this.#gathered = undefined;
    this.#bytes = 0;
    this.#intake.end();
  }
}

function broken(reason: string): CodedError {
  return new CodedError('ERR_PROTOCOL', reason, { detail: { reason } });
}
