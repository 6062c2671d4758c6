const BLOCK = new Uint8Array(1024 * 1024);

/** So many zeros, in chunks of at most 1 MiB that are one and the same. */
export function* zeros(length: number): Generator<Uint8Array, void, undefined> {
  for (let left = length; left > 0; left -= BLOCK.length) {
    yield left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
  }
}
