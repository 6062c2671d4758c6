import { backoffMs } from '../../base/backoff.ts';
import type { Clock } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';

export interface KeepConnectedOptions {
  /** Asked anew for each round; the first that works is kept. */
  readonly addresses: () => readonly string[];
  /**
   * One connection, from dialling to its end: resolves or rejects when it has ended, or could not be made. Must end
   * soon after `signal` aborts.
   */
  readonly connect: (address: string, signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Ends the loop. */
  readonly signal: AbortSignal;
  /** Wait after the first round in vain; doubles from there, with jitter. */
  readonly firstMs?: number;
  readonly maxMs?: number;
  /** A connection that lasted so long was a good one: the waits start anew. */
  readonly stableMs?: number;
  /** Waits before the next round, the usual wait being `ms`; ends soon after `signal` aborts. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/**
 * Keeps one connection up until `signal` aborts, then resolves. Addresses are tried in turn without a pause; each
 * round in vain is followed by a longer, jittered wait, so that thousands of hosts do not return to a restarted
 * supernode at once.
 */
export async function keepConnected(options: KeepConnectedOptions): Promise<void> {
  const { clock, random, signal, firstMs = 200, maxMs = 10_000 } = options;
  const { pause = async (ms: number) => clock.sleep(ms, { signal }) } = options;
  let first = 0;
  let roundsInVain = 0;
  while (!signal.aborted) {
    const stable = await tryEach(options, first);
    if (stable !== undefined) {
      // Back to that one first: it worked.
      first = stable;
      roundsInVain = 0;
    }
    const waitMs = backoffMs(roundsInVain, { firstMs, maxMs }, random);
    roundsInVain += 1;
    await pause(waitMs, signal).catch(() => undefined);
  }
}

/** Tries the addresses in turn until one connection has held for long and ended; its index, undefined if none did. */
async function tryEach(options: KeepConnectedOptions, first: number): Promise<number | undefined> {
  const { clock, signal, stableMs = 30_000 } = options;
  const addresses = options.addresses();
  for (let tried = 0; tried < addresses.length && !signal.aborted; tried += 1) {
    const index = (first + tried) % addresses.length;
    const startedAt = clock.monotonic();
    await attempt(options, addresses[index] ?? '');
    if (clock.monotonic() - startedAt >= stableMs) return index;
  }
  return undefined;
}

async function attempt(options: KeepConnectedOptions, address: string): Promise<void> {
  const { connect, signal, log } = options;
  try {
    await connect(address, signal);
  } catch (error) {
    if (signal.aborted) return;
    const { code, message } = CodedError.from(error);
    log.debug({ address, code, reason: message }, 'connection failed or was lost');
  }
}
