import { readMarkup } from './markup.ts';
import type { ListedChild } from './walk-folders.ts';

/** Longer ones are no names of files. */
const MAX_HREF = 8_192;

/** The children of a folder that a page of links names, each once. */
export async function* readHtmlIndex(
  body: AsyncIterable<Uint8Array>,
  folder: URL,
  options: { readonly maxBytes: number },
): AsyncGenerator<ListedChild> {
  const found: ListedChild[] = [];
  const seen = new Set<string>();
  const open = (name: string, attributes: Readonly<Record<string, string>>): void => {
    const href = name === 'a' ? attributes['href'] : undefined;
    const child = href === undefined ? undefined : childOfLink(href, folder);
    if (child === undefined || seen.has(child.location)) return;
    seen.add(child.location);
    found.push(child);
  };
  for await (const _ of readMarkup(body, { open }, { language: 'html', ...options })) {
    yield* found.splice(0);
  }
}

/**
 * What a link of the page at `folder` (whose path ends in `/`) says of a child of that folder. Undefined for all else:
 * the parent, the page itself in another order, other places, and what lies deeper.
 */
export function childOfLink(href: string, folder: URL): ListedChild | undefined {
  if (href.length > MAX_HREF) return undefined;
  const url = URL.parse(href, folder.href);
  if (url === null || url.search !== '' || url.username !== '' || url.password !== '') {
    return undefined;
  }
  url.hash = '';
  return childAt(url, folder);
}

/** The child of `folder` that `url` is the address of; undefined when it is not directly below. */
export function childAt(url: URL, folder: URL): ListedChild | undefined {
  if (url.origin !== folder.origin) return undefined;
  // With `..` and its spellings resolved: what lies elsewhere has other names before the last.
  const above = folder.pathname.split('/').slice(0, -1);
  const names = url.pathname.split('/');
  const isFolder = names.length === above.length + 2 && names.at(-1) === '';
  if (!isFolder && names.length !== above.length + 1) return undefined;
  if (!above.every((name, at) => isSameName(name, names[at] ?? ''))) return undefined;
  const raw = names[above.length] ?? '';
  if (raw === '') return undefined;
  const kind = isFolder ? 'folder' : 'file';
  const child = { kind, location: url.href } as const;
  const name = decoded(raw);
  return name === undefined
    ? { ...child, name: raw, problem: 'a name that is not UTF-8' }
    : { ...child, name };
}

/** Servers encode the same name differently: `%c3%bc`, `%C3%BC`, and some more characters than others. */
function isSameName(left: string, right: string): boolean {
  return left === right || (decoded(left) ?? left) === decoded(right);
}

function decoded(name: string): string | undefined {
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined;
  }
}
