import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
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
const Begun = Type.Object({ ...about, hosts: Type.Array(Type.Object({ peer: Type.String() })) });
const Call = Type.Object({
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
const Detail = Type.Object({
  ...about,
  state: Type.String(),
  counts: Type.Optional(Counts),
  ended: Type.Optional(Type.Number()),
  results: Type.Object({ items: Type.Array(CallResult), next: Type.Optional(Type.String()) }),
});
const name = { peer: Type.String(), hostname: Type.Optional(Type.String()) };
const CallEvent = Type.Union([
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

export type Begun = Static<typeof Begun>;
export type Call = Static<typeof Call>;
export type CallResult = Static<typeof CallResult>;
export type CallEvent = Static<typeof CallEvent>;

const parseBegun = parser(Begun);
const parseDetail = parser(Detail);
const parseEvent = parser(CallEvent);
const parseList = parser(
  Type.Object({ items: Type.Array(Call), next: Type.Optional(Type.String()) }),
);

/** Begins a call. */
export async function beginCall(api: ApiClient, body: object, signal: AbortSignal): Promise<Begun> {
  return parseBegun(await api.ask({ method: 'POST', path: '/api/v1/calls', body, signal }));
}

/** What happens to a call, as it happens. */
export async function* followCall(
  api: ApiClient,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<CallEvent> {
  const path = `${pathOf(id)}/events`;
  for await (const event of api.follow({ method: 'GET', path, signal })) yield parseEvent(event);
}

/** The newest calls. */
export async function listCalls(api: ApiClient, signal: AbortSignal): Promise<Call[]> {
  const path = '/api/v1/calls?limit=100';
  return parseList(await api.ask({ method: 'GET', path, signal })).items;
}

/** A call with all its results. */
export async function showCall(
  api: ApiClient,
  id: string,
  signal: AbortSignal,
): Promise<Call & { readonly results: readonly CallResult[] }> {
  const results: CallResult[] = [];
  for (let after = ''; ;) {
    const query = after === '' ? '' : `?after=${encodeURIComponent(after)}`;
    const detail = parseDetail(
      await api.ask({ method: 'GET', path: `${pathOf(id)}${query}`, signal }),
    );
    results.push(...detail.results.items);
    if (detail.results.next === undefined) return { ...detail, results };
    after = detail.results.next;
  }
}

function pathOf(id: string): string {
  if (/^[0-9a-z]{8,32}$/.test(id)) return `/api/v1/calls/${id}`;
  throw new CodedError('ERR_USAGE', `not the id of a call: ${JSON.stringify(id)}`);
}
