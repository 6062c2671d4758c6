import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../core/base/clock.ts';
import type { Headers } from './forward-headers.ts';

/** How long a registry's yes holds: what it takes back is given out for at most this time. */
const RIGHTS_MS = 60_000;
const MAX_RIGHTS = 10_000;

/** Headers that are no credentials; any other may be one by some name. */
const HARMLESS: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'connection',
  'host',
  'if-match',
  'if-none-match',
  'if-range',
  'range',
  'referer',
  'user-agent',
]);

/** Remembers for a short time which credentials a registry accepted for what; the credentials themselves are not kept. */
export class UpstreamRights {
  readonly #granted: LRUCache<string, true>;

  constructor(clock: Clock) {
    this.#granted = new LRUCache({
      max: MAX_RIGHTS,
      ttl: RIGHTS_MS,
      perf: { now: () => clock.monotonic() },
    });
  }

  /** True when the registry said yes to a request for this URL with these credentials a short time ago. */
  has(url: string, headers: Headers): boolean {
    return this.#granted.has(keyOf(url, headers));
  }

  /** The registry says yes. */
  grant(url: string, headers: Headers): void {
    this.#granted.set(keyOf(url, headers), true);
  }
}

function keyOf(url: string, headers: Headers): string {
  const credentials = Object.entries(headers)
    .filter(([name]) => !HARMLESS.has(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([url, credentials]))
    .digest('base64');
}
