import { SystemClock } from '../../core/base/clock.ts';

/** Resolves when `isTrue` says so; asked every few milliseconds, and given up after three minutes. */
export async function until(isTrue: () => boolean): Promise<void> {
  const clock = new SystemClock();
  const endMs = clock.monotonic() + 180_000;
  while (!isTrue()) {
    if (clock.monotonic() > endMs) throw new Error(`never became true: ${isTrue.toString()}`);
    await clock.sleep(5);
  }
}
