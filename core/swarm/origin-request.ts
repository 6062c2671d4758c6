import type { TaskSpec } from '../wire/messages.ts';
import type { TransferOriginRequest } from './transfer-messages.ts';

/** Makes requests to the origin of a task; ranges are of the task's content, which may itself be a range. */
export interface OriginOpener {
  /** All of the task's content. */
  whole(): TransferOriginRequest;
  /** Bytes `[start, end)` of the task's content. */
  part(start: number, end: number | undefined): TransferOriginRequest;
}

/** The requests that fit a task's URL, headers and range. */
export function openerOf(spec: TaskSpec): OriginOpener {
  const base = { url: spec.url, headers: spec.headers ?? {} };
  const offset = spec.range?.start ?? 0;
  const limit = spec.range?.end;
  return {
    whole: () => (spec.range === undefined ? base : { ...base, range: rangeOf(offset, limit) }),
    part: (start, end) => ({
      ...base,
      range: rangeOf(offset + start, end === undefined ? limit : offset + end),
    }),
  };
}

/** Bytes of the task's content, given the length of all there is at its URL. */
export function contentLength(spec: TaskSpec, total: number | undefined): number | undefined {
  if (total === undefined || spec.range === undefined) return total;
  return Math.max(0, Math.min(spec.range.end ?? total, total) - spec.range.start);
}

function rangeOf(start: number, end: number | undefined): { start: number; end?: number } {
  return end === undefined ? { start } : { start, end };
}
