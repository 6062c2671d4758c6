import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../../core/base/clock.ts';
import { CodedError, systemCode } from '../../../core/base/error.ts';
import type { HealthCheck } from './package-manifest.ts';

/** Of something that stays and has no check: it lives on for so long. */
const SETTLE_MS = 1_000;
/** A single check that has not ended by then has failed. */
const CHECK_MS = 10_000;

export interface HealthOptions {
  /** Undefined: it is enough that it lives. */
  readonly health: HealthCheck | undefined;
  /** Undefined: there is nothing that stays. */
  readonly isAlive: (() => boolean) | undefined;
  /** Runs the program of a check; rejects unless it ended well. */
  readonly runCheck: (argv: readonly [string, ...string[]], timeoutMs: number) => Promise<void>;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Waits until it is healthy; undefined then, otherwise why it is not found so within the time. */
export async function whyUnhealthy(options: HealthOptions): Promise<string | undefined> {
  const { health, isAlive = () => true, clock, signal } = options;
  const timeoutMs = Math.min(options.timeoutMs, health?.timeoutMs ?? Infinity);
  if (health === undefined) {
    if (options.isAlive === undefined) return undefined;
    await sleepWhile(isAlive, Math.min(SETTLE_MS, timeoutMs), options);
    return isAlive() ? undefined : 'it ended by itself';
  }
  const end = clock.monotonic() + timeoutMs;
  let why: string | undefined;
  for (;;) {
    if (!isAlive()) return 'it ended by itself';
    const leftMs = Math.max(1, end - clock.monotonic());
    const problem = await problemOf(health, { ...options, timeoutMs: Math.min(CHECK_MS, leftMs) });
    signal.throwIfAborted();
    // What answers may be something else, when what was started has ended.
    if (problem === undefined && isAlive()) return undefined;
    if (problem === undefined) return 'it ended by itself';
    // What is cut off at the end says less than what was found before.
    if (why === undefined || clock.monotonic() < end) why = problem;
    if (clock.monotonic() + health.intervalMs >= end) {
      return `it was not healthy within ${timeoutMs} ms: ${why}`;
    }
    await sleepWhile(isAlive, health.intervalMs, options);
  }
}

/** Between two looks whether it still lives. */
const LOOK_MS = 100;

async function sleepWhile(
  isAlive: () => boolean,
  ms: number,
  { clock, signal }: Pick<HealthOptions, 'clock' | 'signal'>,
): Promise<void> {
  const end = clock.monotonic() + ms;
  for (let left = ms; left > 0 && isAlive(); left = end - clock.monotonic()) {
    await clock.sleep(Math.min(LOOK_MS, left), { signal });
  }
}

async function problemOf(health: HealthCheck, options: HealthOptions): Promise<string | undefined> {
  const { how } = health;
  try {
    if ('argv' in how) await options.runCheck(how.argv, options.timeoutMs);
    else await checkHttp(how.url, options);
    return undefined;
  } catch (error) {
    const { message } = CodedError.from(error);
    // Of several addresses that all refuse there is a code and no sentence.
    return message === '' ? (systemCode(error) ?? 'no answer') : message;
  }
}

/** Rejects unless the answer is a 2xx. */
async function checkHttp(
  url: string,
  { clock, signal, timeoutMs }: Pick<HealthOptions, 'clock' | 'signal' | 'timeoutMs'>,
): Promise<void> {
  using deadline = clock.deadline(timeoutMs, { signal });
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = get(url, { agent: false, signal: deadline.signal });
  request.once('response', resolve);
  request.once('error', (error) =>
    reject(deadline.isOver ? new CodedError('ERR_TIMEOUT', `${url} did not answer`) : error),
  );
  const response = await promise;
  response.on('error', () => undefined);
  response.destroy();
  const { statusCode = 0 } = response;
  if (statusCode >= 200 && statusCode < 300) return;
  throw new CodedError('ERR_COMMAND_FAILED', `${url} answered ${statusCode}`);
}
