import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { budgetName, budgetNamed } from '../../core/swarm/budget-names.ts';

/** Less is no budget for a cell: it would stand still, and 0 says "no limit". */
const LEAST = 65_536;
const MOST = 1_000_000_000_000;
/** Budgets that name a host of origins or idcs: each is split among all hosts twice a second. */
const MAX_NAMED = 32;

const Rate = Type.Integer({ minimum: 0 });
const Rates = Type.Record(Type.String({ minLength: 1, maxLength: 300 }), Rate);

/** What all hosts of the cell together may move, bytes per second; 0 is no limit. */
export const CellBudgets = Type.Object({
  /** Payload that hosts take from each other and from the seed. */
  download: Rate,
  /** Payload that hosts and the seed take from origins. */
  origin: Rate,
  /** The same from one host of origins, by its name; absent: none is named. */
  originHosts: Type.Optional(Rates),
  /** Payload that hosts of one idc take from hosts of another, and the seed there, by `FROM|TO`; absent: none is named. */
  between: Type.Optional(Rates),
});
export type CellBudgets = Static<typeof CellBudgets>;

const Budget = Type.Union([Type.Literal(0), Type.Integer({ minimum: LEAST, maximum: MOST })]);
const Budgets = Type.Record(Type.String({ minLength: 1, maxLength: 300 }), Budget, {
  maxProperties: MAX_NAMED,
});
/** What is to change; what is not named stays. */
export const BudgetChanges = Type.Object(
  {
    download: Type.Optional(Budget),
    origin: Type.Optional(Budget),
    originHosts: Type.Optional(Budgets),
    between: Type.Optional(Budgets),
  },
  { additionalProperties: false },
);
export type BudgetChanges = Static<typeof BudgetChanges>;

type NamedKind = 'originHosts' | 'between';
const prefixes = { originHosts: 'origin', between: 'between' } as const;

/** The budgets with some of them changed; ERR_REQUEST naming the field for a name that is none, or when there are too many. */
export function changedBudgets(now: CellBudgets, changes: BudgetChanges): CellBudgets {
  const originHosts = changedNames('originHosts', now, changes);
  const between = changedNames('between', now, changes);
  const count = Object.keys(originHosts).length + Object.keys(between).length;
  if (count > MAX_NAMED) {
    const path = changes.originHosts === undefined ? 'between' : 'originHosts';
    throw wrong(path, `there are ${MAX_NAMED} budgets with names at most`);
  }
  return {
    download: changes.download ?? now.download,
    origin: changes.origin ?? now.origin,
    ...(Object.keys(originHosts).length === 0 ? {} : { originHosts }),
    ...(Object.keys(between).length === 0 ? {} : { between }),
  };
}

/** Each budget by the name that hosts know it by. */
export function ratesByName(budgets: CellBudgets): ReadonlyMap<string, number> {
  const { download, origin } = budgets;
  const named = (['originHosts', 'between'] as const).flatMap((kind) =>
    Object.entries(budgets[kind] ?? {}).map(
      ([name, rate]) => [`${prefixes[kind]}:${name}`, rate] as const,
    ),
  );
  return new Map([['download', download], ['origin', origin], ...named]);
}

/** The other way round; what has no rate is left out, but for `download` and `origin`. */
export function budgetsByName(rates: ReadonlyMap<string, number>): CellBudgets {
  const of = (kind: NamedKind): Record<string, number> =>
    Object.fromEntries(
      [...rates]
        .filter(([name]) => name.startsWith(`${prefixes[kind]}:`))
        .map(([name, rate]) => [name.slice(prefixes[kind].length + 1), rate]),
    );
  const [originHosts, between] = [of('originHosts'), of('between')];
  return {
    download: rates.get('download') ?? 0,
    origin: rates.get('origin') ?? 0,
    ...(Object.keys(originHosts).length === 0 ? {} : { originHosts }),
    ...(Object.keys(between).length === 0 ? {} : { between }),
  };
}

function changedNames(
  kind: NamedKind,
  now: CellBudgets,
  changes: BudgetChanges,
): Record<string, number> {
  const rates = new Map(Object.entries(now[kind] ?? {}));
  for (const [name, rate] of Object.entries(changes[kind] ?? {})) {
    const budget = budgetNamed(`${prefixes[kind]}:${name}`);
    if (budget === undefined) {
      const expected = kind === 'originHosts' ? 'the name of a host, without port' : 'FROM|TO';
      throw wrong(`${kind}/${name.slice(0, 100)}`, `expected ${expected}`);
    }
    const key = budgetName(budget).slice(prefixes[kind].length + 1);
    if (rate === 0) rates.delete(key);
    else rates.set(key, rate);
  }
  return Object.fromEntries(rates);
}

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
