import test from 'ava';
import { assert, integer, property } from 'fast-check';
import { pieceLengthFor } from '../../core/piece/piece-length.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { versionOf } from '../../core/piece/version.ts';
import type { TaskShape, TaskSpec } from '../../core/wire/messages.ts';
import { checkShape, checkTask } from './task-claims.ts';

const MIB = 1024 ** 2;
const TIB = 1024 ** 4;
const spec: TaskSpec = { url: 'https://origin/f' };
const validators = { etag: '"1"' };

/** The shape that a seed would give content of `length` bytes. */
function shapeOf(length: number | undefined, rest: Partial<TaskShape> = {}): TaskShape {
  const version = versionOf({ digest: undefined, validators, length });
  const known = length === undefined ? {} : { length };
  return { version, pieceLength: pieceLengthFor(length), ...known, validators, ...rest };
}

test('checkTask() takes the id of what is asked for, and no other', (t) => {
  t.notThrows(() => checkTask(taskIdOf(spec), spec));
  for (const other of [{ ...spec, tag: 'x' }, { url: 'https://origin/g' }]) {
    t.throws(() => checkTask(taskIdOf(spec), other), { code: 'ERR_REQUEST' });
  }
});

test('checkShape() takes the shape of content of any length that a link can carry', (t) => {
  assert(
    property(integer({ min: 0, max: 16 * TIB }), (length) => {
      t.notThrows(() => checkShape(shapeOf(length), spec));
    }),
  );
  t.notThrows(() => checkShape(shapeOf(undefined), spec));
  t.throws(() => checkShape(shapeOf(16 * TIB + 1), spec), { code: 'ERR_REQUEST' });
});

test('checkShape() takes a length that was learned when pieces had their length', (t) => {
  const open = shapeOf(undefined);
  t.notThrows(() => checkShape({ ...open, length: 100 * MIB }, spec));
});

test('checkShape() refuses a piece length that is not by the rule, naming it', (t) => {
  for (const pieceLength of [1024, 512 * 1024, 64 * MIB]) {
    t.throws(() => checkShape(shapeOf(100 * MIB, { pieceLength }), undefined), {
      code: 'ERR_REQUEST',
      message: /^\/shape\/pieceLength/,
    });
  }
});

test('checkShape() refuses a version that does not follow from validators and length', (t) => {
  for (const rest of [{ version: '0'.repeat(16) }, { validators: { etag: '"2"' } }]) {
    t.throws(() => checkShape(shapeOf(MIB, rest), spec), {
      code: 'ERR_REQUEST',
      message: /^\/shape\/version/,
    });
    t.notThrows(
      () => checkShape(shapeOf(MIB, rest), undefined),
      'without the request it is not known',
    );
  }
});

test('checkShape() holds a digest that names the whole against the version, and that of a range not', (t) => {
  const digest = `sha256:${'1'.repeat(64)}`;
  const named = { ...shapeOf(MIB), version: versionOf({ digest, validators, length: MIB }) };
  t.notThrows(() => checkShape(named, { ...spec, digest }));
  t.throws(() => checkShape(named, spec), { code: 'ERR_REQUEST' });
  t.throws(() => checkShape(shapeOf(MIB), { ...spec, digest }), { code: 'ERR_REQUEST' });
  t.notThrows(() => checkShape(shapeOf(MIB), { ...spec, digest, range: { start: 0 } }));
});

test('checkShape() takes any version of content that nothing tells from another', (t) => {
  const shape = { ...shapeOf(MIB), version: 'f'.repeat(16), validators: {} };
  t.notThrows(() => checkShape(shape, spec));
  t.notThrows(() => checkShape(shape, { ...spec, digest: `md5:${'1'.repeat(32)}` }));
});
