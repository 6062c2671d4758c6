// The words and signs of an expression about hosts, and how it is said what is wrong with it and where.
import { CodedError } from '../../core/base/error.ts';

/** Bounds of an expression. */
export const expressionLimits = {
  /** Characters. */
  length: 2_048,
  /** Parentheses and `not` within each other. */
  depth: 32,
  /** Of `like`: characters and stars of a pattern. */
  pattern: 128,
  stars: 8,
} as const;

/** One word, quoted text or sign. */
export interface Token {
  readonly kind: 'word' | 'text' | 'sign' | 'end';
  readonly text: string;
  /** Of its first character, from 0. */
  readonly at: number;
}

const TOKEN =
  /\s*(?:(?<text>"[^"]*"|'[^']*')|(?<sign><=|>=|!=|==|[=<>(),])|(?<word>[\w.:/@+%*-]+))/y;
const MAX_SHOWN = 60;

/** Walks over the tokens of an expression. ERR_REQUEST for what is none, and for a text that is too long. */
export class TokenReader {
  readonly #text: string;
  #next: Token;
  #end = 0;

  constructor(text: string) {
    if (text.length > expressionLimits.length) {
      const message = `where: longer than ${expressionLimits.length} characters`;
      throw new CodedError('ERR_REQUEST', message, { detail: { path: 'where' } });
    }
    this.#text = text;
    this.#next = this.#read();
  }

  /** The token that comes. */
  get next(): Token {
    return this.#next;
  }

  /** The token that comes, and goes on to the one after it. */
  take(): Token {
    const token = this.#next;
    this.#next = this.#read();
    return token;
  }

  /** Takes the sign or the word (in any case) if it comes. */
  takes(text: string): boolean {
    const { kind } = this.#next;
    if (kind !== 'sign' && kind !== 'word') return false;
    if (this.#next.text.toLowerCase() !== text) return false;
    this.take();
    return true;
  }

  /** ERR_REQUEST with the place of a token, counted from 1, also in `detail.position`. */
  wrong({ kind, text, at }: Token, why: string): CodedError {
    const position = at + 1;
    const shown = kind === 'end' ? 'the end' : JSON.stringify(text.slice(0, MAX_SHOWN));
    return new CodedError('ERR_REQUEST', `where: at character ${position}, ${shown}: ${why}`, {
      detail: { path: 'where', position },
    });
  }

  #read(): Token {
    const rest = /\S/g;
    rest.lastIndex = this.#end;
    const at = rest.exec(this.#text)?.index;
    if (at === undefined) return { kind: 'end', text: '', at: this.#text.length };
    TOKEN.lastIndex = this.#end;
    const groups = TOKEN.exec(this.#text)?.groups;
    if (groups === undefined) {
      const odd: Token = { kind: 'sign', text: this.#text[at] ?? '', at };
      const isQuote = odd.text === '"' || odd.text === "'";
      throw this.wrong(odd, isQuote ? 'the text that begins here has no end' : 'not understood');
    }
    this.#end = TOKEN.lastIndex;
    const { text, sign, word = '' } = groups;
    if (text !== undefined) return { kind: 'text', text: text.slice(1, -1), at };
    return sign === undefined ? { kind: 'word', text: word, at } : { kind: 'sign', text: sign, at };
  }
}
