import type { Clock } from '../base/clock.ts';
import type { ByteSources, Explanation, SourceReport, WaitReport } from './download-events.ts';

interface SourceEntry {
  role: 'peer' | 'seed' | 'origin';
  address: string | undefined;
  pieces: number;
  bytes: number;
  savedBytes: number;
  wrongPieces: number;
  failures: number;
}

/** Sources and waits remembered for one task; past this the oldest facts stay and new ones are not added. */
const MAX_ENTRIES = 256;

/** Where the bytes of one task came from, and what it waited for: the record behind `--explain`. */
export class Ledger {
  readonly #sources = new Map<string, SourceEntry>();
  readonly #waits = new Map<string, number>();
  readonly #notes: string[] = [];
  /** Pieces that came, and are still here. */
  readonly #delivered = new Set<number>();
  readonly #clock: Clock;
  #waitingFor: { reason: string; sinceMs: number } | undefined;
  #duplicate = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Bytes fetched more than once. */
  get duplicate(): number {
    return this.#duplicate;
  }

  source(name: string, role: 'peer' | 'seed' | 'origin', address?: string): void {
    const known = this.#sources.get(name);
    if (known !== undefined) {
      known.role = role;
      known.address = address ?? known.address;
    } else if (this.#sources.size < MAX_ENTRIES) {
      const counts = { pieces: 0, bytes: 0, savedBytes: 0, wrongPieces: 0, failures: 0 };
      this.#sources.set(name, { role, address, ...counts });
    }
  }

  /** What kind of source it is; undefined for one that is not known. */
  roleOf(name: string): 'peer' | 'seed' | 'origin' | undefined {
    return this.#sources.get(name)?.role;
  }

  /** A piece came from there; false when it had come before, and was for nothing. */
  delivered(name: string, piece: number, bytes: number): boolean {
    if (this.#delivered.has(piece)) {
      this.duplicated(bytes);
      return false;
    }
    this.#delivered.add(piece);
    this.#credit(name, bytes);
    return true;
  }

  /** A piece that came is not here any more: it may come again. */
  lost(piece: number): void {
    this.#delivered.delete(piece);
  }

  #credit(name: string, bytes: number): void {
    const entry = this.#sources.get(name);
    if (entry === undefined) return;
    entry.pieces += 1;
    entry.bytes += bytes;
  }

  /** So much of what came from there did not have to travel. */
  saved(name: string, bytes: number): void {
    const entry = this.#sources.get(name);
    if (entry !== undefined) entry.savedBytes += Math.max(0, bytes);
  }

  wrongPiece(name: string): void {
    const entry = this.#sources.get(name);
    if (entry !== undefined) entry.wrongPieces += 1;
  }

  failure(name: string): void {
    const entry = this.#sources.get(name);
    if (entry !== undefined) entry.failures += 1;
  }

  /** Payload that came in vain: it was here already, or has to come once more. */
  duplicated(bytes: number): void {
    this.#duplicate += bytes;
  }

  note(text: string): void {
    if (this.#notes.length < MAX_ENTRIES && this.#notes.at(-1) !== text) this.#notes.push(text);
  }

  /** Starts to wait for `reason` (kept when it is the same), or ends the wait with undefined. */
  wait(reason: string | undefined): void {
    const now = this.#clock.monotonic();
    const current = this.#waitingFor;
    if (current?.reason === reason) return;
    if (
      current !== undefined &&
      (this.#waits.has(current.reason) || this.#waits.size < MAX_ENTRIES)
    ) {
      const known = this.#waits.get(current.reason) ?? 0;
      this.#waits.set(current.reason, known + now - current.sinceMs);
    }
    this.#waitingFor = reason === undefined ? undefined : { reason, sinceMs: now };
  }

  /** What it waits for now, and for how long already. */
  get waiting(): WaitReport | undefined {
    const current = this.#waitingFor;
    if (current === undefined) return undefined;
    return { reason: current.reason, ms: this.#clock.monotonic() - current.sinceMs };
  }

  bytesFrom(role: 'peer' | 'seed' | 'origin'): number {
    let bytes = 0;
    for (const entry of this.#sources.values()) if (entry.role === role) bytes += entry.bytes;
    return bytes;
  }

  /** Bytes by kind of source since `before`. */
  since(before: Omit<ByteSources, 'fromCache'>): Omit<ByteSources, 'fromCache'> {
    return {
      fromPeers: this.bytesFrom('peer') - before.fromPeers,
      fromSeed: this.bytesFrom('seed') - before.fromSeed,
      fromOrigin: this.bytesFrom('origin') - before.fromOrigin,
    };
  }

  explain(): Explanation {
    const sources: SourceReport[] = [...this.#sources].map(([source, entry]) => {
      const { address, savedBytes, ...counts } = entry;
      const saved = savedBytes === 0 ? {} : { savedBytes };
      return { source, ...counts, ...saved, ...(address === undefined ? {} : { address }) };
    });
    const waits = [...this.#waits].map(([reason, ms]) => ({ reason, ms: Math.round(ms) }));
    return {
      sources: sources.toSorted((a, b) => b.bytes - a.bytes),
      waits,
      notes: [...this.#notes],
    };
  }
}
