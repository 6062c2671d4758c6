import test from 'ava';
import { ManualClock } from '../../base/clock.ts';
import type { Priority } from '../../base/priority.ts';
import { RateLimiter } from '../pacing.ts';
import { frameTypes } from './frame.ts';
import type { FrameHeader } from './frame.ts';
import { Inflow } from './inflow.ts';
import type { FramePart, Inflowing } from './inflow.ts';

const KIB = 1_024;
const MIB = 1_024 * KIB;
const BLOCK = 256 * KIB;

const content = Uint8Array.from({ length: BLOCK }, (_none, at) => at % 251);

function headerOf(length: number): FrameHeader {
  return { type: frameTypes.data, flags: 0, channel: 1, length, a: 0, b: 0 };
}

/** A piece that counts what passes, and knows its bytes. */
class Piece implements Inflowing {
  readonly account: Inflowing['account'];
  readonly limiter: RateLimiter | undefined;
  readonly farLimiter: RateLimiter | undefined;
  passed = 0;
  #wrong = 0;
  readonly #inflow: Inflow;
  #came = 0;

  constructor(
    inflow: Inflow,
    about: {
      flow?: string;
      priority?: Priority;
      limiter?: RateLimiter;
      farLimiter?: RateLimiter;
    } = {},
  ) {
    const { flow = 'a task', priority = 'normal', limiter, farLimiter } = about;
    this.#inflow = inflow;
    this.account = { flow, priority };
    this.limiter = limiter;
    this.farLimiter = farLimiter;
  }

  get waiting(): number {
    return this.#came - this.passed;
  }

  get isRight(): boolean {
    return this.#wrong === 0;
  }

  /** So many bytes come, in one DATA frame. */
  come(bytes: number): void {
    const part = new Uint8Array(content.subarray(0, bytes));
    this.#came += bytes;
    this.#inflow.take(this, { header: headerOf(bytes), at: 0, bytes: part });
    part.fill(0);
  }

  pass({ header, at, bytes }: FramePart): void {
    if (at + bytes.length > header.length || bytes[0] !== at % 251) this.#wrong += 1;
    if (bytes.at(-1) !== (at + bytes.length - 1) % 251) this.#wrong += 1;
    this.passed += bytes.length;
  }
}

test('Inflow passes bytes on at once where there is no limit, and counts them', (t) => {
  const limiter = new RateLimiter(0, new ManualClock());
  const inflow = new Inflow(limiter);
  const piece = new Piece(inflow);
  piece.come(BLOCK);
  t.is(piece.passed, BLOCK);
  t.is(limiter.passedBytes, BLOCK);
  t.is(inflow.heldBytes, 0);
});

for (const [rate, windows] of [
  [100_000, 3],
  [1_000_000, 3],
  [50_000_000, 1],
] as const) {
  test(`Inflow is exact within 1 % in each 2 s at ${rate} B/s, whatever comes at once`, (t) => {
    const clock = new ManualClock();
    const inflow = new Inflow(new RateLimiter(rate, clock));
    const pieces = [1, 2].map((flow) => new Piece(inflow, { flow: String(flow) }));
    const feed = (): void => {
      for (const piece of pieces) if (piece.waiting < MIB) piece.come(BLOCK);
    };
    clock.every(5, feed);
    clock.advance(2_000);
    for (let window = 0; window < windows; window += 1) {
      const before = pieces.map(({ passed }) => passed);
      clock.advance(2_000);
      const each = pieces.map(({ passed }, at) => passed - (before[at] ?? 0));
      const off = each.reduce((sum, bytes) => sum + bytes, 0) / (rate * 2) - 1;
      t.true(Math.abs(off) < 0.01, String(off));
      t.true(Math.abs((each[0] ?? 0) / rate - 1) < 0.01, `one of two: ${each.join()}`);
    }
    t.true(pieces.every(({ isRight }) => isRight));
  });
}

test('Inflow: a task passes its pieces in the order of their coming, and more important ones of others by weight', (t) => {
  const clock = new ManualClock();
  const inflow = new Inflow(new RateLimiter(100_000, clock));
  const [first, second] = [new Piece(inflow), new Piece(inflow)];
  for (const piece of [first, second]) piece.come(BLOCK);
  clock.advance(2_000);
  t.true(first.passed > 190_000);
  t.is(second.passed, 0);
  const release = new Piece(inflow, { flow: 'another task', priority: 'release' });
  release.come(BLOCK);
  clock.advance(1_000);
  const share = release.passed / 100_000;
  t.true(Math.abs(share - 64 / 68) < 0.02, `${share}`);
});

test('Inflow: the limit of one task holds up no other, and comes on top of that of the host', (t) => {
  const clock = new ManualClock();
  const inflow = new Inflow(new RateLimiter(1_000_000, clock));
  const slow = new Piece(inflow, { flow: 'slow', limiter: new RateLimiter(10_000, clock) });
  const fast = new Piece(inflow, { flow: 'fast', limiter: new RateLimiter(0, clock) });
  slow.come(BLOCK);
  for (let block = 0; block < 8; block += 1) fast.come(BLOCK);
  clock.advance(2_000);
  t.true(Math.abs(slow.passed / 20_000 - 1) < 0.06, `${slow.passed}`);
  t.true(Math.abs((fast.passed + slow.passed) / 2_000_000 - 1) < 0.06, `${fast.passed}`);
  t.false(inflow.isFull);
});

test('Inflow: what comes from far away passes its limit beside those of tasks, and pays for what is dropped', (t) => {
  const clock = new ManualClock();
  const inflow = new Inflow(new RateLimiter(0, clock));
  const farLimiter = new RateLimiter(100_000, clock);
  const limiter = new RateLimiter(20_000, clock);
  const slow = new Piece(inflow, { flow: 'slow', limiter, farLimiter });
  const far = new Piece(inflow, { flow: 'far', farLimiter });
  const gone = new Piece(inflow, { flow: 'gone', farLimiter });
  const near = new Piece(inflow, { flow: 'near' });
  for (const piece of [slow, far, gone, near]) piece.come(BLOCK);
  t.is(near.passed, BLOCK);
  clock.advance(2_000);
  t.true(Math.abs(slow.passed / 40_000 - 1) < 0.06, `${slow.passed}`);
  const passed = slow.passed + far.passed + gone.passed;
  t.true(Math.abs(passed / 200_000 - 1) < 0.06, `${passed}`);
  const before = farLimiter.passedBytes;
  inflow.drop(gone);
  t.is(farLimiter.passedBytes, before + BLOCK - gone.passed);
});

test('Inflow: what is too much to wait for the limits of tasks passes at once, and is owed', (t) => {
  const clock = new ManualClock();
  const inflow = new Inflow(new RateLimiter(0, clock));
  const limiter = new RateLimiter(1_000_000, clock);
  const piece = new Piece(inflow, { limiter });
  for (let block = 0; block < 64; block += 1) piece.come(BLOCK);
  t.true(inflow.heldBytes <= 8 * MIB, `${inflow.heldBytes}`);
  t.true(piece.passed >= 8 * MIB, `${piece.passed}`);
  t.true(piece.isRight);
  t.false(inflow.isFull);
  const seconds = piece.passed / 1_000_000;
  t.true(Math.abs(limiter.owedMs / 1_000 - seconds) < 0.1, `${limiter.owedMs}`);
});

test('Inflow tells when it is full, and when it has room again', (t) => {
  const clock = new ManualClock();
  const inflow = new Inflow(new RateLimiter(1_000_000, clock));
  const piece = new Piece(inflow);
  while (!inflow.isFull) piece.come(BLOCK);
  t.true(inflow.heldBytes >= 8 * MIB && inflow.heldBytes < 9 * MIB, String(inflow.heldBytes));
  let isRoom = false;
  inflow.onRoom(() => (isRoom = true));
  clock.advance(1_000);
  t.false(isRoom);
  clock.advance(5_000);
  t.true(isRoom);
});

test('Inflow: a piece that is dropped has paid for what came of it, and the next goes on', (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(1_000_000, clock);
  const inflow = new Inflow(limiter);
  const [gone, next] = [new Piece(inflow), new Piece(inflow)];
  gone.come(BLOCK);
  next.come(BLOCK);
  inflow.drop(gone);
  inflow.drop(gone);
  clock.advance(200);
  t.true(gone.passed < 100_000);
  t.is(next.passed, 0, 'that is not paid yet');
  clock.advance(400);
  t.is(next.passed, BLOCK);
  t.is(inflow.heldBytes, 0);
  t.is(limiter.passedBytes, 2 * BLOCK);
});

test('Inflow: a limit that is set while bytes come holds from the next on, and one that is lifted lets all pass', (t) => {
  const clock = new ManualClock();
  const limiter = new RateLimiter(0, clock);
  const inflow = new Inflow(limiter);
  const piece = new Piece(inflow);
  piece.come(BLOCK);
  limiter.setRate(100_000);
  piece.come(BLOCK);
  t.true(piece.passed < BLOCK + 10_000, `${piece.passed}`);
  clock.advance(1_000);
  t.true(piece.passed < BLOCK + 110_000, `${piece.passed}`);
  limiter.setRate(0);
  clock.advance(100);
  t.is(piece.passed, 2 * BLOCK);
  t.true(piece.isRight);
});

test('Inflow: many slow tasks that fill the limit of the host get all of it, and each its own', (t) => {
  const clock = new ManualClock();
  const inflow = new Inflow(new RateLimiter(98_000, clock));
  const pieces = Array.from({ length: 16 }, (_none, at) => {
    const limiter = new RateLimiter(6_250, clock);
    return new Piece(inflow, { flow: String(at), limiter });
  });
  for (const piece of pieces) piece.come(BLOCK);
  clock.advance(2_000);
  const before = pieces.map(({ passed }) => passed);
  clock.advance(4_000);
  const each = pieces.map(({ passed }, at) => passed - (before[at] ?? 0));
  const off = each.reduce((sum, bytes) => sum + bytes, 0) / 392_000 - 1;
  t.true(Math.abs(off) < 0.01, `${off}`);
  for (const bytes of each) t.true(Math.abs(bytes / 24_500 - 1) < 0.05, each.join());
});
