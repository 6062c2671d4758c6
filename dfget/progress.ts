import { humanBytes } from '../core/base/units.ts';
import { printable } from '../core/base/printable.ts';

/** What the bar shows. */
export interface ProgressState {
  /** Verified bytes. */
  readonly received: number;
  readonly length?: number | undefined;
  readonly bytesPerSecond: number;
  readonly fromPeers: number;
  readonly elapsedMs: number;
  /** Why nothing moves, if nothing does. */
  readonly waiting?: { readonly reason: string; readonly ms: number } | undefined;
}

const MIN_BAR = 12;
const MAX_BAR = 42;
const SPINNER = ['|', '/', '-', '\\'];
const MAX_ETA_SECONDS = 100 * 3600;

/** One line of at most `columns - 1` characters (the last column would wrap on some terminals). */
export function renderProgress(state: ProgressState, columns: number): string {
  const width = Math.max(1, columns - 1);
  const head = state.length === undefined ? spinner(state) : percent(state.received, state.length);
  const parts = [head];
  for (const part of partsOf(state)) {
    if (lengthOf([...parts, part]) <= width) parts.push(part);
  }
  const room = width - lengthOf(parts) - 1;
  if (state.length !== undefined && room >= MIN_BAR) {
    parts.splice(1, 0, bar(state.received / Math.max(1, state.length), Math.min(room, MAX_BAR)));
  }
  return parts.join(' ').slice(0, width);
}

/** `0:07`, `12:34`, `1:02:03`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const tail = String(whole % 60).padStart(2, '0');
  return hours === 0
    ? `${minutes}:${tail}`
    : `${hours}:${String(minutes).padStart(2, '0')}:${tail}`;
}

// The most important first: what does not fit is left out from the end.
function partsOf(state: ProgressState): string[] {
  const { received, length, bytesPerSecond, waiting } = state;
  const amount = humanBytes(received);
  const parts = [length === undefined ? amount : `${amount}/${humanBytes(length)}`];
  if (waiting !== undefined) {
    // Others' words may be of any width; only ASCII is sure to take one column a character.
    const reason = printable(waiting.reason)
      .replaceAll(/[^\x20-\x7e]/g, '?')
      .slice(0, 60);
    return [...parts, `waiting ${formatSeconds(waiting.ms / 1000)}: ${reason}`];
  }
  parts.push(`${humanBytes(bytesPerSecond)}/s`);
  parts.push(length === undefined ? formatSeconds(state.elapsedMs / 1000) : eta(state, length));
  if (state.fromPeers > 0) parts.push(`${humanBytes(state.fromPeers)} from peers`);
  return parts;
}

function eta(state: ProgressState, length: number): string {
  const seconds = Math.max(0, length - state.received) / state.bytesPerSecond;
  return `ETA ${seconds < MAX_ETA_SECONDS ? formatSeconds(seconds) : '-:--'}`;
}

// Rounded down: 100 % is said only when every byte is there.
function percent(received: number, length: number): string {
  const share = length === 0 ? 1 : Math.min(1, received / length);
  return `${String(Math.floor(share * 100)).padStart(3)}%`;
}

function spinner(state: ProgressState): string {
  return SPINNER[Math.floor(state.elapsedMs / 200) % SPINNER.length] ?? '|';
}

function bar(share: number, width: number): string {
  const inner = width - 2;
  const done = Math.floor(Math.min(1, share) * inner);
  const tip = done < inner ? '>' : '';
  return `[${`${'='.repeat(done)}${tip}`.slice(0, inner).padEnd(inner)}]`;
}

function lengthOf(parts: readonly string[]): number {
  return parts.join(' ').length;
}
