import test from 'ava';
import { ManualClock, abortReason } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import { silentLog } from '../../base/log.ts';
import { SeededRandom } from '../../base/random.ts';
import { keepConnected } from './reconnect.ts';

async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** Runs the loop against scripted connections, letting time pass in steps of 10 ms. */
function rig(addresses: readonly string[]) {
  const clock = new ManualClock();
  const controller = new AbortController();
  const dials: { address: string; atMs: number }[] = [];
  /** How long a connection to an address holds; absent: it cannot be made. */
  const holdsMs = new Map<string, number>();
  const loop = keepConnected({
    addresses: () => addresses,
    connect: async (address, signal) => {
      dials.push({ address, atMs: clock.monotonic() });
      const ms = holdsMs.get(address);
      if (ms === undefined) throw new CodedError('ERR_MESH_UNAVAILABLE', 'refused');
      await clock.sleep(ms, { signal });
    },
    clock,
    random: new SeededRandom(7),
    log: silentLog,
    signal: controller.signal,
  });
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 10) {
      clock.advance(10);
      await settle();
    }
  };
  const stop = async (): Promise<void> => {
    controller.abort();
    await loop;
  };
  return { clock, dials, holdsMs, pass, stop };
}

function gaps(dials: readonly { atMs: number }[]): number[] {
  return dials.slice(1).map((dial, index) => dial.atMs - (dials[index]?.atMs ?? 0));
}

test('keepConnected() waits longer and longer while nobody answers, with jitter, up to the maximum', async (t) => {
  const { dials, pass, stop } = rig(['a:1']);
  await pass(60_000);
  await stop();
  const waits = gaps(dials);
  for (const [attempt, wait] of waits.entries()) {
    const whole = Math.min(10_000, 200 * 2 ** attempt);
    t.true(wait >= whole / 2 && wait <= whole + 20, `wait ${attempt}: ${wait}`);
  }
  t.true(waits.length >= 8 && waits.length <= 20);
  t.true(new Set(waits.slice(-3)).size > 1, 'jitter');
});

test('keepConnected() tries the next address at once, and stays with one that held', async (t) => {
  const { dials, holdsMs, pass, stop } = rig(['a:1', 'b:2', 'c:3']);
  holdsMs.set('b:2', 60_000);
  await pass(100);
  t.deepEqual(
    dials.map(({ address }) => address),
    ['a:1', 'b:2'],
  );
  await pass(60_500);
  t.deepEqual(
    dials.slice(2).map(({ address }) => address),
    ['b:2'],
  );
  const wait = (dials[2]?.atMs ?? 0) - 60_000;
  t.true(wait >= 100 && wait <= 300, `${wait}`);
  await stop();
});

test('keepConnected() does not take connections that break soon for a success', async (t) => {
  const { dials, holdsMs, pass, stop } = rig(['a:1']);
  holdsMs.set('a:1', 1000);
  await pass(60_000);
  const waits = gaps(dials);
  t.true((waits.at(-1) ?? 0) > 5000, waits.join());
  holdsMs.set('a:1', 40_000);
  await pass(52_000);
  dials.splice(0, dials.length - 1);
  await pass(42_000);
  t.true((gaps(dials)[0] ?? Infinity) <= 40_220, 'a stable connection resets the wait');
  await stop();
});

test('keepConnected() ends when told, while waiting and while connected', async (t) => {
  const waiting = rig(['a:1']);
  await waiting.pass(3000);
  await waiting.stop();
  const connected = rig(['a:1']);
  connected.holdsMs.set('a:1', 1_000_000);
  await connected.pass(100);
  await connected.stop();
  const nowhere = rig([]);
  await nowhere.pass(1000);
  t.is(nowhere.dials.length, 0);
  await nowhere.stop();
});

test('keepConnected() does nothing when it is told to end before it starts', async (t) => {
  const controller = new AbortController();
  controller.abort();
  await keepConnected({
    addresses: () => ['a:1'],
    connect: async () => t.fail(abortReason(controller.signal).message),
    clock: new ManualClock(),
    random: new SeededRandom(1),
    log: silentLog,
    signal: controller.signal,
  });
  t.pass();
});
