import { createHash } from 'node:crypto';
import { CodedError } from '../../core/base/error.ts';

/** Which hosts a warm-up is for. */
export type WarmTarget =
  | { readonly kind: 'seeds' }
  | { readonly kind: 'idc'; readonly idc: string }
  | { readonly kind: 'count'; readonly count: number }
  | { readonly kind: 'percent'; readonly percent: number }
  | { readonly kind: 'all' };

/** A host as far as choosing goes. */
export interface Candidate {
  readonly peer: string;
  readonly idc?: string | undefined;
  readonly role: 'host' | 'seed' | 'supernode';
}

/** The texts that `parseTarget` takes. */
export const TARGETS = 'seeds, idc=NAME, count=N, percent=P or all';

/** Reads a target; throws ERR_REQUEST naming `field`. */
export function parseTarget(text: string, field: string): WarmTarget {
  if (text === 'seeds' || text === 'all') return { kind: text };
  const [, kind, value = ''] = /^(idc|count|percent)=(.+)$/.exec(text) ?? [];
  if (kind === 'idc' && value.length <= 64) return { kind, idc: value };
  const number = /^\d{1,7}$/.test(value) ? Number(value) : 0;
  if (kind === 'count' && number > 0) return { kind, count: number };
  if (kind === 'percent' && number > 0 && number <= 100) return { kind, percent: number };
  throw new CodedError('ERR_REQUEST', `${field}: expected ${TARGETS}`, { detail: { path: field } });
}

/**
 * The hosts that a target means. `seeds` means the supernode's own seed too, the others dfdaemons only. A count or a
 * share takes hosts of each idc in turn, within an idc by a hash of peer and `salt`: another job takes others.
 */
export function pickHosts<Host extends Candidate>(
  target: WarmTarget,
  hosts: readonly Host[],
  salt: string,
): readonly Host[] {
  const daemons = hosts.filter(({ role }) => role !== 'supernode');
  switch (target.kind) {
    case 'seeds':
      return hosts.filter(({ role }) => role !== 'host');
    case 'idc':
      return daemons.filter(({ idc }) => idc === target.idc);
    case 'count':
      return inTurn(daemons, salt).slice(0, target.count);
    case 'percent':
      return inTurn(daemons, salt).slice(0, Math.ceil((daemons.length * target.percent) / 100));
    case 'all':
      return daemons;
  }
}

function inTurn<Host extends Candidate>(hosts: readonly Host[], salt: string): Host[] {
  const ranked = hosts
    .map((host) => ({ host, rank: rankOf(host.peer, salt) }))
    .toSorted((a, b) => (a.rank < b.rank ? -1 : 1));
  const byIdc = [...Map.groupBy(ranked, ({ host }) => host.idc ?? '').values()];
  const rounds = Math.max(0, ...byIdc.map((group) => group.length));
  return Array.from({ length: rounds }, (_unused, round) => round).flatMap((round) =>
    byIdc.flatMap((group) => group.slice(round, round + 1).map(({ host }) => host)),
  );
}

function rankOf(peer: string, salt: string): string {
  return createHash('sha256').update(`${salt}/${peer}`).digest('hex');
}
