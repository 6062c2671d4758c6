/** Which part of a list is asked for: at most `limit` entries, those with ids after `after`. */
export interface Page {
  readonly limit: number;
  readonly after: string;
}

/** A part of a list; `next` is the `after` of the part that follows, absent at the end. */
export interface Paged<Row> {
  readonly items: readonly Row[];
  readonly next?: string;
}

/** Entries of a page that names no limit, and the most of one that does. */
export const pageLimits = { default: 100, max: 1000 } as const;

/** The rows of a page of `ids`, in the order of the ids, which no change between two calls can break. */
export function pageOf<Row>(
  ids: Iterable<string>,
  page: Page,
  rowOf: (id: string) => Row | undefined,
): Paged<Row> {
  const wanted = [...ids].filter((id) => id > page.after).toSorted();
  const ofPage = wanted.slice(0, page.limit);
  const items = ofPage.map((id) => rowOf(id)).filter((row) => row !== undefined);
  const last = ofPage.at(-1);
  return wanted.length > ofPage.length && last !== undefined ? { items, next: last } : { items };
}
