import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import type { ApiClient } from './api-client.ts';

const Counts = Type.Object({
  hosts: Type.Number(),
  waiting: Type.Number(),
  running: Type.Number(),
  ok: Type.Number(),
  failed: Type.Number(),
  refused: Type.Number(),
  unknown: Type.Number(),
});
const about = {
  id: Type.String(),
  principal: Type.String(),
  command: Type.String(),
  args: Type.Array(Type.String()),
  on: Type.String(),
  lane: Type.String(),
  created: Type.Number(),
};
export const Begun = Type.Object({
  ...about,
  hosts: Type.Array(Type.Object({ peer: Type.String() })),
});
export const Call = Type.Object({
  ...about,
  state: Type.String(),
  counts: Type.Optional(Counts),
  ended: Type.Optional(Type.Number()),
});
const said = {
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  outcome: Type.String(),
  code: Type.Optional(Type.String()),
  message: Type.Optional(Type.String()),
  exitCode: Type.Optional(Type.Number()),
  signal: Type.Optional(Type.String()),
  began: Type.Optional(Type.Number()),
  ended: Type.Number(),
  stdoutBytes: Type.Number(),
  stderrBytes: Type.Number(),
  isOutputLost: Type.Optional(Type.Boolean()),
};
const CallResult = Type.Object({ ...said, stdout: Type.String(), stderr: Type.String() });
export const CallDetail = Type.Object({
  ...about,
  state: Type.String(),
  counts: Type.Optional(Counts),
  ended: Type.Optional(Type.Number()),
  results: Type.Object({ items: Type.Array(CallResult), next: Type.Optional(Type.String()) }),
});
const name = { peer: Type.String(), hostname: Type.Optional(Type.String()) };
export const CallEvent = Type.Union([
  Type.Object({ type: Type.Literal('begun'), ...name }),
  Type.Object({
    type: Type.Literal('output'),
    ...name,
    stream: Type.String(),
    data: Type.String(),
  }),
  Type.Object({ type: Type.Literal('result'), ...said }),
  Type.Object({ type: Type.Literal('ended'), counts: Counts }),
]);

export type Call = Static<typeof Call>;
export type CallResult = Static<typeof CallResult>;
export type CallEvent = Static<typeof CallEvent>;

/** A call with all its results. */
export async function showCall(
  api: ApiClient,
  id: string,
  signal: AbortSignal,
): Promise<Call & { readonly results: readonly CallResult[] }> {
  const results: CallResult[] = [];
  for (let after: string | undefined; ;) {
    const detail: Static<typeof CallDetail> = await api.ask(
      'call.show',
      { id: callId(id), after },
      { signal },
    );
    results.push(...detail.results.items);
    if (detail.results.next === undefined) return { ...detail, results };
    after = detail.results.next;
  }
}

/** The id of a call as somebody has typed it; ERR_USAGE. */
export function callId(text: string): string {
  if (/^[0-9a-z]{8,32}$/.test(text)) return text;
  throw new CodedError('ERR_USAGE', `not the id of a call: ${JSON.stringify(text)}`);
}
