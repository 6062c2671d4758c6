import { CodedError } from '../base/error.ts';
import { peerIdPattern } from './peer-id.ts';

/** Reads the fields of an envelope's body, each checked; ERR_SIGNATURE names the field that is wrong. */
export class SignedBody {
  readonly #kind: string;
  readonly #fields: Readonly<Record<string, unknown>>;

  /** Every body carries `v`; only version 1 is known. Fields nobody asks for are ignored. */
  constructor(kind: string, fields: Readonly<Record<string, unknown>>) {
    this.#kind = kind;
    this.#fields = fields;
    if (fields['v'] !== 1) throw this.#wrong('v');
  }

  /** A string that `pattern` matches. */
  text(name: string, pattern: RegExp): string {
    const value = this.#own(name);
    if (typeof value !== 'string' || !pattern.test(value)) throw this.#wrong(name);
    return value;
  }

  /** A string that `pattern` matches, or undefined when the field is missing. */
  optionalText(name: string, pattern: RegExp): string | undefined {
    return this.#own(name) === undefined ? undefined : this.text(name, pattern);
  }

  peerId(name: string): string {
    return this.text(name, peerIdPattern);
  }

  /** One of `words`. */
  oneOf<Word extends string>(name: string, words: readonly Word[]): Word {
    const value = this.#own(name);
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw this.#wrong(name);
    return word;
  }

  /** A whole number from 0: a count, or a time in milliseconds since the epoch. */
  integer(name: string): number {
    const value = this.#own(name);
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
      throw this.#wrong(name);
    }
    return value;
  }

  /** A list of at most `max` items, each made by `parse`, which returns undefined for a wrong one. */
  list<Item>(
    name: string,
    parse: (value: unknown) => Item | undefined,
    options: { max: number },
  ): Item[] {
    const value = this.#own(name);
    if (!Array.isArray(value) || value.length > options.max) throw this.#wrong(name);
    return value.map((item: unknown) => {
      const parsed = parse(item);
      if (parsed === undefined) throw this.#wrong(name);
      return parsed;
    });
  }

  #own(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined;
  }

  #wrong(field: string): CodedError {
    return new CodedError('ERR_SIGNATURE', `the ${this.#kind} has a wrong field "${field}"`, {
      detail: { kind: this.#kind, field },
    });
  }
}
