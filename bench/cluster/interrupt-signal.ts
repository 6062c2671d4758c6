import { CodedError } from '../../core/base/error.ts';

/** Aborted by the first SIGINT, SIGTERM or SIGHUP; the second one ends this process at once. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130);
      controller.abort(new CodedError('ERR_INTERRUPTED', `stopped by ${name}`));
    });
  }
  return controller.signal;
}
