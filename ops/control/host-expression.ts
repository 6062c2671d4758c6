// What hosts are asked for, as text: comparisons of a value with what is written, joined by `and`, `or`, `not` and
// parentheses. It is parsed into closures, never run as code; judging a host takes time in proportion to the text.
import { nearest } from '../../core/base/did-you-mean.ts';
import { expressionLimits, TokenReader } from './expression-tokens.ts';
import type { Token } from './expression-tokens.ts';
import { parseComparison } from './host-comparison.ts';
import type { Condition, Truth } from './host-comparison.ts';
import { isValueName, valueNames } from './host-values.ts';
import type { ValueName } from './host-values.ts';

/** A parsed expression. */
export interface HostExpression {
  /** Values that it speaks of, in the order of the text, each once. */
  readonly names: readonly ValueName[];
  readonly test: Condition;
}

/** ERR_REQUEST with the place of what is wrong, counted from 1, also in `detail.position`. */
export function parseExpression(text: string): HostExpression {
  return new ExpressionParser(text).whole();
}

class ExpressionParser {
  readonly #tokens: TokenReader;
  readonly #names = new Set<ValueName>();
  #depth = 0;

  constructor(text: string) {
    this.#tokens = new TokenReader(text);
  }

  whole(): HostExpression {
    const test = this.#or();
    const { next } = this.#tokens;
    if (next.kind !== 'end') throw this.#tokens.wrong(next, 'expected "and", "or" or the end');
    return { names: [...this.#names], test };
  }

  #or(): Condition {
    const parts = [this.#and()];
    while (this.#tokens.takes('or')) parts.push(this.#and());
    return joined(parts, { deciding: true });
  }

  #and(): Condition {
    const parts = [this.#not()];
    while (this.#tokens.takes('and')) parts.push(this.#not());
    return joined(parts, { deciding: false });
  }

  #not(): Condition {
    const tokens = this.#tokens;
    const first = tokens.next;
    if (tokens.takes('not')) {
      const inner = this.#deeper(first, () => this.#not());
      return (values) => negated(inner(values));
    }
    if (!tokens.takes('(')) return this.#comparison();
    const inner = this.#deeper(first, () => this.#or());
    if (tokens.takes(')')) return inner;
    throw tokens.wrong(tokens.next, `expected ")" for the "(" at character ${first.at + 1}`);
  }

  #comparison(): Condition {
    const tokens = this.#tokens;
    const token = tokens.take();
    const { kind, text } = token;
    if (kind !== 'word') throw tokens.wrong(token, 'expected the name of a value, "not" or "("');
    if (!isValueName(text)) {
      const near = nearest(text, valueNames);
      const hint = near === undefined ? '' : ` Did you mean ${near}?`;
      throw tokens.wrong(
        token,
        `no value has this name.${hint} There are ${valueNames.join(', ')}`,
      );
    }
    this.#names.add(text);
    return parseComparison(tokens, text);
  }

  #deeper(token: Token, parse: () => Condition): Condition {
    if (this.#depth >= expressionLimits.depth) {
      throw this.#tokens.wrong(token, `more than ${expressionLimits.depth} within each other`);
    }
    this.#depth += 1;
    const inner = parse();
    this.#depth -= 1;
    return inner;
  }
}

/** `or` (deciding: true) or `and` (deciding: false) of parts: one that decides is enough, whatever is not known. */
function joined(
  parts: readonly Condition[],
  { deciding }: { readonly deciding: boolean },
): Condition {
  return (values) => {
    let truth: Truth = !deciding;
    for (const part of parts) {
      const one = part(values);
      if (one === deciding) return deciding;
      if (one === undefined) truth = undefined;
    }
    return truth;
  };
}

function negated(truth: Truth): Truth {
  return truth === undefined ? undefined : !truth;
}
