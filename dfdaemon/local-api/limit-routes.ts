import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { parser } from '../../core/wire/parse-message.ts';
import type { LimitsReport, ServedHost } from './served-host.ts';

/** Tasks whose rate one request sets. */
const MAX_TASKS = 64;

/** Bytes per second; 0 is no limit. */
const Rate = Type.Integer({ minimum: 0, maximum: 1_000_000_000_000 });

/** What is to change; what is not named stays. */
const LimitChanges = Type.Object({
  download: Type.Optional(Rate),
  upload: Type.Optional(Rate),
  origin: Type.Optional(Rate),
  tasks: Type.Optional(
    Type.Array(
      Type.Object({ task: Type.String({ pattern: '^[0-9a-f]{64}$' }), bytesPerSecond: Rate }),
      { maxItems: MAX_TASKS },
    ),
  ),
});

const parseChanges = parser(LimitChanges, { code: 'ERR_REQUEST', strict: true });

/** `/v1/limits`: what this host and its tasks may move a second; set in force when the answer comes. */
export function addLimitRoutes(server: FastifyInstance, host: ServedHost): void {
  server.get('/v1/limits', () => host.limits());

  server.put('/v1/limits', (request) => setLimits(host, request.body));
}

async function setLimits(host: ServedHost, body: unknown): Promise<LimitsReport> {
  await host.setLimits(parseChanges(body));
  return host.limits();
}
