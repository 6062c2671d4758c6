import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type {
  FastifyBaseLogger,
  FastifyInstance,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { Caller } from './principal.ts';

/** The server that routes of the ops plane are added to: typed by their schemas, strict, and with our errors. */
export type OpsApp = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** Who sent a request that was let in; throws for one that was not. */
export type CallerOf = (request: {
  readonly ip: string;
  readonly headers: { readonly authorization?: string | undefined };
}) => Caller;
