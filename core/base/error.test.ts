import test from 'ava';
import { anything, assert, property } from 'fast-check';
import { errorCodes } from './error-codes.ts';
import { CodedError, isErrorCode, systemCode } from './error.ts';

function isPlain(value: unknown): boolean {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

test('CodedError crosses a wire with code, message and facts', (t) => {
  const error = new CodedError('ERR_BUSY', 'not now', { detail: { retryAfterMs: 5, peer: 'x' } });
  const object = error.toObject();
  t.like(object, { code: 'ERR_BUSY', class: 'system', retryable: true });
  const back = CodedError.fromObject(JSON.parse(JSON.stringify(object)) as typeof object);
  t.deepEqual(back.toObject(), object);
  t.is(back.message, 'not now');
});

test('CodedError.toObject() has no empty detail', (t) => {
  t.false('detail' in new CodedError('ERR_BUSY', 'not now').toObject());
});

test('CodedError.fromObject() takes an unknown code for a defect', (t) => {
  t.is(CodedError.fromObject({ code: 'ERR_NOVEL', message: '' }).code, 'ERR_INTERNAL');
  t.is(CodedError.fromObject({ code: 'toString', message: '' }).code, 'ERR_INTERNAL');
});

test('CodedError.fromObject() keeps of the detail what is plain, whatever was sent', (t) => {
  assert(
    property(anything(), (detail) => {
      const kept = CodedError.fromObject({ code: 'ERR_BUSY', message: '', detail }).detail;
      t.true(Object.values(kept).every(isPlain));
    }),
  );
});

test('CodedError.from() tells aborts, deadlines, coded errors and defects apart', (t) => {
  const coded = new CodedError('ERR_BUSY', 'not now');
  t.is(CodedError.from(coded), coded);
  const cases: [unknown, string][] = [
    [new DOMException('', 'AbortError'), 'ERR_INTERRUPTED'],
    [new DOMException('', 'TimeoutError'), 'ERR_TIMEOUT'],
    [new RangeError('oops'), 'ERR_INTERNAL'],
    ['oops', 'ERR_INTERNAL'],
    [undefined, 'ERR_INTERNAL'],
  ];
  for (const [error, code] of cases) {
    t.is<string, string>(CodedError.from(error).code, code);
    t.is(CodedError.from(error).cause, error);
  }
});

test('isErrorCode() knows the codes of the table and nothing else', (t) => {
  t.true(Object.keys(errorCodes).every((code) => isErrorCode(code)));
  t.false(isErrorCode('constructor'));
});

test('systemCode() finds the code of the system, if it is one', (t) => {
  t.is(systemCode(Object.assign(new Error(), { code: 'ENOENT' })), 'ENOENT');
  t.is(systemCode(Object.assign(new Error(), { code: 7 })), undefined);
  t.is(systemCode({ code: 'ENOENT' }), undefined);
});
