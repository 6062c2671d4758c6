import swagger from '@fastify/swagger';
import { programVersion } from '../../core/base/version.ts';
import type { ApiApp } from '../../core/base/api-app.ts';

/** What every route may answer instead: see docs/errors.md. */
const refusal = {
  description: 'refused or failed; `code` is stable, and says what it is in docs/errors.md',
  content: {
    'application/json': {
      schema: {
        type: 'object',
        properties: {
          error: {
            type: 'object',
            properties: { code: { type: 'string' }, message: { type: 'string' } },
            required: ['code', 'message'],
          },
        },
        required: ['error'],
      },
    },
  },
};

/** Collects all routes that are added from now on, for `describeRoute()`; to be called before the first of them. */
export function collectRoutes(app: ApiApp): void {
  void app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Odonata supernode', version: programVersion() },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transformObject: (document) => {
      if (!('openapiObject' in document)) return document.swaggerObject;
      const { openapiObject } = document;
      for (const path of Object.values(openapiObject.paths ?? {})) {
        for (const operation of Object.values(path ?? {})) {
          if (typeof operation === 'object' && operation !== null && 'responses' in operation) {
            Object.assign(operation, { responses: { ...operation.responses, default: refusal } });
          }
        }
      }
      return openapiObject;
    },
  });
}

/** `GET /api/v1/openapi.json`: every route of this port, as OpenAPI 3.1. */
export function addDescriptionRoute(app: ApiApp): void {
  app.get('/api/v1/openapi.json', async (_request, reply) => reply.send(app.swagger()));
}
