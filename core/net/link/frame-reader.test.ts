import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../../base/error.ts';
import {
  FLAG_OPTIONAL,
  MAX_BLOCK_BYTES,
  MAX_MANIFEST_BYTES,
  encodeFrame,
  frameTypes,
  writeHeader,
} from './frame.ts';
import { FrameReader, PART_BYTES } from './frame-reader.ts';
import type { FrameHandler } from './frame-reader.ts';
import { Receiver } from './receiver.ts';

/** What comes out: control frames whole, DATA joined again. */
class Recorder implements FrameHandler {
  readonly frames: { type: number; a: number; payload: Buffer }[] = [];
  parts = 0;

  onFrame(header: { type: number; a: number }, payload: Uint8Array): void {
    this.frames.push({ type: header.type, a: header.a, payload: Buffer.from(payload) });
  }

  onData(header: { type: number; a: number }, at: number, part: Uint8Array): void {
    this.parts += 1;
    if (at === 0) this.frames.push({ type: header.type, a: header.a, payload: Buffer.alloc(0) });
    const frame = this.frames.at(-1);
    if (frame === undefined || frame.payload.length !== at) throw new Error('parts out of order');
    frame.payload = Buffer.concat([frame.payload, part]);
  }
}

const frame = fc
  .record({
    type: fc.constantFrom(frameTypes.open, frameTypes.have, frameTypes.data, frameTypes.manifest),
    a: fc.nat(),
    length: fc.oneof(fc.constant(0), fc.nat(300), fc.nat(12_000)),
  })
  .map(({ type, a, length }) => ({ type, a, payload: Buffer.alloc(length, a & 0xff) }));

test('FrameReader finds the same frames however the stream is cut', (t) => {
  const cuts = fc.array(fc.oneof(fc.nat(20), fc.nat(9000)), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 8 }), cuts, (frames, sizes) => {
      const stream = Buffer.concat(
        frames.map(({ type, a, payload }) => encodeFrame({ type, a }, payload)),
      );
      const recorder = new Recorder();
      const receiver = new Receiver(new FrameReader(recorder), (error) => {
        throw error;
      });
      for (let at = 0, turn = 0; at < stream.length; turn += 1) {
        const size = 1 + (sizes[turn % sizes.length] ?? 0);
        receiver.feed(Buffer.from(stream.subarray(at, at + size)));
        at += size;
      }
      t.deepEqual(recorder.frames, frames);
    }),
    { numRuns: 60 },
  );
});

test('FrameReader hands on DATA in parts worth a write', (t) => {
  const recorder = new Recorder();
  const reader = new FrameReader(recorder);
  const payload = Buffer.alloc(MAX_BLOCK_BYTES, 5);
  const stream = encodeFrame({ type: frameTypes.data }, payload);
  let held = Buffer.alloc(0);
  for (let at = 0; at < stream.length; at += 16_384) {
    held = Buffer.concat([held, stream.subarray(at, at + 16_384)]);
    held = held.subarray(reader.push(held));
  }
  t.is(held.length, 0);
  t.true(recorder.parts <= MAX_BLOCK_BYTES / PART_BYTES + 1);
  t.deepEqual(recorder.frames, [{ type: frameTypes.data, a: 0, payload }]);
});

test('FrameReader skips an unknown optional frame and reads on', (t) => {
  const recorder = new Recorder();
  const unknown = { type: 99, flags: FLAG_OPTIONAL };
  const stream = Buffer.concat([
    encodeFrame(unknown, Buffer.alloc(70_000)),
    encodeFrame(unknown),
    encodeFrame({ type: frameTypes.ping, a: 7 }),
  ]);
  t.is(new FrameReader(recorder).push(stream), stream.length);
  t.deepEqual(
    recorder.frames.map(({ type, a }) => ({ type, a })),
    [{ type: frameTypes.ping, a: 7 }],
  );
});

test('FrameReader holds what came, not what a length claims', (t) => {
  const header = Buffer.alloc(16);
  writeHeader(header, { type: frameTypes.manifest }, MAX_MANIFEST_BYTES);
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 100 }, () => new FrameReader(new Recorder()));
  for (const reader of readers) {
    reader.push(header);
    reader.push(Buffer.alloc(1));
  }
  const grown = process.memoryUsage().arrayBuffers - before;
  t.true(grown < 100 * 131_072, `${grown} bytes are held`);
  t.is(readers.length, 100);
});

test('FrameReader throws nothing but ERR_PROTOCOL at random bytes', (t) => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 6 }), (chunks) => {
      const errors: unknown[] = [];
      const receiver = new Receiver(new FrameReader(new Recorder()), (error) => errors.push(error));
      for (const chunk of chunks) receiver.feed(chunk);
      t.true(errors.length <= 1);
      for (const error of errors) t.is(CodedError.from(error).code, 'ERR_PROTOCOL');
    }),
  );
});
