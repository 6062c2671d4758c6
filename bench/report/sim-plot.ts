import { humanBytes } from '../../core/base/units.ts';
import type { SimMoment, SimResult } from '../sim/simulate.ts';
import { summarizeSim } from './sim-report.ts';
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

const COLOR = '#0b62a4';
const SEED_COLOR = '#c2571a';
const LIMIT = '#d0021b';
const HEAD = 44;

/** A picture of a case: the share that hosts have, on how many hosts pieces are, how busy cards are. */
export function plotSim(result: SimResult): string {
  const { swarm, moments } = result;
  const { p50, max, limit } = summarizeSim(result);
  const facts = `${swarm.hosts} hosts, ${humanBytes(swarm.size)}, ${(swarm.up * 8) / 1e6} Mbit/s`;
  const times = `p50 ${p50.toFixed(1)} s, max ${max.toFixed(1)} s; limit ${limit.toFixed(1)} s`;
  const xMax = Math.max(limit, moments.at(-1)?.seconds ?? 0) * 1.03;
  const base = { top: HEAD, xMax, xLabel: 'seconds' };
  const panels = [
    { ...base, title: times, left: 0, yMax: 100, yUnit: ' %' },
    { ...base, title: SPREAD_TITLE, left: PANEL_WIDTH, yMax: swarm.hosts, yUnit: '' },
    { ...base, title: BUSY_TITLE, left: 2 * PANEL_WIDTH, yMax: 100, yUnit: ' %' },
  ] as const;
  const lines = [
    completion(panels[0], result),
    spread(panels[1], moments),
    busy(panels[2], moments),
  ];
  const parts = panels.flatMap((panel, at) => [
    ...svgFrame(panel),
    ...(lines[at] ?? []),
    limitLine(panel, limit),
  ]);
  const head = svgText([12, 24], `bench sim: ${facts}`, { size: 15 });
  return svgDocument({ width: 3 * PANEL_WIDTH, height: HEAD + PANEL_HEIGHT }, [head, ...parts]);
}

const SPREAD_TITLE = 'hosts that have the rarest, the middle, the commonest piece';
const BUSY_TITLE = 'uplinks in use: of all hosts, of the seed (dashed)';

function completion(panel: Panel, { swarm, moments }: SimResult): string[] {
  const curves = moments[0]?.bytes.length ?? 0;
  return Array.from({ length: curves }, (_item, at) => {
    const points = moments.map(({ seconds, bytes }): Point => [
      seconds,
      ((bytes[at] ?? 0) / swarm.size) * 100,
    ]);
    return svgLine(panel, points, { stroke: COLOR, opacity: 0.6 });
  });
}

function spread(panel: Panel, moments: readonly SimMoment[]): string[] {
  const line = (pick: 'rarest' | 'middle' | 'commonest'): Point[] =>
    moments.map((at): Point => [at.seconds, at[pick]]);
  return [
    svgBand(panel, { low: line('rarest'), high: line('commonest') }, COLOR),
    svgLine(panel, line('middle'), { stroke: COLOR, width: 1.5 }),
  ];
}

function busy(panel: Panel, moments: readonly SimMoment[]): string[] {
  const line = (pick: 'seedBusy' | 'hostsBusy'): Point[] =>
    moments.map((at): Point => [at.seconds, at[pick] * 100]);
  return [
    svgLine(panel, line('seedBusy'), { stroke: SEED_COLOR, dash: '3 2' }),
    svgLine(panel, line('hostsBusy'), { stroke: COLOR, width: 1.5 }),
  ];
}

function limitLine(panel: Panel, limit: number): string {
  const ends: Point[] = [
    [limit, 0],
    [limit, panel.yMax],
  ];
  return svgLine(panel, ends, { stroke: LIMIT, dash: '4 3' });
}
