import type { CallsResult } from '../scenario/calls.ts';
import { quantile } from './swarm-limits.ts';
import { renderTable } from './table.ts';

/** What a run came to, beside what is asked of it. */
export function renderCalls(result: CallsResult): string {
  const { calls, oneMs, allMs, amidSlowMs, idleCores, lightMs, queryMs, sustained } = result;
  const rows = [
    row('true on one of the real hosts', oneMs, 'p50 60 ms, p99 200 ms'),
    row(`true on all ${calls.hosts} real hosts`, allMs, ''),
    row(
      `true on one, ${calls.queued} slow calls in line`,
      amidSlowMs,
      `p99 ${(2 * quantile(oneMs, 0.99)).toFixed(0)} ms`,
    ),
    row(`one call to all ${calls.light} light hosts`, lightMs, '3 s'),
    row(`a query to all ${calls.light} light hosts`, queryMs, '1 s'),
    row(`one light host each, ${calls.atOnce} at once`, sustained.ms, ''),
  ];
  const rate = sustained.calls / sustained.seconds;
  const cores = sustained.supernodeCpu / sustained.seconds;
  const each = (sustained.supernodeCpu * 1000) / sustained.calls;
  return [
    renderTable(['what', 'times', 'p50', 'p99', 'most', 'bar'], rows),
    `${rate.toFixed(0)} calls/s for ${sustained.seconds.toFixed(0)} s (bar 300): ${sustained.lost} lost, ${sustained.doubled} doubled`,
    `the supernode took ${cores.toFixed(2)} cores meanwhile, ${each.toFixed(2)} ms of CPU a call`,
    `a dfdaemon that has nothing to do takes ${(idleCores * 100).toFixed(2)} % of a core (bar 1 %)`,
    '',
  ].join('\n');
}

function row(what: string, ms: readonly number[], bar: string): Record<string, string> {
  return {
    what,
    times: `${ms.length}`,
    p50: `${quantile(ms, 0.5).toFixed(1)} ms`,
    p99: `${quantile(ms, 0.99).toFixed(1)} ms`,
    most: `${Math.max(...ms).toFixed(1)} ms`,
    bar,
  };
}
