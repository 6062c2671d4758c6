import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import { PeerParams } from './read-routes.ts';
import type { SupernodeActions } from './supernode-view.ts';

const DAY_MS = 86_400_000;
const TEN_YEARS_MS = 3_652 * DAY_MS;

/** What a new token is to grant; all of it has a default. */
export const NewToken = Type.Object({
  ttlMs: Type.Optional(Type.Integer({ minimum: 1, maximum: TEN_YEARS_MS })),
  uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })),
  cidr: Type.Optional(Type.String({ maxLength: 64 })),
  role: Type.Optional(Type.Union([Type.Literal('host'), Type.Literal('seed')])),
  idc: Type.Optional(Type.String({ maxLength: 64 })),
});

const TokenParams = Type.Object({ id: Type.String({ pattern: '^[0-9a-f]{16}$' }) });

/** Routes that change who belongs to the cell: tokens and revocation. */
export function addAdminRoutes(app: ApiApp, actions: () => SupernodeActions): void {
  app.post('/api/v1/tokens', { schema: { body: NewToken } }, async (request, reply) => {
    const { ttlMs = DAY_MS, role = 'host', uses, cidr, idc } = request.body;
    const token = await actions().createToken({ ttlMs, role, uses, cidr, idc });
    // The only place where it is ever shown.
    return reply.code(201).header('cache-control', 'no-store').send({ token });
  });

  app.get('/api/v1/tokens', async () => {
    const tokens = await actions().tokens();
    const items = tokens.map((token) => ({
      ...token,
      expires: new Date(token.expires).toISOString(),
    }));
    return { items };
  });

  app.delete('/api/v1/tokens/:id', { schema: { params: TokenParams } }, async (request, reply) => {
    if (!(await actions().deleteToken(request.params.id))) {
      throw new CodedError('ERR_NOT_FOUND', 'there is no token of this id');
    }
    return reply.code(204).send();
  });

  app.delete('/api/v1/hosts/:peer', { schema: { params: PeerParams } }, async (request, reply) => {
    await actions().revoke(request.params.peer);
    return reply.code(204).send();
  });
}
