/** Classes of downloads, the most important first. */
export const priorities = ['release', 'interactive', 'normal', 'warm-up'] as const;

/** How important a download is: what its bytes weigh where they compete with others for the same line. */
export type Priority = (typeof priorities)[number];

/** What a download is when nobody says. */
export const DEFAULT_PRIORITY: Priority = 'normal';

/** Shares of a line among those classes that want something of it. */
const weights: Readonly<Record<Priority, number>> = {
  release: 64,
  interactive: 16,
  normal: 4,
  'warm-up': 1,
};

/** A class this many times heavier need not only be served more: the lighter one keeps out of its way. */
const YIELD_RATIO = 16;

/** The share of a class, relative to those of others. */
export function weightOf(priority: Priority): number {
  return weights[priority];
}

/** The more important of two classes. */
export function moreImportant(left: Priority, right: Priority): Priority {
  return weights[left] >= weights[right] ? left : right;
}

/** True for a class that keeps out of the way of `other`: at most one request or block of it is under way. */
export function yieldsTo(priority: Priority, other: Priority): boolean {
  return weights[other] >= weights[priority] * YIELD_RATIO;
}
