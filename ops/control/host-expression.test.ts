import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../../core/base/error.ts';
import { expressionLimits } from './expression-tokens.ts';
import { parseExpression } from './host-expression.ts';
import { hostValues, valueNames } from './host-values.ts';
import type { HostValues, ValueName } from './host-values.ts';

const GIB = 1024 ** 3;
const web: HostValues = {
  peer: 'p1',
  hostname: 'web-1',
  arch: 'x64',
  kernel: '6.1.0-13-amd64',
  cpus: 4,
  load1: 0.25,
  memoryBytes: 8 * GIB,
  memoryAvailableBytes: 3 * GIB,
  memoryUsedPercent: 62.5,
  uptimeSeconds: 5_400,
};

/** Whether a host fits, or how the text is refused. */
function judge(text: string, values: HostValues = web): boolean | undefined | string {
  try {
    return parseExpression(text).test(values);
  } catch (error) {
    const { code, message } = CodedError.from(error);
    return `${code} ${message}`;
  }
}

test('values are compared in their own unit', (t) => {
  t.true(judge('memoryAvailableBytes < 4GiB'));
  t.true(judge('memoryAvailableBytes=3GiB'));
  t.true(judge('memoryAvailableBytes >= 3221225472'));
  t.false(judge('memoryAvailableBytes > 3g'));
  t.true(judge('memoryUsedPercent > 62%'));
  t.true(judge('memoryUsedPercent = 62.5'));
  t.true(judge('uptimeSeconds = 1h30m'));
  t.false(judge('uptimeSeconds <= 500ms'));
  t.true(judge('load1 <= 0.25'));
  t.true(judge('cpus in (2, 4, 8)'));
  t.true(judge('cpus not in (2, 8)'));
  t.true(judge('cpus != 3'));
});

test('text is equal to plain words and quoted text, one of a list, or like a pattern', (t) => {
  t.true(judge('arch = x64'));
  t.true(judge('arch == "x64"'));
  t.true(judge("arch != 'arm64'"));
  t.true(judge('kernel=6.1.0-13-amd64'));
  t.true(judge('hostname like web-*'));
  t.true(judge('hostname like "w*b*1"'));
  t.true(judge('hostname not like "db-*"'));
  t.true(judge('hostname in (web-2, "web-1")'));
  t.false(judge('hostname = "and"'));
});

test('"not" binds closest and "or" least; parentheses are what they are elsewhere', (t) => {
  t.true(judge('arch = x64 or arch = arm64 and cpus = 1'));
  t.false(judge('(arch = x64 or arch = arm64) and cpus = 1'));
  t.false(judge('not arch = x64 and cpus = 4'));
  t.true(judge('NOT (arch = x64 AND cpus = 1) Or cpus = 9'));
  t.true(judge('not not arch = x64'));
});

test('what is not known of a host makes neither true nor false, unless the rest decides', (t) => {
  t.is(judge('rootFreeBytes < 1GiB'), undefined);
  t.is(judge('not rootFreeBytes < 1GiB'), undefined);
  t.is(judge('rootFreeBytes != 0'), undefined);
  t.is(judge('idc in (hz)'), undefined);
  t.is(judge('idc not like "h*"'), undefined);
  t.is(judge('rootFreeBytes < 1GiB and arch = x64'), undefined);
  t.false(judge('rootFreeBytes < 1GiB and arch = arm64'));
  t.true(judge('rootFreeBytes < 1GiB or arch = x64'));
  t.is(judge('rootFreeBytes < 1GiB or arch = arm64'), undefined);
});

test('an error says where it is, and what is expected there', (t) => {
  const names = valueNames.join(', ');
  const wrong: readonly (readonly [string, string])[] = [
    ['', '1, the end: expected the name of a value, "not" or "("'],
    ['memory < 1', `1, "memory": no value has this name. There are ${names}`],
    [
      'arch = x64 and memorybytes > 1',
      `16, "memorybytes": no value has this name. Did you mean memoryBytes? There are ${names}`,
    ],
    ['toString = 1', `1, "toString": no value has this name. There are ${names}`],
    ['arch', '5, the end: expected = != < <= > >= in or like'],
    ['arch ~ x', '6, "~": not understood'],
    ['arch = "x64', '8, "\\"": the text that begins here has no end'],
    ['arch =', '7, the end: expected text, in quotes where it is not one plain word'],
    ['arch = and', '8, "and": expected text, in quotes where it is not one plain word'],
    ['arch > a', '6, ">": arch is text: use = != in or like'],
    ['cpus like 4', '6, "like": cpus is no text: use = != < <= > >= or in'],
    ['cpus > 4GiB', '8, "4GiB": expected a number'],
    ['memoryBytes > 10%', '15, "10%": expected a size, as 4GiB, 512MiB or a number of bytes'],
    ['uptimeSeconds > 90', '17, "90": expected a time, as 90s, 1h30m or 7d'],
    ['rootUsedPercent > 9GiB', '19, "9GiB": expected a share, as 90%'],
    ['(arch = x64', '12, the end: expected ")" for the "(" at character 1'],
    ['arch = x64)', '11, ")": expected "and", "or" or the end'],
    ['arch = x64 arm64', '12, "arm64": expected "and", "or" or the end'],
    ['arch in x64', '9, "x64": expected a list, as (a, b)'],
    ['arch in (x64', '13, the end: expected "," or ")" in a list'],
    ['arch in ()', '10, ")": expected text, in quotes where it is not one plain word'],
    ['arch not = x', '10, "=": expected "in" or "like" after "not"'],
    ['arch like "*********"', '11, "*********": a pattern has at most 128 characters and 8 stars'],
  ];
  for (const [text, why] of wrong) t.is(judge(text), `ERR_REQUEST where: at character ${why}`);
  t.throws(() => parseExpression('cpus = x'), {
    instanceOf: CodedError,
    message: /character 8/,
  });
});

test('length and depth of an expression are bounded', (t) => {
  const { depth, length } = expressionLimits;
  t.true(judge(`${'('.repeat(depth)}cpus = 4${')'.repeat(depth)}`));
  t.regex(String(judge(`${'('.repeat(depth + 1)}cpus = 4`)), /more than 32 within each other/);
  t.regex(String(judge(`${'not '.repeat(depth + 1)}cpus = 4`)), /more than 32 within each other/);
  const long = `hostname = "${'x'.repeat(length)}"`;
  t.is(judge(long), `ERR_REQUEST where: longer than ${length} characters`);
  const pairs = Array.from({ length: 200 }, () => 'cpus=4').join(' or ');
  t.true(pairs.length <= length && judge(pairs) === true);
});

test('names are told in the order of the text, each once', (t) => {
  const { names } = parseExpression('load1 > 1 or (cpus = 4 and not load1 = 0) or idc = hz');
  t.deepEqual(names, ['load1', 'cpus', 'idc']);
});

/** An expression with what it comes to, worked out beside it. */
interface Case {
  readonly text: string;
  readonly truth: boolean | undefined;
}

const numbers = fc.constantFrom<ValueName>('cpus', 'load1', 'load5');
const operators: Readonly<Record<string, (one: number, other: number) => boolean>> = {
  '=': (one, other) => one === other,
  '!=': (one, other) => one !== other,
  '<': (one, other) => one < other,
  '<=': (one, other) => one <= other,
  '>': (one, other) => one > other,
  '>=': (one, other) => one >= other,
};
const host = fc.record(
  { cpus: fc.nat(3), load1: fc.nat(3), load5: fc.nat(3) },
  { requiredKeys: ['cpus'] },
);

/** Any expression over those numbers, and what it comes to of a host, by truth tables. */
function casesFor(values: HostValues): fc.Arbitrary<Case> {
  const leaf = fc
    .tuple(numbers, fc.constantFrom(...Object.keys(operators)), fc.nat(3))
    .map(([name, operator, bound]) => {
      const value = values[name];
      const truth = value === undefined ? undefined : operators[operator]?.(Number(value), bound);
      return { text: `${name} ${operator} ${bound}`, truth };
    });
  const { whole } = fc.letrec<{ whole: Case }>((tie) => ({
    whole: fc.oneof(
      { maxDepth: 5 },
      leaf,
      tie('whole').map(({ text, truth }) => ({
        text: `not (${text})`,
        truth: truth === undefined ? undefined : !truth,
      })),
      fc.tuple(tie('whole'), tie('whole')).map(([one, other]) => ({
        text: `(${one.text}) and (${other.text})`,
        truth: conjunction([one.truth, other.truth]),
      })),
      fc.tuple(tie('whole'), tie('whole')).map(([one, other]) => ({
        text: `(${one.text}) or (${other.text})`,
        truth: disjunction([one.truth, other.truth]),
      })),
    ),
  }));
  return whole;
}

function conjunction(truths: readonly (boolean | undefined)[]): boolean | undefined {
  if (truths.includes(false)) return false;
  return truths.includes(undefined) ? undefined : true;
}

function disjunction(truths: readonly (boolean | undefined)[]): boolean | undefined {
  if (truths.includes(true)) return true;
  return truths.includes(undefined) ? undefined : false;
}

test('an expression comes to what its truth table says', (t) => {
  const property = fc.property(
    host.chain((values) => casesFor(values).map((one) => ({ ...one, values }))),
    ({ text, truth, values }) => parseExpression(text).test(values) === truth,
  );
  fc.assert(property, { numRuns: 500 });
  t.pass();
});

const VOCABULARY =
  `( ) , = != < >= and or not in like cpus arch memoryBytes 4 4GiB 90% 7d * "a" ' __proto__ constructor ü \u0000`.split(
    ' ',
  );

test('any text is an expression or an ERR_REQUEST with a place in it', (t) => {
  const words = fc.constantFrom(...VOCABULARY);
  const text = fc.oneof(
    fc.array(words, { maxLength: 60 }).map((all) => all.join(' ')),
    fc.string({ unit: 'binary', maxLength: 200 }),
  );
  const property = fc.property(text, (anything) => {
    try {
      const { names, test: condition } = parseExpression(anything);
      condition({});
      return names.length > 0 && names.every((name) => Object.hasOwn(hostValues, name));
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'ERR_REQUEST') throw error;
      const position = Number(error.detail['position']);
      return position >= 1 && position <= anything.length + 1;
    }
  });
  fc.assert(property, { numRuns: 3_000 });
  t.pass();
});
