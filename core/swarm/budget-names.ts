import { isIdc } from '../identity/membership.ts';
import { ANY_HOST, originHostOf } from '../origin/origin-host-limit.ts';

/** A budget of the cell for a part of what moves: from one host of origins, or from hosts of one idc to those of another. */
export type NamedBudget =
  | { readonly kind: 'origin'; readonly host: string }
  | { readonly kind: 'between'; readonly from: string; readonly to: string };

/** The name by which supernode and hosts speak of it. */
export function budgetName(budget: NamedBudget): string {
  return budget.kind === 'origin' ? `origin:${budget.host}` : `between:${budget.from}|${budget.to}`;
}

/** The budget of a name; undefined for names of later versions. */
export function budgetNamed(name: string): NamedBudget | undefined {
  const [, kind, rest = ''] = /^(origin|between):(.+)$/.exec(name) ?? [];
  if (kind === 'origin') {
    const host = originHostOf(rest);
    return host === undefined || host === ANY_HOST ? undefined : { kind, host };
  }
  if (kind !== 'between') return undefined;
  const [from = '', to = '', more] = rest.split('|');
  return isIdc(from) && isIdc(to) && more === undefined ? { kind, from, to } : undefined;
}
