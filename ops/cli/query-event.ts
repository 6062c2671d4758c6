import { Type } from 'typebox';
import type { Static } from 'typebox';

const named = { peer: Type.String(), hostname: Type.Optional(Type.String()) };
/** A line of the answer to a query. */
export const QueryEvent = Type.Union([
  Type.Object({
    type: Type.Literal('begun'),
    hosts: Type.Number(),
    columns: Type.Array(Type.String()),
  }),
  Type.Object({
    type: Type.Literal('host'),
    ...named,
    matches: Type.String(),
    values: Type.Record(Type.String(), Type.Union([Type.String(), Type.Number()])),
    unknown: Type.Optional(Type.Array(Type.String())),
  }),
  Type.Object({ type: Type.Literal('silent'), ...named, reason: Type.String() }),
  Type.Object({
    type: Type.Literal('refused'),
    ...named,
    code: Type.String(),
    message: Type.String(),
  }),
  Type.Object({
    type: Type.Literal('ended'),
    counts: Type.Object({
      hosts: Type.Number(),
      answered: Type.Number(),
      silent: Type.Number(),
      refused: Type.Number(),
      matched: Type.Number(),
      unmatched: Type.Number(),
      unknown: Type.Number(),
    }),
    ms: Type.Number(),
  }),
]);
export type QueryEvent = Static<typeof QueryEvent>;
