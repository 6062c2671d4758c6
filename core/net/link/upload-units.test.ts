import test from 'ava';
import { ManualClock } from '../../base/clock.ts';
import type { Unit, UnitForm } from '../../compression/compression.ts';
import { UNIT_BYTES } from '../../compression/unit.ts';
import { RateLimiter } from '../pacing.ts';
import { FLAG_LAST, FLAG_MORE, FLAG_ZSTD, FRAME_HEADER_BYTES, readHeader } from './frame.ts';
import { defaultLinkLimits } from './limits.ts';
import type { UploadForms } from './upload-block.ts';
import { Uploads } from './uploads.ts';
import type { UploadLane } from './upload-lane.ts';

const RAW: UnitForm = { kind: 'raw' };
const packed: UnitForm = { kind: 'compressed', bytes: Buffer.alloc(1_000, 'zstd') };

/** A link whose reader is the test, and what its units are to be sent as. */
class TestLink implements UploadLane {
  readonly clock = new ManualClock();
  readonly limiter = new RateLimiter(0, this.clock);
  readonly uploads = new Uploads({
    limits: defaultLinkLimits,
    clock: this.clock,
    limiter: this.limiter,
  });
  readonly sent: number[] = [];
  readonly expected: string[] = [];
  readonly asked: (number | undefined)[] = [];
  /** Raw and compressed bytes of units that were sent. */
  readonly units: [number, number][] = [];
  form = (_unit: Unit): UnitForm => RAW;
  #tokens: number[] = [];
  #blocks: { block: Uint8Array; onFlushed: () => void }[] = [];

  get waiting(): number {
    return this.#blocks.length;
  }

  writeBlock(block: Uint8Array, onFlushed: () => void): void {
    this.#blocks.push({ block, onFlushed });
  }

  ping(token: number): void {
    this.#tokens.push(token);
  }

  setRecordBytes(): void {}

  onStalled(): void {}

  ask(piece: number, length: number): void {
    const forms: UploadForms = {
      formOf: (unit, linkRate) => {
        this.asked.push(linkRate);
        return this.form(unit);
      },
      expect: (unit) => this.expected.push(`${unit.piece}+${unit.offset / UNIT_BYTES}`),
      sent: (...bytes) => this.units.push(bytes),
    };
    this.uploads.add(this, {
      channel: 1,
      piece,
      length,
      isUrgent: false,
      priority: 'normal',
      forms,
      task: {
        pieceLength: length,
        lengthOf: () => length,
        has: () => true,
        haveMap: () => new Uint8Array(0),
        pieceCount: () => undefined,
        manifest: () => [],
        read: (_piece, _offset, target) => target.length,
      },
      onSent: () => this.sent.push(piece),
      onMiss: () => undefined,
    });
  }

  /** Takes the block that waits, after `ms`; says where it stands in its piece, its bytes, and what of flags it has. */
  take(ms = 0): string | undefined {
    const first = this.#blocks.shift();
    if (first === undefined) return undefined;
    this.clock.advance(ms);
    const { b: offset, flags, length } = readHeader(first.block, 0);
    if (length !== first.block.length - FRAME_HEADER_BYTES) throw new Error('a wrong length');
    const words = [
      (flags & FLAG_ZSTD) === 0 ? 'raw' : 'zstd',
      ...((flags & FLAG_MORE) === 0 ? [] : ['more']),
      ...((flags & FLAG_LAST) === 0 ? [] : ['last']),
    ];
    const tokens = this.#tokens.splice(0);
    first.onFlushed();
    for (const token of tokens) this.uploads.onPong(this, token);
    return `${offset} ${length} ${words.join(' ')}`;
  }
}

test('Uploads sends units in the form they are given, raw and compressed in one piece', (t) => {
  const link = new TestLink();
  link.form = ({ offset }) => (offset === UNIT_BYTES ? RAW : packed);
  link.ask(0, 2 * UNIT_BYTES + 5_000);
  t.deepEqual(
    [link.take(), link.take(), link.take(), link.take()],
    [
      '0 1000 zstd',
      `${UNIT_BYTES} ${UNIT_BYTES} raw`,
      `${2 * UNIT_BYTES} 1000 zstd last`,
      undefined,
    ],
  );
  t.deepEqual(link.sent, [0]);
  t.deepEqual(link.units, [
    [UNIT_BYTES, 1_000],
    [5_000, 1_000],
  ]);
  t.is(link.uploads.bytesOut, UNIT_BYTES + 2_000);
});

test('Uploads cuts a compressed unit into blocks as a low rate wants, and counts what goes over the wire', (t) => {
  const link = new TestLink();
  link.limiter.setRate(200_000);
  link.form = () => ({ kind: 'compressed', bytes: Buffer.alloc(10_000) });
  link.ask(0, UNIT_BYTES);
  const taken: (string | undefined)[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    link.clock.advance(100);
    taken.push(link.take());
  }
  t.deepEqual(taken, ['0 4096 zstd more', '0 4096 zstd more', '0 1808 zstd last']);
  t.is(link.limiter.passedBytes, 10_000);
  t.deepEqual(link.sent, [0]);
});

test('Uploads waits for a unit that is being compressed, and sends it so when it is there', async (t) => {
  const link = new TestLink();
  const ready = Promise.withResolvers<void>();
  link.form = () => ({ kind: 'coming', ready: ready.promise, patienceMs: 20 });
  link.ask(0, UNIT_BYTES);
  link.clock.advance(19);
  t.is(link.waiting, 0);
  link.form = () => packed;
  ready.resolve();
  await ready.promise;
  t.is(link.take(), '0 1000 zstd last');
});

test('Uploads sends a unit raw that is not compressed in time, and once only', async (t) => {
  const link = new TestLink();
  const ready = Promise.withResolvers<void>();
  link.form = () => ({ kind: 'coming', ready: ready.promise, patienceMs: 20 });
  link.ask(0, UNIT_BYTES);
  link.clock.advance(20);
  t.is(link.waiting, 1);
  link.form = () => packed;
  ready.resolve();
  await ready.promise;
  t.is(link.take(), `0 ${UNIT_BYTES} raw last`);
  t.is(link.waiting, 0);
});

test('Uploads forgets a unit that it waits for when the request is cancelled or the link is gone', async (t) => {
  for (const end of ['cancel', 'drop'] as const) {
    const link = new TestLink();
    const ready = Promise.withResolvers<void>();
    link.form = () => ({ kind: 'coming', ready: ready.promise, patienceMs: 20 });
    link.ask(0, UNIT_BYTES);
    if (end === 'cancel') link.uploads.cancel(link, 1, 0);
    else link.uploads.drop(link);
    ready.resolve();
    await ready.promise;
    link.clock.advance(100);
    t.is(link.waiting, 0);
    t.deepEqual(link.sent, []);
    t.is(link.uploads.active, 0);
    link.form = () => RAW;
    link.ask(1, 10);
    t.is(link.take(), '0 10 raw last');
  }
});

test('Uploads tells which units are next while a block is on its way, once it knows what the link takes', (t) => {
  const link = new TestLink();
  link.ask(0, 3 * UNIT_BYTES);
  link.ask(1, 2 * UNIT_BYTES);
  link.take(200);
  t.deepEqual(link.expected, []);
  link.take(200);
  t.deepEqual(link.expected, ['1+0', '1+1']);
  const rate = link.asked.at(-1) ?? 0;
  t.true(Math.abs(rate - UNIT_BYTES * 5) < 1_000, `${rate}`);
});

test('Uploads lets a piece be asked for again as soon as its last bytes are on their way', (t) => {
  const link = new TestLink();
  link.ask(0, UNIT_BYTES + 10);
  t.true(link.uploads.has(link, 1, 0));
  link.take();
  t.is(link.waiting, 1);
  // Who has read them may ask before the socket says that it has taken them.
  t.false(link.uploads.has(link, 1, 0));
  link.ask(0, 10);
  t.true(link.uploads.has(link, 1, 0));
  t.deepEqual([link.take(), link.take()], [`${UNIT_BYTES} 10 raw last`, '0 10 raw last']);
  t.deepEqual(link.sent, [0, 0]);
});

test('Uploads takes what a rate limit leaves a link for what the link takes', (t) => {
  const link = new TestLink();
  link.limiter.setRate(1_000_000);
  link.ask(0, UNIT_BYTES);
  t.deepEqual(link.asked, [1_000_000]);
});

test('a raw block ends with its unit, so that the next unit can be compressed', (t) => {
  const link = new TestLink();
  link.limiter.setRate(1_000_000);
  link.ask(0, 2 * UNIT_BYTES);
  t.is(link.take(), '0 16384 raw');
  link.limiter.setRate(0);
  link.form = () => packed;
  link.clock.advance(100);
  t.is(link.take(), '16384 16384 raw');
  // A lane that took little is given more step by step.
  t.is(link.take(), '32768 32768 raw');
  t.is(link.take(), '65536 65536 raw');
  t.is(link.take(), `131072 ${UNIT_BYTES - 131_072} raw`);
  t.is(link.take(), `${UNIT_BYTES} 1000 zstd last`);
});
