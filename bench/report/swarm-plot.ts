import { humanBytes } from '../../core/base/units.ts';
import type { SwarmResult, SwarmRun } from '../scenario/swarm.ts';
import { summarizeSwarm } from './swarm-report.ts';
import type { SwarmSummary } from './swarm-report.ts';
import {
  PANEL_HEIGHT,
  PANEL_WIDTH,
  svgBand,
  svgDocument,
  svgFrame,
  svgLine,
  svgText,
} from './swarm-svg.ts';
import type { Panel, Point } from './swarm-svg.ts';

const COLORS = ['#0b62a4', '#c2571a', '#2f7d32', '#7b3fa0'];
const LIMIT = '#d0021b';
const KILLED = '#999';
const HEAD = 44;

/** A picture of every run: each host's share over time, and on how many hosts pieces were. */
export function plotSwarm(result: SwarmResult): string {
  const { swarm, runs } = result;
  const facts = `${swarm.hosts} hosts, ${humanBytes(swarm.size)}, ${swarm.rate / 1e6} Mbit/s each way`;
  const parts = [svgText([12, 24], `bench swarm: ${facts}`, { size: 15 })];
  const summaries = summarizeSwarm(result);
  for (const [at, run] of runs.entries()) {
    const summary = summaries[at];
    if (summary === undefined) continue;
    const place = { top: HEAD + at * PANEL_HEIGHT, color: COLORS[at % COLORS.length] ?? '#000' };
    parts.push(
      ...completion({ result, run, summary }, place),
      ...spread({ result, run, summary }, place),
    );
  }
  return svgDocument({ width: 2 * PANEL_WIDTH, height: HEAD + runs.length * PANEL_HEIGHT }, parts);
}

interface Shown {
  readonly result: SwarmResult;
  readonly run: SwarmRun;
  readonly summary: SwarmSummary;
}

function completion(
  { result, run, summary }: Shown,
  place: { top: number; color: string },
): string[] {
  const times = `p50 ${summary.p50.toFixed(1)} s, max ${summary.max.toFixed(1)} s`;
  const title = `${run.contender}: ${times}; limit ${summary.limit.toFixed(1)} s`;
  const panel = { ...panelOf({ run, summary }, place.top), title, left: 0, yMax: 100, yUnit: ' %' };
  const { size } = result.swarm;
  const lines = run.hosts.map(({ curve, seconds }) => {
    const points = curve.map(([at, bytes]): Point => [at, (bytes / size) * 100]);
    const stroke = seconds === undefined ? KILLED : place.color;
    return svgLine(panel, points, { stroke, opacity: 0.6 });
  });
  return [...svgFrame(panel), ...lines, limitLine(panel, summary)];
}

function spread({ run, summary }: Shown, place: { top: number; color: string }): string[] {
  const title = 'hosts that have the rarest, the middle, the commonest piece';
  const left = PANEL_WIDTH;
  const panel = {
    ...panelOf({ run, summary }, place.top),
    title,
    left,
    yMax: run.hosts.length,
    yUnit: '',
  };
  const line = (pick: 'rarest' | 'middle' | 'commonest'): Point[] =>
    run.spread.map((at): Point => [at.seconds, at[pick]]);
  const band = svgBand(panel, { low: line('rarest'), high: line('commonest') }, place.color);
  const middle = svgLine(panel, line('middle'), { stroke: place.color, width: 1.5 });
  return [...svgFrame(panel), band, middle, limitLine(panel, summary)];
}

function panelOf(
  { run }: Pick<Shown, 'run' | 'summary'>,
  top: number,
): Pick<Panel, 'top' | 'xMax' | 'xLabel'> {
  const ends = run.hosts.map(({ joined, seconds = 0 }) => joined + seconds);
  const seen = run.hosts.flatMap(({ curve }) => curve.map(([at]) => at));
  const last = Math.max(...ends, ...seen, run.spread.at(-1)?.seconds ?? 0);
  return { top, xMax: Math.max(1, last * 1.03), xLabel: 'seconds' };
}

function limitLine(panel: Panel, { limit }: SwarmSummary): string {
  return svgLine(
    panel,
    [
      [limit, 0],
      [limit, panel.yMax],
    ],
    { stroke: LIMIT, dash: '4 3' },
  );
}
