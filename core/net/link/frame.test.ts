import test from 'ava';
import * as fc from 'fast-check';
import { priorities } from '../../base/priority.ts';
import {
  FLAG_OPTIONAL,
  FLAG_URGENT,
  FRAME_HEADER_BYTES,
  MAX_BLOCK_BYTES,
  encodeFrame,
  frameTypes,
  judgeHeader,
  readHeader,
  readRequestFlags,
  requestFlags,
} from './frame.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

test('encodeFrame() and readHeader() agree on every field', (t) => {
  const fields = fc.record({
    type: fc.integer({ min: 0, max: 255 }),
    flags: fc.integer({ min: 0, max: 255 }),
    channel: fc.integer({ min: 0, max: 65_535 }),
    a: u32,
    b: u32,
  });
  fc.assert(
    fc.property(fields, fc.uint8Array({ maxLength: 100 }), (given, payload) => {
      const frame = encodeFrame(given, payload);
      const shifted = Buffer.concat([Buffer.from('xyz'), frame]);
      t.deepEqual(readHeader(shifted, 3), { ...given, length: payload.length });
      t.deepEqual(new Uint8Array(frame.subarray(FRAME_HEADER_BYTES)), payload);
    }),
  );
});

test('encodeFrame() counts the bytes of text, not its characters', (t) => {
  const frame = encodeFrame({ type: frameTypes.open }, 'ä');
  t.is(readHeader(frame, 0).length, 2);
  t.is(frame.length, FRAME_HEADER_BYTES + 2);
});

test('encodeFrame() copies from memory that threads share', (t) => {
  const shared = new Uint8Array(new SharedArrayBuffer(2)).fill(7);
  const frame = encodeFrame({ type: frameTypes.opened }, shared);
  t.deepEqual([...frame.subarray(FRAME_HEADER_BYTES)], [7, 7]);
});

test('requestFlags() and readRequestFlags() agree; a child that knows no classes asks for normal', (t) => {
  for (const priority of priorities) {
    for (const isUrgent of [false, true]) {
      const asked = { isUrgent, isRaw: !isUrgent, priority };
      t.deepEqual(readRequestFlags(requestFlags(asked)), asked);
      t.deepEqual(readRequestFlags(requestFlags(asked) | 0xf0), asked);
    }
  }
  t.is(requestFlags({ isUrgent: true, isRaw: false, priority: 'normal' }), FLAG_URGENT);
  t.is(requestFlags({ isUrgent: false, isRaw: false, priority: 'release' }), 6);
});

const header = { flags: 0, channel: 1, length: 0, a: 0, b: 0 };

test('judgeHeader() refuses what is longer than its type may be', (t) => {
  const data = { ...header, type: frameTypes.data };
  t.is(judgeHeader({ ...data, length: MAX_BLOCK_BYTES }), 'take');
  t.throws(() => judgeHeader({ ...data, length: MAX_BLOCK_BYTES + 1 }), { code: 'ERR_PROTOCOL' });
  for (const type of Object.values(frameTypes)) {
    const length = 0xffff_ffff;
    t.throws(() => judgeHeader({ ...header, type, length }), { code: 'ERR_PROTOCOL' });
  }
});

test('judgeHeader() skips an unknown type only when it is optional', (t) => {
  t.throws(() => judgeHeader({ ...header, type: 200 }), { code: 'ERR_PROTOCOL' });
  t.is(judgeHeader({ ...header, type: 200, flags: FLAG_OPTIONAL }), 'skip');
  const huge = { ...header, type: 200, flags: FLAG_OPTIONAL, length: 0xffff_ffff };
  t.throws(() => judgeHeader(huge), { code: 'ERR_PROTOCOL' });
});
