import { LRUCache } from 'lru-cache';
import { openEnvelope } from './envelope.ts';

/** Largest record or ticket, bytes; a ticket's scope is most of it. */
const MAX_STATEMENT_BYTES = 8192;
/** Characters of envelopes remembered by each `Statements`: about 2,000 envelopes. */
const MAX_REMEMBERED = 1_048_576;

/** An envelope's content and signer, the signature checked. */
export interface Verified<T> {
  readonly value: T;
  readonly signer: string;
}

/** Opens envelopes of one kind and remembers those that were found good. */
export class Statements<T> {
  readonly kind: string;
  readonly #parse: (body: Readonly<Record<string, unknown>>) => T;
  readonly #known = new LRUCache<string, Verified<T>>({
    maxSize: MAX_REMEMBERED,
    sizeCalculation: (_verified, envelope) => envelope.length,
  });

  constructor(kind: string, parse: (body: Readonly<Record<string, unknown>>) => T) {
    this.kind = kind;
    this.#parse = parse;
  }

  /** Content and signer; ERR_SIGNATURE naming what is wrong. Whether the signer may say so is the caller's to judge. */
  open(envelope: string): Verified<T> {
    const known = this.#known.get(envelope);
    if (known !== undefined) return known;
    const { body, signer } = openEnvelope(envelope, this.kind, { maxBytes: MAX_STATEMENT_BYTES });
    return { value: this.#parse(body), signer };
  }

  /** Spares the next `open()` of this envelope its check; for what a trusted signer said. */
  remember(envelope: string, verified: Verified<T>): void {
    this.#known.set(envelope, verified);
  }
}
