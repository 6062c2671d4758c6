/**
 * Divides `budget` so that nobody has less than another who wants less: everybody gets what he wants up to a common
 * level. Nobody gets less than `floor`, as long as the budget has so much for all. Whole bytes, never more than the
 * budget together; in the order of `wants`, of which any may be infinite.
 */
export function waterFill(budget: number, wants: readonly number[], floor = 0): number[] {
  const least = Math.min(floor, budget / Math.max(1, wants.length));
  const asked = wants.map((want, at) => ({ at, want: Math.max(want, least) }));
  const given = Array.from({ length: wants.length }, () => 0);
  let left = budget;
  let waiting = wants.length;
  for (const { at, want } of asked.toSorted((one, other) => one.want - other.want)) {
    const share = Math.floor(Math.min(want, left / waiting));
    given[at] = share;
    left -= share;
    waiting -= 1;
  }
  return given;
}
