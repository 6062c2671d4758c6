import test from 'ava';
import {
  array,
  assert,
  constantFrom,
  integer,
  property,
  string,
  tuple,
  uint8Array,
} from 'fast-check';
import { CodedError } from '../../base/error.ts';
import { FrameDecoder, encodeFrame, frameKinds } from './frame-codec.ts';
import type { FrameKind } from './frame-codec.ts';

const maxFrameBytes = 4096;

function decodeAll(decoder: FrameDecoder, chunks: Iterable<Uint8Array>): [FrameKind, string][] {
  const frames: [FrameKind, string][] = [];
  for (const chunk of chunks) {
    for (const { kind, payload } of decoder.decode(chunk)) {
      frames.push([kind, Buffer.from(payload).toString()]);
    }
  }
  return frames;
}

/** `bytes` cut at the given places, taken as fractions of the length. */
function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b)];
  return places.map((place, index) => bytes.slice(place, places[index + 1] ?? bytes.length));
}

test('FrameDecoder gives back what encodeFrame() made, however the bytes are cut', (t) => {
  const frame = tuple(
    constantFrom<FrameKind>('message', 'hello', 'welcome', 'bye'),
    string({ unit: 'binary', maxLength: 200 }),
  );
  assert(
    property(
      array(frame, { maxLength: 8 }),
      array(integer({ min: 0, max: 5000 })),
      (frames, cuts) => {
        const wellFormed = frames.map(([kind, text]): [FrameKind, string] => [
          kind,
          text.toWellFormed(),
        ]);
        const bytes = Buffer.concat(
          wellFormed.map(([kind, text]) => encodeFrame(kind, text, maxFrameBytes)),
        );
        const decoder = new FrameDecoder({ maxFrameBytes });
        t.deepEqual(decodeAll(decoder, split(bytes, cuts)), wellFormed);
        t.false(decoder.isInsideFrame);
      },
    ),
    { numRuns: 300 },
  );
});

test('FrameDecoder takes frames byte by byte, empty ones too', (t) => {
  const frames: [FrameKind, string][] = [
    ['message', '{}'],
    ['ping', ''],
    ['bye', ''],
    ['message', 'é'],
  ];
  const bytes = Buffer.concat(frames.map(([kind, text]) => encodeFrame(kind, text, maxFrameBytes)));
  const decoder = new FrameDecoder({ maxFrameBytes });
  t.deepEqual(
    decodeAll(
      decoder,
      [...bytes].map((byte) => Uint8Array.of(byte)),
    ),
    frames,
  );
});

test('FrameDecoder answers random bytes with frames or ERR_PROTOCOL, and holds at most one frame', (t) => {
  assert(
    property(array(uint8Array({ maxLength: 300 }), { maxLength: 30 }), (chunks) => {
      const decoder = new FrameDecoder({ maxFrameBytes });
      try {
        decodeAll(decoder, chunks);
      } catch (error) {
        if (!(error instanceof CodedError) || error.code !== 'ERR_PROTOCOL') throw error;
      }
      return decoder.heldBytes <= maxFrameBytes;
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('FrameDecoder refuses a length above the bound, from the header alone', (t) => {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(maxFrameBytes + 1);
  t.throws(() => decodeAll(new FrameDecoder({ maxFrameBytes }), [header]), {
    code: 'ERR_PROTOCOL',
  });
  for (const claimed of [0x7f_ff_ff_ff, 0xff_ff_ff_ff]) {
    header.writeUInt32BE(claimed);
    const decoder = new FrameDecoder({ maxFrameBytes: 1 << 20 });
    t.throws(() => decodeAll(decoder, [header]), { code: 'ERR_PROTOCOL' });
  }
});

test('FrameDecoder refuses unknown kinds and pings that carry something', (t) => {
  for (const bytes of [
    [9, 0, 0, 1, 0x31],
    [frameKinds.ping, 0, 0, 1, 0x31],
  ]) {
    const decoder = new FrameDecoder({ maxFrameBytes });
    t.throws(() => decodeAll(decoder, [Uint8Array.from(bytes)]), { code: 'ERR_PROTOCOL' });
  }
});

test('FrameDecoder allocates for what arrived, not for what was claimed', (t) => {
  const decoder = new FrameDecoder({ maxFrameBytes: 1 << 20 });
  const header = Buffer.alloc(4);
  header.writeUInt32BE(1 << 20);
  decodeAll(decoder, [header, Buffer.from('x')]);
  t.true(decoder.heldBytes <= 1024, `${decoder.heldBytes}`);
  decodeAll(
    decoder,
    Array.from({ length: 5000 }, () => Buffer.from('y')),
  );
  t.true(decoder.heldBytes <= 16_384, `${decoder.heldBytes}`);
  decodeAll(decoder, [Buffer.alloc((1 << 20) - 5001, 0x20)]);
  t.is(decoder.heldBytes, 0, 'the buffer of a large frame is given up');
});

test('encodeFrame() refuses a text that does not fit a frame', (t) => {
  t.is(encodeFrame('message', 'x'.repeat(maxFrameBytes), maxFrameBytes).length, maxFrameBytes + 4);
  t.throws(() => encodeFrame('message', 'é'.repeat(maxFrameBytes / 2 + 1), maxFrameBytes), {
    code: 'ERR_PROTOCOL',
  });
});
