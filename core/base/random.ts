/** Chance as the programs see it; everything that rolls dice is handed one. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** An integer in [0, below). */
  below(below: number): number;
}

/** The machine's randomness (not for keys: those come from `node:crypto`). */
export class SystemRandom implements Random {
  next(): number {
    return Math.random();
  }

  below(below: number): number {
    return Math.floor(Math.random() * below);
  }
}

/** The same sequence for the same seed (mulberry32), for tests and simulation. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(below: number): number {
    return Math.floor(this.next() * below);
  }
}

/** `bytes` random bytes as lower-case hex, fit for nonces and secrets. */
export function randomHex(bytes: number): string {
  // Not imported: loading it takes 5 ms, and dfget, which starts for every file, needs no secret.
  return process.getBuiltinModule('node:crypto').randomBytes(bytes).toString('hex');
}

/** Sixteen hex digits that nobody else has, for the names of files; no secret, and not to be kept as one. */
export function randomName(): string {
  return [Math.random(), Math.random()]
    .map((chance) =>
      Math.floor(chance * 2 ** 32)
        .toString(16)
        .padStart(8, '0'),
    )
    .join('');
}
