import type { ApiApp } from '../../core/base/api-app.ts';
import { pageLimits, pageOf } from '../../core/base/paging.ts';
import type { Page } from '../../core/base/paging.ts';
import type { CallerOf } from './door-app.ts';
import type { Door } from './door.ts';
import type { PolicyTable } from './policy-table.ts';
import type { Principals } from './principals.ts';
import { VerbRoutes } from './verb-routes.ts';
import type { VerbInput } from './verbs.ts';

/** What the routes speak for, once that runs. */
export interface KeyParts {
  readonly door: Door;
  readonly principals: Principals;
  readonly policies: PolicyTable;
}

/** How the routes come to what they need at each request. */
export interface KeyRoutesOptions {
  readonly parts: () => KeyParts;
  readonly callerOf: CallerOf;
}

/** Routes of API keys and policies. */
export function addKeyRoutes(app: ApiApp, { parts, callerOf }: KeyRoutesOptions): void {
  const routes = new VerbRoutes(app, { callerOf, door: () => parts().door });
  routes.perform(
    'key.create',
    (input, { principal }) => parts().principals.create(input, principal),
    { status: 201, isSecret: true },
  );
  routes.perform(
    'key.rotate',
    (input, { principal }) => parts().principals.rotate(input, principal),
    { isSecret: true },
  );
  routes.perform('key.lock', ({ id }) => parts().principals.lock(id));
  routes.read('key.list', (input) => {
    const keys = new Map(
      parts()
        .principals.list()
        .map((key) => [key.id, key]),
    );
    return pageOf(keys.keys(), pageFrom(input), (id) => keys.get(id));
  });

  routes.perform('policy.put', ({ name, policy }) => parts().policies.put(name, policy));
  routes.perform('policy.remove', ({ name }) => parts().policies.remove(name));
  routes.read('policy.list', (input) => {
    const all = new Map(
      parts()
        .policies.list()
        .map((policy) => [policy.name, policy]),
    );
    return pageOf(all.keys(), pageFrom(input), (name) => all.get(name));
  });
}

function pageFrom({ limit = pageLimits.default, after = '' }: VerbInput<'key.list'>): Page {
  return { limit, after };
}
