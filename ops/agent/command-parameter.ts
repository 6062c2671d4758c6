import type { RE2JS } from 're2js';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import {
  MAX_PATTERN_LENGTH,
  linearPattern,
  patternProblem,
} from '../../core/base/linear-pattern.ts';

/** Longest argument that a parameter takes unless it says otherwise, bytes of UTF-8. */
const DEFAULT_MAX_BYTES = 256;
const INTEGER = /^-?(?:0|[1-9][0-9]{0,15})$/;

const Name = Type.String({ pattern: '^[a-z][a-zA-Z0-9_-]{0,63}$' });

/** One argument that a caller gives, as the file of commands describes it: exactly one of pattern, values and type. */
export const ParameterSchema = Type.Object({
  name: Name,
  pattern: Type.Optional(Type.String({ minLength: 1, maxLength: MAX_PATTERN_LENGTH })),
  maxBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_536 })),
  values: Type.Optional(
    Type.Array(Type.String({ maxLength: 4_096 }), { minItems: 1, maxItems: 1_000 }),
  ),
  type: Type.Optional(Type.Literal('integer')),
  min: Type.Optional(Type.Integer()),
  max: Type.Optional(Type.Integer()),
  optional: Type.Optional(Type.Boolean()),
});
type ParameterFields = Static<typeof ParameterSchema>;

/** What one argument must be. */
export interface Parameter {
  readonly name: string;
  /** True: may be left out, with all that follow it. */
  readonly isOptional: boolean;
  /** Why the argument is refused, as the end of a sentence; undefined when it is not. */
  problemOf(argument: string): string | undefined;
}

/** The parameter with these fields; ERR_CONFIG, beginning with the path of the wrong field below the parameter. */
export function compileParameter(fields: ParameterFields): Parameter {
  const kinds = [fields.pattern, fields.values, fields.type].filter((kind) => kind !== undefined);
  if (kinds.length !== 1) throw wrong('', 'needs exactly one of pattern, values and type');
  refuseStrays(fields);
  return {
    name: fields.name,
    isOptional: fields.optional === true,
    problemOf: checkOf(fields),
  };
}

function checkOf(fields: ParameterFields): Parameter['problemOf'] {
  const { pattern, values, min, max, maxBytes = DEFAULT_MAX_BYTES } = fields;
  if (values !== undefined) {
    return (argument) => (values.includes(argument) ? undefined : 'is none of its values');
  }
  if (pattern === undefined) return integerCheck({ min, max });
  const compiled = compilePattern(pattern);
  return (argument) => {
    if (Buffer.byteLength(argument) > maxBytes) return `has more than ${maxBytes} bytes`;
    return compiled.matches(argument) ? undefined : 'does not match its pattern';
  };
}

function integerCheck(bounds: {
  min: number | undefined;
  max: number | undefined;
}): Parameter['problemOf'] {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = bounds;
  if (min > max) throw wrong('/min', 'is above max');
  return (argument) => {
    if (!INTEGER.test(argument)) return 'is no whole number';
    const value = Number(argument);
    return value >= min && value <= max ? undefined : `is not from ${min} to ${max}`;
  };
}

/** Linear time whatever the pattern; the whole argument has to match. */
function compilePattern(pattern: string): RE2JS {
  const problem = patternProblem(pattern);
  if (problem !== undefined) throw wrong('/pattern', problem);
  return linearPattern(pattern);
}

/** Bounds of a kind that the parameter is not of would hold nothing: whoever wrote them means something else. */
function refuseStrays({ pattern, type, maxBytes, min, max }: ParameterFields): void {
  if (maxBytes !== undefined && pattern === undefined) {
    throw wrong('/maxBytes', 'is for parameters with a pattern');
  }
  if (type !== undefined) return;
  if (min !== undefined) throw wrong('/min', 'is for parameters of type integer');
  if (max !== undefined) throw wrong('/max', 'is for parameters of type integer');
}

function wrong(path: string, problem: string): CodedError {
  return new CodedError('ERR_CONFIG', `${path}: ${problem}`, { detail: { path } });
}
