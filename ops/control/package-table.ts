import { blobUrl, isBlobUrl } from '../../core/base/blob-url.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Page, Paged } from '../../core/base/paging.ts';
import { parseOriginUrl } from '../../core/piece/task-id.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { Effect } from './door-effect.ts';
import { PackageRecord } from './package-record.ts';
import type { PackagePublish } from './package-record.ts';

/** Versions of packages in a cell; past it ERR_BUSY. */
export const MAX_VERSIONS = 100_000;

const PREFIX = 'package/';
const parseRecord = parser(PackageRecord, { code: 'ERR_STORE_IO' });

/** Which packages there are, in which versions, and where each is. What is published never changes; it can be removed. */
export class PackageTable {
  readonly #store: StateStore;
  /** How many versions are the content of a digest. */
  readonly #digests = new Map<string, number>();
  #versions = 0;

  private constructor(store: StateStore) {
    this.#store = store;
  }

  static async open(store: StateStore): Promise<PackageTable> {
    const table = new PackageTable(store);
    for await (const { value } of store.range(keysWith(PREFIX))) table.#count(parseRecord(value));
    return table;
  }

  /** The version, if it was published. */
  async find(name: string, version: string): Promise<PackageRecord | undefined> {
    const row = await this.#store.get(keyOf({ name, version }));
    return row === undefined ? undefined : parseRecord(row.value);
  }

  /** Whether some package is the content of this digest. */
  refersTo(digest: string): boolean {
    return this.#digests.has(digest);
  }

  /** Packages by name and version, or the versions of one; `next` of a page is `NAME/VERSION`. */
  async list({ limit, after }: Page, name?: string): Promise<Paged<PackageRecord>> {
    const { gte, lt } = keysWith(name === undefined ? PREFIX : `${PREFIX}${name}/`);
    const from = after === '' ? gte : `${PREFIX}${after}\0`;
    const items: PackageRecord[] = [];
    const range = { gte: from > gte ? from : gte, lt };
    for await (const { value } of this.#store.range(range, { limit: limit + 1 })) {
      items.push(parseRecord(value));
    }
    if (items.length <= limit) return { items };
    const page = items.slice(0, limit);
    const last = page.at(-1);
    return last === undefined
      ? { items: page }
      : { items: page, next: `${last.name}/${last.version}` };
  }

  /**
   * Makes a version known. `blobLength`: of the blob of its digest, if that was uploaded. The same again changes
   * nothing; with other content ERR_CONFLICT. ERR_NOT_FOUND when it has no URL and no blob, ERR_REQUEST when the length
   * is another, ERR_URL for what is no place to fetch from, ERR_BUSY past the bound.
   */
  async publish(
    { name, version, digest, length, url = blobUrl(digest) }: PackagePublish,
    {
      publishedBy,
      at,
      blobLength,
    }: Pick<PackageRecord, 'publishedBy' | 'at'> & { readonly blobLength: number | undefined },
  ): Promise<Effect<PackageRecord>> {
    checkPlace({ url, digest, length }, blobLength);
    const key = keyOf({ name, version });
    const row = await this.#store.get(key);
    const record = { name, version, digest, length, url, publishedBy, at };
    const detail = { digest, length, url };
    if (row !== undefined) {
      const former = parseRecord(row.value);
      const isSame = former.digest === digest && former.length === length && former.url === url;
      if (!isSame) throw conflict(former);
      return {
        changes: [],
        expect: [{ key, revision: row.revision }],
        detail,
        answer: () => former,
      };
    }
    if (this.#versions >= MAX_VERSIONS) {
      throw new CodedError('ERR_BUSY', `there are ${MAX_VERSIONS} versions of packages`);
    }
    return {
      changes: [{ type: 'put', key, value: record }],
      expect: [{ key, revision: 0 }],
      detail,
      answer: () => {
        this.#count(record);
        return record;
      },
    };
  }

  /** Takes a version away; ERR_NOT_FOUND when it was not published. */
  async remove(name: string, version: string): Promise<Effect<PackageRecord>> {
    const key = keyOf({ name, version });
    const row = await this.#store.get(key);
    if (row === undefined) {
      throw new CodedError('ERR_NOT_FOUND', `no package ${name} ${version} was published`);
    }
    const record = parseRecord(row.value);
    const { digest, length } = record;
    return {
      changes: [{ type: 'del', key }],
      expect: [{ key, revision: row.revision }],
      detail: { digest, length },
      answer: () => {
        this.#versions -= 1;
        const left = (this.#digests.get(digest) ?? 1) - 1;
        if (left === 0) this.#digests.delete(digest);
        else this.#digests.set(digest, left);
        return record;
      },
    };
  }

  #count({ digest }: PackageRecord): void {
    this.#versions += 1;
    this.#digests.set(digest, (this.#digests.get(digest) ?? 0) + 1);
  }
}

function keyOf({ name, version }: Pick<PackageRecord, 'name' | 'version'>): string {
  return `${PREFIX}${name}/${version}`;
}

function checkPlace(
  { url, digest, length }: Pick<PackageRecord, 'url' | 'digest' | 'length'>,
  blobLength: number | undefined,
): void {
  const place = parseOriginUrl(url);
  if (!isBlobUrl(place)) {
    if (place.username === '' && place.password === '') return;
    throw wrong('url', 'may hold no password: everybody who may list packages reads it');
  }
  if (url !== blobUrl(digest)) throw wrong('url', 'is that of another blob');
  if (blobLength === undefined) {
    throw new CodedError('ERR_NOT_FOUND', `digest: no blob ${digest} was uploaded`);
  }
  if (blobLength !== length) throw wrong('length', `is not that of the blob: ${blobLength}`);
}

function conflict({ name, version, digest, url }: PackageRecord): CodedError {
  const message = `${name} ${version} is published already, as ${digest} at ${url}: choose another version`;
  return new CodedError('ERR_CONFLICT', message, { detail: { name, version, digest } });
}

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
