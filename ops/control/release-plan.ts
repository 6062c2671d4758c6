import { createHash } from 'node:crypto';
import { canonical } from './audit-record.ts';
import type { CallTarget } from './call-record.ts';
import type { PackageRecord } from './package-record.ts';
import type { Batching, ReleasePlan, ReleaseRequest } from './release-record.ts';

const DEFAULTS = {
  // Whoever wants none of it says so.
  pause: 'first',
  maxFailures: 0,
  healthTimeoutMs: 30_000,
  installTimeoutMs: 600_000,
  giveUpMs: 300_000,
} as const;

/** What a release of this package to these hosts does. The same hosts in any order give the same plan. */
export function planRelease(
  request: ReleaseRequest,
  {
    hosts,
    found,
  }: {
    readonly hosts: readonly CallTarget[];
    readonly found: Pick<PackageRecord, 'digest' | 'url'>;
  },
): ReleasePlan {
  const { application, version, on } = request;
  const plan = {
    application,
    version,
    on,
    pause: request.pause ?? DEFAULTS.pause,
    maxFailures: request.maxFailures ?? DEFAULTS.maxFailures,
    healthTimeoutMs: request.healthTimeoutMs ?? DEFAULTS.healthTimeoutMs,
    installTimeoutMs: request.installTimeoutMs ?? DEFAULTS.installTimeoutMs,
    giveUpMs: request.giveUpMs ?? DEFAULTS.giveUpMs,
    digest: found.digest,
    url: found.url,
    batches: batchesOf(hosts, request.batches),
  };
  return { ...plan, plan: digestOfPlan(plan) };
}

/** `sha256:HEX` over everything that a release does: hosts by their peer ids, names are what hosts say of themselves. */
export function digestOfPlan(plan: Omit<ReleasePlan, 'plan'>): string {
  const { batches, ...rest } = plan;
  const peers = batches.map((batch) => batch.map(({ peer }) => peer));
  const text = canonical({ v: 1, ...rest, batches: peers });
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/**
 * Hosts in batches, all of nearly one size and each with nearly the same share of every idc: both differ by one host
 * at most. Cards are dealt like that: sorted by idc, one to each batch in turn. The last batch is dealt to first, so
 * that the first, which is the one to learn from, is never larger than another.
 */
export function batchesOf(hosts: readonly CallTarget[], rule: Batching): CallTarget[][] {
  const count = Math.min(hosts.length, countOf(hosts.length, rule));
  const batches = Array.from({ length: count }, (): CallTarget[] => []);
  for (const [at, host] of hosts.toSorted(byIdc).entries())
    batches.at(-1 - (at % count))?.push(host);
  return batches;
}

function countOf(hosts: number, rule: Batching): number {
  if ('count' in rule) return rule.count;
  const size = 'size' in rule ? rule.size : Math.max(1, Math.floor((hosts * rule.percent) / 100));
  return Math.ceil(hosts / size);
}

function byIdc(one: CallTarget, other: CallTarget): number {
  const { idc: a = '' } = one;
  const { idc: b = '' } = other;
  if (a !== b) return a < b ? -1 : 1;
  return one.peer < other.peer ? -1 : 1;
}
