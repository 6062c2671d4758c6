import type { FastifyInstance } from 'fastify';
import type { ServedHost } from './served-host.ts';

/** `/healthz` (503 while stopping, and when no worker lives) and `/metrics`, on the socket and on the proxy port alike. */
export function addHealthRoutes(server: FastifyInstance, host: ServedHost): void {
  server.get('/healthz', async (_request, reply) => {
    const health = host.health();
    const isServing = health.status === 'ok' || health.status === 'degraded';
    return reply.code(isServing ? 200 : 503).send(health);
  });

  server.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await host.metrics();
    return reply.type(contentType).send(text);
  });
}

/** `/v1/status`: who this host is, what it does, and how it is connected. */
export function addStatusRoute(server: FastifyInstance, host: ServedHost): void {
  server.get('/v1/status', async () => host.status());
}
