import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import type { Route } from '../../bench/origin/route.ts';
import { ManualClock } from '../../core/base/clock.ts';

/** An origin that takes requests and answers none of them before it is told to. */
export interface GatedOrigin extends AsyncDisposable {
  readonly origin: FaultOrigin;
  /** Answers what was asked so far, and everything from now on. */
  open(): void;
}

/** Starts one with these paths, all of them closed. */
export async function startGatedOrigin(
  routes: Readonly<Record<string, Route>>,
): Promise<GatedOrigin> {
  const clock = new ManualClock();
  const origin = await startOrigin({ clock });
  for (const [path, route] of Object.entries(routes)) origin.set(path, { ...route, slowHeadMs: 1 });
  return {
    origin,
    open: () => {
      for (const [path, route] of Object.entries(routes)) origin.set(path, route);
      clock.advance(1);
    },
    [Symbol.asyncDispose]: async () => origin.close(),
  };
}
