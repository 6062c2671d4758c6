/** What was answered; `other` is all that is passed through: tags, referrers, the ping. */
export type AnswerKind = 'blob' | 'manifest' | 'other';

/** Where the answer came from: bytes complete on this host, the mesh, the registry itself; `failed`: none could be had. */
export type AnswerSource = 'cache' | 'mesh' | 'direct' | 'failed';

/** One kind of answer and how many there were. */
export interface AnswerCount {
  readonly kind: AnswerKind;
  readonly source: AnswerSource;
  readonly answers: number;
  /** Of bodies, as sent to clients. */
  readonly bytes: number;
}

/** Counts what the registry mirror answered since the start. */
export class RegistryCounts {
  readonly #counts = new Map<string, { kind: AnswerKind; source: AnswerSource } & Sum>();

  /** One more answer has begun. */
  answered(kind: AnswerKind, source: AnswerSource): void {
    this.#of(kind, source).answers += 1;
  }

  sent(kind: AnswerKind, source: AnswerSource, bytes: number): void {
    if (bytes > 0) this.#of(kind, source).bytes += bytes;
  }

  /** All that are not zero. */
  all(): readonly AnswerCount[] {
    return [...this.#counts.values()];
  }

  #of(kind: AnswerKind, source: AnswerSource): Sum {
    const key = `${kind}/${source}`;
    const known = this.#counts.get(key);
    if (known !== undefined) return known;
    const fresh = { kind, source, answers: 0, bytes: 0 };
    this.#counts.set(key, fresh);
    return fresh;
  }
}

interface Sum {
  answers: number;
  bytes: number;
}
