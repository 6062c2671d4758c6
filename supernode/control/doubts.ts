import { LRUCache } from 'lru-cache';

/** What follows from a child's word that a parent is gone. */
export type Verdict = 'withhold' | 'look' | 'nothing';

/** Children that lose the same parent notice within a moment of each other. */
const WINDOW_MS = 10_000;
/** Distinct children that it takes: one alone may be cut off itself. */
const QUORUM = 2;
/** Who loses more parents than this at a time is likelier cut off itself: its word only makes us look. */
const MAX_LOST = 4;
/** How often a host is looked at because of what others say. */
const LOOK_MS = 5_000;
const MAX_REMEMBERED = 10_000;
const MAX_NAMES = 64;

/** Which hosts are gone, by what their children say, before their own connection tells. Pure, but for what it remembers. */
export class Doubts {
  readonly #reporters = new LRUCache<string, Map<string, number>>({ max: MAX_REMEMBERED });
  readonly #lost = new LRUCache<string, Map<string, number>>({ max: MAX_REMEMBERED });
  readonly #looked = new LRUCache<string, number>({ max: MAX_REMEMBERED });

  /** A child says that it lost the link with a parent. */
  note(
    { child, parent }: { readonly child: string; readonly parent: string },
    nowMs: number,
  ): Verdict {
    if (child === parent) return 'nothing';
    const lost = recent(this.#lost, { key: child, name: parent, nowMs });
    if (lost <= MAX_LOST) {
      const reporters = recent(this.#reporters, { key: parent, name: child, nowMs });
      if (reporters >= QUORUM) return 'withhold';
    }
    const looked = this.#looked.get(parent);
    if (looked !== undefined && nowMs - looked < LOOK_MS) return 'nothing';
    this.#looked.set(parent, nowMs);
    return 'look';
  }
}

/** Adds `name` to those of `key`; how many there are of the last moments. */
function recent(
  cache: LRUCache<string, Map<string, number>>,
  { key, name, nowMs }: { readonly key: string; readonly name: string; readonly nowMs: number },
): number {
  const names = cache.get(key) ?? new Map<string, number>();
  for (const [each, atMs] of names) if (nowMs - atMs > WINDOW_MS) names.delete(each);
  if (names.size < MAX_NAMES) names.set(name, nowMs);
  cache.set(key, names);
  return names.size;
}
