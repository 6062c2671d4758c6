import { CodedError } from '../../core/base/error.ts';
import type { OpenContent } from '../../core/swarm/open-content.ts';
import { RunningDigest } from '../../core/swarm/worker/running-digest.ts';

/** The digest of a whole body of which a part did not come through the mesh, checked before its end is given. */
export class BodyCheck {
  readonly #expected: string;
  readonly #actual: RunningDigest;

  constructor(expected: string) {
    this.#expected = expected.toLowerCase();
    this.#actual = new RunningDigest(this.#expected.slice(0, this.#expected.indexOf(':')));
  }

  /** A check that has seen the first `bytes` of the content, which are verified and on disk. */
  static async after(
    bytes: number,
    about: { readonly content: OpenContent; readonly digest: string },
    options: { readonly signal: AbortSignal },
  ): Promise<BodyCheck> {
    const check = new BodyCheck(about.digest);
    if (bytes === 0) return check;
    for await (const chunk of about.content.read(
      { start: 0, end: bytes },
      { ...options, stallMs: 1 },
    ))
      check.update(chunk);
    return check;
  }

  update(chunk: Uint8Array): void {
    this.#actual.update(chunk);
  }

  /** Throws ERR_DIGEST_MISMATCH when what was seen is not the content. */
  require(): void {
    const actual = this.#actual.text();
    if (actual === this.#expected) return;
    const message = `the body is ${actual}, not ${this.#expected}`;
    throw new CodedError('ERR_DIGEST_MISMATCH', message, {
      detail: { expected: this.#expected, actual },
    });
  }
}

/** `chunks` without the last as long as `check` has not found all of them right; no check, no delay. */
export async function* heldBack(
  chunks: AsyncIterable<Uint8Array>,
  checkOf: () => BodyCheck | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Uint8Array | undefined;
  for await (const chunk of chunks) {
    const check = checkOf();
    check?.update(chunk);
    if (held !== undefined) yield held;
    held = check === undefined ? undefined : chunk;
    if (check === undefined) yield chunk;
  }
  checkOf()?.require();
  if (held !== undefined) yield held;
}
