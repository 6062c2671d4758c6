import { LRUCache } from 'lru-cache';

/** Which unit of which version of which task. */
export interface UnitName {
  /** `task/version`. */
  readonly key: string;
  readonly piece: number;
  /** Of the raw bytes in the piece. */
  readonly offset: number;
}

/** What an entry counts for besides its bytes: its key and the maps it stands in. */
const ENTRY_BYTES = 256;

/** What is known of units: their compressed form, or that they have none. What was used longest ago goes first. */
export class UnitCache {
  readonly #units: LRUCache<string, Uint8Array>;

  constructor(maxBytes: number) {
    this.#units = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (unit) => unit.length + ENTRY_BYTES,
    });
  }

  /** Bytes held. */
  get bytes(): number {
    return this.#units.calculatedSize;
  }

  /** The compressed form; empty when the unit does not compress; undefined when nothing is known. */
  get(name: UnitName): Uint8Array | undefined {
    return this.#units.get(nameOf(name));
  }

  has(name: UnitName): boolean {
    return this.#units.has(nameOf(name));
  }

  /** Keeps a compressed form, which must not be written to after; an empty one says that there is none. */
  set(name: UnitName, unit: Uint8Array): void {
    this.#units.set(nameOf(name), unit);
  }

  /** Forgets pieces of a version, or all of it. */
  forget(key: string, pieces?: readonly number[]): void {
    const wanted = pieces === undefined ? undefined : new Set(pieces);
    for (const name of this.#units.keys()) {
      if (!name.startsWith(`${key}/`)) continue;
      const piece = Number(name.slice(key.length + 1).split('/')[0]);
      if (wanted === undefined || wanted.has(piece)) this.#units.delete(name);
    }
  }

  clear(): void {
    this.#units.clear();
  }
}

function nameOf({ key, piece, offset }: UnitName): string {
  return `${key}/${piece}/${offset}`;
}
