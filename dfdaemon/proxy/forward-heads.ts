// What origins said of content by HEAD, for as long as they let it be reused. A HEAD is sent without anything of the
// client, and asked for requests only that hold nothing private, so its answer is the same for all of one kind of users.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';
import type { HttpHeaders } from '../../core/net/http-client.ts';
import type { AdmittedUser } from './access.ts';
import { listOf, valueOf } from './forward-headers.ts';
import type { Headers } from './forward-headers.ts';

/** What the origin said of content that everybody may have. */
export interface SharedHead {
  readonly headers: HttpHeaders;
  readonly length: number;
}

/** However long an origin allows: what it takes back is given out for at most this time. */
const MAX_KEPT_MS = 60_000;
/** Names and values of all heads, in characters. */
const MAX_KEPT_SIZE = 4 * 1024 * 1024;
const MAX_HEADS = 10_000;

interface KeptHead extends SharedHead {
  readonly atMs: number;
}

/** Heads of shareable content by who may reach it and its URL. */
export class ForwardHeads {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #kept: LRUCache<string, KeptHead>;

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
    this.#kept = new LRUCache({
      max: MAX_HEADS,
      maxSize: MAX_KEPT_SIZE,
      sizeCalculation: ({ headers }, key) => key.length + JSON.stringify(headers).length,
      perf: { now: () => clock.monotonic() },
    });
  }

  /** What is known, its `Age` as it is now; undefined when nothing is, or the client wants the origin asked. */
  find(asked: AskedHead): SharedHead | undefined {
    if (wantsFresh(asked.headers)) return undefined;
    const kept = this.#kept.get(keyOf(asked));
    if (kept === undefined) return undefined;
    const seconds = Math.floor((this.#clock.monotonic() - kept.atMs) / 1000);
    const age = String(ageOf(kept.headers) + seconds);
    return { length: kept.length, headers: { ...kept.headers, age } };
  }

  /** Remembers what the origin said just now, where it allows that. */
  keep(asked: AskedHead, head: SharedHead): void {
    const ttl = Math.min(MAX_KEPT_MS, freshMs(head.headers));
    if (ttl <= 0) return;
    this.#kept.set(keyOf(asked), { ...head, atMs: this.#clock.monotonic() }, { ttl });
  }

  /** It turned out to be of another version. */
  forget(asked: AskedHead): void {
    this.#kept.delete(keyOf(asked));
  }
}

/** Who asks for what. */
export interface AskedHead {
  readonly url: URL;
  readonly user: AdmittedUser;
  readonly headers: Headers;
}

function keyOf({ user, url }: AskedHead): string {
  return `${user} ${url.href}`;
}

/** How long an answer may still be reused by everybody, ms (RFC 9111 §5.2.2); what does not say so is not reused. */
function freshMs(headers: Headers): number {
  const caching = new Map(
    listOf(headers['cache-control']).map((item) => {
      const [name = '', value = ''] = item.split('=', 2);
      return [name.trim().toLowerCase(), value.trim().replace(/^"(.*)"$/, '$1')] as const;
    }),
  );
  if (caching.has('no-cache')) return 0;
  const seconds = caching.get('s-maxage') ?? caching.get('max-age') ?? '0';
  return /^\d{1,15}$/.test(seconds) ? (Number(seconds) - ageOf(headers)) * 1000 : 0;
}

/** Seconds since the origin itself said it, where a cache in between tells. */
function ageOf(headers: Headers): number {
  const age = valueOf(headers, 'age') ?? '';
  return /^\d{1,15}$/.test(age) ? Number(age) : 0;
}

function wantsFresh(headers: Headers): boolean {
  const words = [...listOf(headers['cache-control']), ...listOf(headers['pragma'])];
  return words.some((word) => /^(?:no-cache$|max-age=|min-fresh=)/i.test(word));
}
