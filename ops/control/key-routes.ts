import { Type } from 'typebox';
import type { Static } from 'typebox';
import { pageLimits, pageOf } from '../../core/base/paging.ts';
import type { Page } from '../../core/base/paging.ts';
import { KeyId, keyLimits } from './api-key.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { CallerOf } from './door-app.ts';
import type { Door } from './door.ts';
import type { PolicyTable } from './policy-table.ts';
import { PolicyName, PolicyRule } from './policy-rule.ts';
import type { Principals } from './principals.ts';
import { verbs } from './verbs.ts';

const PageQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: pageLimits.max })),
  after: Type.Optional(Type.String({ maxLength: 128 })),
});
const KeyParams = Type.Object({ id: KeyId });
const RotateBody = Type.Object({
  overlapMs: Type.Optional(Type.Integer({ minimum: 0, maximum: keyLimits.maxOverlapMs })),
});
const PolicyParams = Type.Object({ name: PolicyName });

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
export function addKeyRoutes(app: ApiApp, options: KeyRoutesOptions): void {
  addKeys(app, options);
  addPolicies(app, options);
}

function addKeys(app: ApiApp, { parts, callerOf }: KeyRoutesOptions): void {
  const create = { schema: { body: verbs['key.create'].schema } };
  app.post('/api/v1/keys', create, async (request, reply) => {
    const { door, principals } = parts();
    const input = request.body;
    const caller = callerOf(request);
    const issued = await door.perform(
      { verb: 'key.create', caller, input, object: { id: input.principal } },
      async () => principals.create(input, caller.principal),
    );
    return reply.code(201).header('cache-control', 'no-store').send(issued);
  });

  app.get('/api/v1/keys', { schema: { querystring: PageQuery } }, (request) => {
    const { door, principals } = parts();
    const input = request.query;
    return door.read(
      { verb: 'key.list', caller: callerOf(request), input, object: { id: '' } },
      () => {
        const keys = new Map(principals.list().map((key) => [key.id, key]));
        return pageOf(keys.keys(), pageFrom(input), (id) => keys.get(id));
      },
    );
  });

  const rotate = { schema: { params: KeyParams, body: RotateBody } };
  app.post('/api/v1/keys/:id/rotate', rotate, async (request, reply) => {
    const { door, principals } = parts();
    const { id } = request.params;
    const input = { id, ...request.body };
    const caller = callerOf(request);
    const issued = await door.perform(
      { verb: 'key.rotate', caller, input, object: { id } },
      async () => principals.rotate(input, caller.principal),
    );
    return reply.header('cache-control', 'no-store').send(issued);
  });

  app.post('/api/v1/keys/:id/lock', { schema: { params: KeyParams } }, (request) => {
    const { door, principals } = parts();
    const { id } = request.params;
    return door.perform(
      { verb: 'key.lock', caller: callerOf(request), input: { id }, object: { id } },
      async () => principals.lock(id),
    );
  });
}

function addPolicies(app: ApiApp, { parts, callerOf }: KeyRoutesOptions): void {
  const put = { schema: { params: PolicyParams, body: PolicyRule } };
  app.put('/api/v1/policies/:name', put, (request) => {
    const { door, policies } = parts();
    const { name } = request.params;
    const input = { name, policy: request.body };
    return door.perform(
      { verb: 'policy.put', caller: callerOf(request), input, object: { id: name } },
      async () => policies.put(name, request.body),
    );
  });

  app.get('/api/v1/policies', { schema: { querystring: PageQuery } }, (request) => {
    const { door, policies } = parts();
    const input = request.query;
    return door.read(
      { verb: 'policy.list', caller: callerOf(request), input, object: { id: '' } },
      () => {
        const all = new Map(policies.list().map((policy) => [policy.name, policy]));
        return pageOf(all.keys(), pageFrom(input), (name) => all.get(name));
      },
    );
  });

  app.delete(
    '/api/v1/policies/:name',
    { schema: { params: PolicyParams } },
    async (request, reply) => {
      const { door, policies } = parts();
      const { name } = request.params;
      await door.perform(
        { verb: 'policy.remove', caller: callerOf(request), input: { name }, object: { id: name } },
        async () => policies.remove(name),
      );
      return reply.code(204).send();
    },
  );
}

function pageFrom({ limit = pageLimits.default, after = '' }: Static<typeof PageQuery>): Page {
  return { limit, after };
}
