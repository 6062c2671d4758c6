import { Type } from 'typebox';
import type { Static, TSchema } from 'typebox';
import { parser } from '../../core/wire/parse-message.ts';
import type { ApiClient } from './api-client.ts';

const PAGE = 1_000;

const parsePage = parser(
  Type.Object({ items: Type.Array(Type.Unknown()), next: Type.Optional(Type.String()) }),
);

/** All entries of a list that comes in pages; `query` is what is asked besides, as `on=all`. */
export async function* listed<const Item extends TSchema>(
  api: ApiClient,
  {
    path,
    query = '',
    item,
    signal,
  }: {
    readonly path: string;
    readonly query?: string;
    readonly item: Item;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<Static<Item>, void, undefined> {
  const parseItem = parser(item);
  for (let after = ''; ;) {
    const page = `limit=${PAGE}&after=${encodeURIComponent(after)}`;
    const asked = query === '' ? page : `${query}&${page}`;
    const { items, next } = parsePage(
      await api.ask({ method: 'GET', path: `${path}?${asked}`, signal }),
    );
    for (const one of items) yield parseItem(one);
    if (next === undefined) return;
    after = next;
  }
}
