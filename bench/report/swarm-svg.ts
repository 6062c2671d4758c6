/** A point of a plot in its own units. */
export type Point = readonly [x: number, y: number];

/** What a panel shows in: the values at its edges, and what they are called. */
export interface Panel {
  readonly title: string;
  readonly left: number;
  readonly top: number;
  readonly xMax: number;
  readonly yMax: number;
  readonly xLabel: string;
  /** Behind each value of the y axis. */
  readonly yUnit: string;
}

export const PANEL_WIDTH = 430;
export const PANEL_HEIGHT = 250;
const MARGIN = { left: 46, right: 12, top: 26, bottom: 34 };
const STEPS = [1, 2, 5, 10];
const TICKS = 6;
/** More than the eye can tell apart in the width of a panel. */
const MAX_POINTS = 300;

/** A whole picture of these parts. */
export function svgDocument(size: { width: number; height: number }, parts: string[]): string {
  const { width, height } = size;
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`;
  const ground = `<rect width="${width}" height="${height}" fill="#fff"/>`;
  return `${[head, ground, ...parts, '</svg>'].join('\n')}\n`;
}

export function svgText(
  [x, y]: Point,
  text: string,
  options: { anchor?: 'start' | 'middle' | 'end'; size?: number; fill?: string } = {},
): string {
  const { anchor = 'start', size = 11, fill = '#333' } = options;
  const safe = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  const place = `x="${round(x)}" y="${round(y)}"`;
  return `<text ${place} text-anchor="${anchor}" font-size="${size}" fill="${fill}">${safe}</text>`;
}

/** The frame of a panel: title, axes, grid. */
export function svgFrame(panel: Panel): string[] {
  const { xMax, yMax, title, left, top, xLabel, yUnit } = panel;
  const parts = [svgText([left + MARGIN.left, top + 16], title, { size: 12 })];
  const grid = (from: Point, to: Point): string =>
    svgLine(panel, [from, to], { stroke: '#e4e4e4' });
  for (const x of ticks(xMax)) {
    parts.push(grid([x, 0], [x, yMax]));
    const [atX, atY] = placed(panel, [x, 0]);
    parts.push(svgText([atX, atY + 14], `${x}`, { anchor: 'middle' }));
  }
  for (const y of ticks(yMax)) {
    parts.push(grid([0, y], [xMax, y]));
    const [atX, atY] = placed(panel, [0, y]);
    parts.push(svgText([atX - 5, atY + 4], `${y}${yUnit}`, { anchor: 'end' }));
  }
  const [endX, endY] = placed(panel, [xMax, 0]);
  parts.push(svgText([endX, endY + 28], xLabel, { anchor: 'end', fill: '#777' }));
  const corners: Point[] = [
    [0, yMax],
    [0, 0],
    [xMax, 0],
  ];
  parts.push(svgLine(panel, corners, { stroke: '#888' }));
  return parts;
}

/** A line through points of a panel. */
export function svgLine(
  panel: Panel,
  points: readonly Point[],
  options: { stroke: string; width?: number; dash?: string; opacity?: number },
): string {
  const { stroke, width = 1, dash, opacity = 1 } = options;
  const dashes = dash === undefined ? '' : ` stroke-dasharray="${dash}"`;
  const style = `fill="none" stroke="${stroke}" stroke-width="${width}" stroke-opacity="${opacity}"`;
  return `<polyline ${style}${dashes} points="${coordinates(panel, points)}"/>`;
}

/** What lies between two lines of a panel. */
export function svgBand(
  panel: Panel,
  edges: { readonly low: readonly Point[]; readonly high: readonly Point[] },
  fill: string,
): string {
  const around = [...thinned(edges.high), ...thinned(edges.low).toReversed()];
  return `<polygon fill="${fill}" fill-opacity="0.25" points="${coordinates(panel, around, around.length)}"/>`;
}

function coordinates(panel: Panel, points: readonly Point[], most = MAX_POINTS): string {
  return thinned(points, most)
    .map((point) => placed(panel, point).map(round).join(','))
    .join(' ');
}

function thinned(points: readonly Point[], most = MAX_POINTS): readonly Point[] {
  if (points.length <= most) return points;
  const every = Math.ceil(points.length / most);
  return points.filter((_point, at) => at % every === 0 || at === points.length - 1);
}

function placed({ left, top, xMax, yMax }: Panel, [x, y]: Point): [number, number] {
  const width = PANEL_WIDTH - MARGIN.left - MARGIN.right;
  const height = PANEL_HEIGHT - MARGIN.top - MARGIN.bottom;
  return [
    left + MARGIN.left + (x / xMax) * width,
    top + MARGIN.top + (1 - Math.min(1, y / yMax)) * height,
  ];
}

/** Round numbers from 0 to at most `max`. */
export function ticks(max: number): number[] {
  const power = 10 ** Math.floor(Math.log10(max / TICKS));
  const step = power * (STEPS.find((each) => each * power * TICKS >= max) ?? 10);
  return Array.from({ length: Math.floor(max / step + 1e-9) + 1 }, (_item, at) =>
    Number((at * step).toPrecision(6)),
  );
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
