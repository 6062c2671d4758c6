import test from 'ava';
import { ManualClock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { priorities } from '../../base/priority.ts';
import type { Priority } from '../../base/priority.ts';
import { RateLimiter } from '../pacing.ts';
import { FLAG_LAST, FRAME_HEADER_BYTES, MAX_BLOCK_BYTES, readHeader } from './frame.ts';
import { defaultLinkLimits } from './limits.ts';
import type { LinkLimits } from './limits.ts';
import type { ServedTask } from './served-task.ts';
import { blockBytesFor } from './upload-block.ts';
import { Uploads } from './uploads.ts';
import type { UploadLane } from './upload-lane.ts';

/** A lane whose reader is the test: blocks stay until they are taken. */
class TestLane implements UploadLane {
  readonly blocks: { block: Uint8Array; onFlushed: () => void }[] = [];
  readonly sent: number[] = [];
  readonly missed: string[] = [];
  recordBytes = 0;
  isStalled = false;
  readonly uploads: Uploads;

  constructor(uploads: Uploads) {
    this.uploads = uploads;
  }

  writeBlock(block: Uint8Array, onFlushed: () => void): void {
    this.blocks.push({ block, onFlushed });
  }

  ping(): void {}

  setRecordBytes(bytes: number): void {
    this.recordBytes = bytes;
  }

  onStalled(): void {
    this.isStalled = true;
    this.uploads.drop(this);
  }

  ask(
    piece: number,
    options: { length?: number; isUrgent?: boolean; channel?: number; priority?: Priority } = {},
  ): boolean {
    const { length = 10, isUrgent = false, channel = 1, priority = 'normal' } = options;
    return this.uploads.add(this, {
      channel,
      piece,
      length,
      isUrgent,
      priority,
      task,
      onSent: () => this.sent.push(piece),
      onMiss: (error) => this.missed.push(`${piece} ${error.code}`),
    });
  }

  /** Takes the block that waits and says what it was. */
  take(): { piece: number; offset: number; bytes: number; isLast: boolean } | undefined {
    const first = this.blocks.shift();
    if (first === undefined) return undefined;
    const { a: piece, b: offset, flags, length } = readHeader(first.block, 0);
    if (length !== first.block.length - FRAME_HEADER_BYTES) throw new Error('a wrong length');
    first.onFlushed();
    return { piece, offset, bytes: length, isLast: (flags & FLAG_LAST) !== 0 };
  }

  takePieces(): (number | undefined)[] {
    const pieces: (number | undefined)[] = [];
    while (this.blocks.length > 0) pieces.push(this.take()?.piece);
    return pieces;
  }
}

/** Every byte is its piece; piece 66 cannot be read, piece 67 is short. */
const task: ServedTask = {
  pieceLength: MAX_BLOCK_BYTES,
  lengthOf: () => 10,
  has: () => true,
  haveMap: () => new Uint8Array(0),
  pieceCount: () => undefined,
  manifest: () => [],
  read: (piece, _offset, target) => {
    if (piece === 66) throw new CodedError('ERR_STORE_IO', 'the disk is broken');
    target.fill(piece);
    return piece === 67 ? target.length - 1 : target.length;
  },
};

/** A quarter of the longest block. */
function askOne(reader: TestLane): void {
  reader.ask(reader.sent.length, { length: 65_536 });
}

function make(
  limits: Partial<LinkLimits> = {},
  bytesPerSecond = 0,
): {
  uploads: Uploads;
  clock: ManualClock;
  lane: () => TestLane;
} {
  const clock = new ManualClock();
  const limiter = bytesPerSecond > 0 ? new RateLimiter(bytesPerSecond, clock) : undefined;
  const uploads = new Uploads({ limits: { ...defaultLinkLimits, ...limits }, clock, limiter });
  return { uploads, clock, lane: () => new TestLane(uploads) };
}

test('Uploads sends a piece block by block, one at a time, and marks the last', (t) => {
  const { uploads, lane } = make();
  const reader = lane();
  const length = 2 * MAX_BLOCK_BYTES + 5;
  reader.ask(3, { length });
  const seen: unknown[] = [];
  while (reader.blocks.length > 0) {
    t.is(reader.blocks.length, 1);
    t.is(reader.blocks[0]?.block.at(-1), 3);
    seen.push(reader.take());
  }
  t.deepEqual(seen, [
    { piece: 3, offset: 0, bytes: MAX_BLOCK_BYTES, isLast: false },
    { piece: 3, offset: MAX_BLOCK_BYTES, bytes: MAX_BLOCK_BYTES, isLast: false },
    { piece: 3, offset: 2 * MAX_BLOCK_BYTES, bytes: 5, isLast: true },
  ]);
  t.deepEqual(reader.sent, [3]);
  t.is(uploads.bytesOut, length);
  t.is(uploads.active, 0);
  t.is(uploads.queued, 0);
});

test('Uploads counts what passes where there is no rate, too', (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(0, clock);
  const uploads = new Uploads({ limits: defaultLinkLimits, clock, limiter });
  const lane = new TestLane(uploads);
  lane.ask(1, { length: 700 });
  lane.take();
  t.is(limiter.passedBytes, 700);
});

test('Uploads serves a link in order, urgent requests before those that have not begun', (t) => {
  const { lane } = make();
  const reader = lane();
  for (const piece of [1, 2, 3]) reader.ask(piece);
  reader.ask(4, { isUrgent: true });
  reader.ask(5, { isUrgent: true });
  t.deepEqual(reader.takePieces(), [1, 4, 5, 2, 3]);
});

test('Uploads refuses what exceeds the queue of a link', (t) => {
  const { lane, uploads } = make({ maxQueuedRequests: 2 });
  const [reader, other] = [lane(), lane()];
  t.true(reader.ask(1));
  t.true(reader.ask(2));
  t.false(reader.ask(3));
  t.true(other.ask(3));
  t.true(uploads.has(reader, 1, 2));
  t.false(uploads.has(reader, 1, 3));
  t.true(uploads.retryAfterMs() > 0);
});

test('Uploads sends to so many links at once, and lets the next have its turn after each piece', (t) => {
  const { lane, uploads } = make({ maxActiveUploads: 2 });
  const readers = [lane(), lane(), lane()];
  for (const reader of readers) for (const piece of [1, 2]) reader.ask(piece);
  const waiting = (): number[] => readers.map(({ blocks }) => blocks.length);
  t.deepEqual(waiting(), [1, 1, 0]);
  t.is(uploads.active, 2);
  readers[0]?.take();
  t.deepEqual(waiting(), [0, 1, 1]);
  readers[1]?.take();
  t.deepEqual(waiting(), [1, 0, 1]);
  readers[2]?.take();
  t.deepEqual(waiting(), [1, 1, 0]);
  for (let round = 0; round < 4; round += 1) for (const reader of readers) reader.take();
  t.deepEqual(
    readers.map(({ sent }) => sent),
    [
      [1, 2],
      [1, 2],
      [1, 2],
    ],
  );
  t.is(uploads.active, 0);
});

test('Uploads does not let readers that stop reading keep others from being served', (t) => {
  const { lane, uploads } = make({ maxActiveUploads: 2, slowMs: 500 });
  const stopped = [lane(), lane()];
  for (const reader of stopped) reader.ask(1);
  const live = lane();
  live.ask(9);
  t.is(live.blocks.length, 0);
  uploads.tick(250);
  t.is(live.blocks.length, 0);
  uploads.tick(250);
  t.deepEqual(live.takePieces(), [9]);
  t.is(uploads.active, 1, 'one of them made room');
  // One that was only slow is served again.
  stopped[0]?.ask(2);
  t.deepEqual(stopped[0]?.takePieces(), [1, 2]);
});

test('Uploads sends to no more at a time where its own uplink is what is slow', (t) => {
  const { clock, lane, uploads } = make({ maxActiveUploads: 2, slowMs: 500 });
  const readers = Array.from({ length: 12 }, lane);
  for (const piece of [1, 2, 3]) for (const one of readers) one.ask(piece, { length: 65_536 });
  // 65,536 bytes a second pass, to all together: whoever is sent to has its part of that.
  const taken = new Map<TestLane, number>();
  let most = 0;
  for (let step = 0; step < 144; step += 1) {
    clock.advance(250);
    const sending = readers.filter(({ blocks }) => blocks.length > 0);
    // The first seconds say what passes at all.
    if (step >= 24) most = Math.max(most, sending.length);
    for (const reader of sending) {
      const bytes = (taken.get(reader) ?? 0) + 16_384 / sending.length;
      const left = bytes - (reader.blocks[0]?.block.length ?? 0);
      if (left >= 0) reader.take();
      taken.set(reader, left >= 0 ? left : bytes);
    }
    uploads.tick(250);
  }
  t.true(most <= 4, `${most} at a time`);
  t.true(readers.every(({ sent }) => sent.length > 0));
});

test('Uploads sends to others beside readers that take little, and goes on with those', (t) => {
  const { clock, lane, uploads } = make({ maxActiveUploads: 2, slowMs: 500 });
  const [slow, other] = [lane(), lane()];
  const live = [lane(), lane()];
  for (const reader of live) askOne(reader);
  for (let step = 0; step < 8; step += 1) {
    clock.advance(250);
    for (const reader of live) {
      reader.take();
      askOne(reader);
    }
    uploads.tick(250);
  }
  for (const reader of [slow, other]) reader.ask(1, { length: 262_144 });
  for (const reader of live) reader.take();
  t.deepEqual([slow.blocks.length, other.blocks.length], [1, 1]);
  for (const reader of live) askOne(reader);
  for (let step = 0; step < 8; step += 1) {
    clock.advance(250);
    uploads.tick(250);
  }
  t.true(live.every(({ blocks }) => blocks.length > 0));
  // It waits for no turn between the blocks of a piece.
  slow.take();
  t.is(slow.blocks.length, 1);
});

test('Uploads gives a reader blocks that it takes within a quarter of a second', (t) => {
  const { clock, lane } = make();
  const reader = lane();
  reader.ask(1, { length: 2 * MAX_BLOCK_BYTES });
  const sizes: (number | undefined)[] = [];
  while (reader.blocks.length > 0) {
    clock.advance(1_000);
    sizes.push(reader.take()?.bytes);
  }
  t.is(sizes[0], MAX_BLOCK_BYTES);
  t.is(sizes[1], 65_536);
  t.is(sizes[2], 16_384);
  // To cancel costs no more than that.
  reader.ask(2, { length: MAX_BLOCK_BYTES });
  reader.uploads.cancel(reader, 1, 2);
  t.is(reader.take()?.bytes, 16_384);
  t.is(reader.blocks.length, 0);
});

test('Uploads closes a link whose block is not taken for the stall time', (t) => {
  const { lane, uploads } = make({ stallMs: 60_000 });
  const reader = lane();
  reader.ask(1);
  uploads.tick(59_999);
  t.false(reader.isStalled);
  uploads.tick(1);
  t.true(reader.isStalled);
  t.is(uploads.active, 0);
});

test('Uploads gives out so many blocks, and closes the slowest reader when others wait for one', (t) => {
  const { lane, uploads } = make({ maxUploadBlocks: 3, maxActiveUploads: 3, slowMs: 500 });
  const stopped = [lane(), lane(), lane()];
  stopped[0]?.ask(1);
  uploads.tick(500);
  for (const reader of stopped.slice(1)) reader.ask(1);
  uploads.tick(500);
  const live = lane();
  live.ask(9);
  uploads.tick(500);
  t.is(live.blocks.length, 0);
  t.false(stopped.some(({ isStalled }) => isStalled));
  uploads.tick(3_000);
  t.deepEqual(
    stopped.map(({ isStalled }) => isStalled),
    [true, false, false],
  );
  t.deepEqual(live.takePieces(), [9]);
});

test('Uploads uses the memory of a block again only once it is flushed', (t) => {
  const { lane } = make();
  const [first, second] = [lane(), lane()];
  first.ask(1, { length: MAX_BLOCK_BYTES });
  second.ask(2, { length: MAX_BLOCK_BYTES });
  const held = first.blocks[0]?.block;
  const freed = second.blocks[0]?.block.buffer;
  t.not(held?.buffer, freed);
  second.take();
  second.ask(3, { length: MAX_BLOCK_BYTES });
  t.is(second.blocks[0]?.block.buffer, freed);
  t.is(held?.[FRAME_HEADER_BYTES], 1);
  t.is(held?.at(-1), 1);
});

test('Uploads.cancel() stops a piece at the next block and skips one that waits', (t) => {
  const { lane, uploads } = make();
  const reader = lane();
  reader.ask(1, { length: 3 * MAX_BLOCK_BYTES });
  for (const piece of [2, 3]) reader.ask(piece);
  reader.ask(2, { channel: 7 });
  uploads.cancel(reader, 1, 1);
  uploads.cancel(reader, 1, 2);
  t.false(uploads.has(reader, 1, 1));
  t.deepEqual(reader.takePieces(), [1, 2, 3]);
  t.deepEqual(reader.sent, [2, 3]);
});

test('Uploads.withdraw() takes out what waits, and leaves a piece whose first block is with the socket', (t) => {
  const { lane, uploads } = make();
  const reader = lane();
  for (const piece of [1, 2, 3]) reader.ask(piece);
  t.false(uploads.withdraw(reader, 1, 1));
  t.true(uploads.withdraw(reader, 1, 2));
  t.false(uploads.withdraw(reader, 1, 2));
  t.false(uploads.withdraw(reader, 7, 3));
  t.deepEqual(reader.takePieces(), [1, 3]);
  t.false(uploads.withdraw(reader, 1, 3));
  t.deepEqual(reader.sent, [1, 3]);
});

test('Uploads.drop() forgets a link in any state and serves the others', (t) => {
  const { lane, uploads } = make({ maxActiveUploads: 1 });
  const [sending, waiting, live] = [lane(), lane(), lane()];
  for (const reader of [sending, waiting, live]) reader.ask(1);
  const block = sending.blocks[0];
  uploads.drop(waiting);
  uploads.drop(sending);
  uploads.drop(sending);
  block?.onFlushed();
  t.deepEqual(live.takePieces(), [1]);
  t.deepEqual(sending.sent, []);
  t.is(uploads.active, 0);
  t.is(uploads.queued, 0);
});

test('Uploads reports what it cannot read and goes on', (t) => {
  const { lane, uploads } = make();
  const reader = lane();
  for (const piece of [66, 67, 3]) reader.ask(piece);
  t.deepEqual(reader.takePieces(), [3]);
  t.deepEqual(reader.missed, ['66 ERR_STORE_IO', '67 ERR_STORE_IO']);
  t.is(uploads.bytesOut, 10);
});

test('Uploads survives a link that closes while it is told of a failure', (t) => {
  const { lane, uploads } = make();
  const reader = lane();
  const other = lane();
  uploads.add(reader, {
    channel: 1,
    piece: 66,
    length: 10,
    isUrgent: false,
    priority: 'normal',
    task,
    onSent: () => undefined,
    onMiss: () => uploads.drop(reader),
  });
  t.is(uploads.active, 0);
  other.ask(1);
  t.is(uploads.active, 1);
  t.deepEqual(other.takePieces(), [1]);
  t.is(uploads.active, 0);
});

test('blockBytesFor() is small where a large block would spoil the rate', (t) => {
  t.is(blockBytesFor(0), 262_144);
  t.is(blockBytesFor(100_000_000), 262_144);
  t.is(blockBytesFor(5_000_000), 65_536);
  t.is(blockBytesFor(999_999), 16_384);
  t.is(blockBytesFor(1), 4096);
});

test('Uploads keeps to the rate of its limiter within 5 % over aligned two-second windows', (t) => {
  for (const rate of [100_000, 1_000_000, 50_000_000]) {
    const { clock, uploads, lane } = make({}, rate);
    const readers = [lane(), lane(), lane()];
    for (const reader of readers) {
      for (let piece = 0; piece < 100; piece += 1)
        reader.ask(piece, { length: 16 * MAX_BLOCK_BYTES });
    }
    const step = (ms: number): void => {
      for (let at = 0; at < ms; at += 1) {
        for (const reader of readers) reader.take();
        clock.advance(1);
      }
    };
    step(2000);
    for (let window = 0; window < 3; window += 1) {
      const before = uploads.bytesOut;
      step(2000);
      const ratio = (uploads.bytesOut - before) / (2 * rate);
      t.true(ratio > 0.95 && ratio < 1.05, `${rate}: ${ratio}`);
    }
    t.is(readers[0]?.recordBytes, rate < 1_000_000 ? 4096 : 0);
  }
});

/** Lets readers that take everything at once ask on for `ms`; bytes by class. */
function served(
  lanes: readonly { reader: TestLane; priorities: readonly Priority[] }[],
  { clock, ms }: { clock: ManualClock; ms: number },
): Record<Priority, number> {
  const bytes = { release: 0, interactive: 0, normal: 0, 'warm-up': 0 };
  const length = 4 * MAX_BLOCK_BYTES;
  let piece = 100;
  const asked = new Map<number, Priority>();
  const ask = (reader: TestLane, priority: Priority): void => {
    piece += 1;
    asked.set(piece, priority);
    reader.ask(piece, { length, priority, channel: priorities.indexOf(priority) });
  };
  for (const { reader, priorities: wanted } of lanes) {
    for (const priority of wanted) for (let count = 0; count < 2; count += 1) ask(reader, priority);
  }
  for (let at = 0; at < ms; at += 1) {
    for (const { reader } of lanes) {
      const block = reader.take();
      const priority = asked.get(block?.piece ?? 0);
      if (block === undefined || priority === undefined) continue;
      bytes[priority] += block.bytes;
      if (block.isLast) ask(reader, priority);
    }
    clock.advance(1);
  }
  return bytes;
}

test('Uploads shares a limited rate among the classes that want something, whoever wants it', (t) => {
  const rate = 16_000_000;
  for (const isOneReader of [true, false]) {
    const { lane, clock } = make({}, rate);
    const lanes = isOneReader
      ? [{ reader: lane(), priorities: ['release', 'normal', 'warm-up'] as const }]
      : [
          ...Array.from({ length: 8 }, () => ({
            reader: lane(),
            priorities: ['warm-up'] as const,
          })),
          { reader: lane(), priorities: ['normal'] as const },
          { reader: lane(), priorities: ['release'] as const },
        ];
    const bytes = served(lanes, { clock, ms: 60_000 });
    const all = bytes.release + bytes.normal + bytes['warm-up'];
    t.true(all > 0.95 * 60 * rate, `${all}`);
    t.true(Math.abs(bytes.release / all - 64 / 69) < 0.05, JSON.stringify(bytes));
    t.true(Math.abs(bytes.normal / all - 4 / 69) < 0.05, JSON.stringify(bytes));
    t.true(bytes['warm-up'] > 0.5 * (all / 69), JSON.stringify(bytes));
  }
});

test('Uploads sends a release between two blocks of a piece that matters less, and then goes on with that', (t) => {
  const { lane } = make();
  const reader = lane();
  const length = 4 * MAX_BLOCK_BYTES;
  reader.ask(1, { length, priority: 'warm-up', channel: 1 });
  reader.take();
  reader.ask(2, { length, priority: 'release', channel: 3 });
  t.deepEqual(reader.takePieces(), [1, 2, 2, 2, 2, 1, 1]);
  t.deepEqual(reader.sent, [2, 1]);
});

test('Uploads takes a block that waits for the rate limit back when something more important comes', (t) => {
  const { lane, clock, uploads } = make({}, 1_000_000);
  const [first, second] = [lane(), lane()];
  const length = 1_000_000;
  first.ask(1, { length, priority: 'normal' });
  second.ask(2, { length, priority: 'warm-up', channel: 1 });
  t.is(second.blocks.length, 0);
  second.ask(3, { length: 10, priority: 'release', channel: 3 });
  clock.advance(20);
  t.is(second.take()?.piece, 3);
  t.is(uploads.queued, 2);
});

test('Uploads keeps a warm-up to one link at a time while a release is sent, and to no less', (t) => {
  const { lane } = make();
  const warm = Array.from({ length: 6 }, () => lane());
  const length = 8 * MAX_BLOCK_BYTES;
  for (const reader of warm) reader.ask(1, { length, priority: 'warm-up' });
  const sending = (): number => warm.filter(({ blocks }) => blocks.length > 0).length;
  t.is(sending(), 4);
  const release = lane();
  for (const piece of [1, 2, 3]) release.ask(piece, { length, priority: 'release' });
  for (const reader of warm.slice(0, 4)) reader.take();
  for (let block = 0; block < 20; block += 1) {
    t.is(release.take()?.bytes, MAX_BLOCK_BYTES);
    t.is(sending(), 1);
    warm.find(({ blocks }) => blocks.length > 0)?.take();
  }
  release.takePieces();
  t.is(sending(), 4);
});

test('Uploads lets what is less important take no place in the queue from what is more', (t) => {
  const { lane } = make({ maxQueuedRequests: 2 });
  const reader = lane();
  t.true(reader.ask(1, { priority: 'warm-up' }));
  t.true(reader.ask(2, { priority: 'warm-up' }));
  t.false(reader.ask(3, { priority: 'warm-up' }));
  t.true(reader.ask(4, { priority: 'release' }));
  t.true(reader.ask(5, { priority: 'release' }));
  t.false(reader.ask(6, { priority: 'release' }));
});
