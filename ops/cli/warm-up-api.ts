import { Type } from 'typebox';
import type { Static } from 'typebox';
import { parser } from '../../core/wire/parse-message.ts';
import type { ApiClient } from './api-client.ts';

const State = Type.Union([
  Type.Literal('waiting'),
  Type.Literal('resolving'),
  Type.Literal('running'),
  Type.Literal('done'),
  Type.Literal('failed'),
  Type.Literal('cancelled'),
  Type.Literal('interrupted'),
]);
const Bytes = Type.Object({
  received: Type.Number(),
  fromPeers: Type.Number(),
  fromSeed: Type.Number(),
  fromOrigin: Type.Number(),
  fromCache: Type.Number(),
});
const Job = Type.Object({
  id: Type.String(),
  state: State,
  image: Type.Optional(Type.String()),
  urls: Type.Optional(Type.Array(Type.String())),
  to: Type.String(),
  created: Type.String(),
  error: Type.Optional(Type.Object({ code: Type.String(), message: Type.String() })),
  tasks: Type.Number(),
  hosts: Type.Object({ total: Type.Number(), done: Type.Number(), failed: Type.Number() }),
  bytes: Bytes,
});
const Result = Type.Object({
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
  state: Type.String(),
  done: Type.Number(),
  failed: Type.Number(),
  bytes: Bytes,
  failures: Type.Array(
    Type.Object({
      task: Type.Number(),
      code: Type.String(),
      message: Type.String(),
      attempts: Type.Number(),
    }),
  ),
});
const Detail = Type.Object({
  ...Job.properties,
  contents: Type.Array(
    Type.Object({
      url: Type.String(),
      digest: Type.Optional(Type.String()),
      size: Type.Optional(Type.Number()),
    }),
  ),
  results: Type.Object({ items: Type.Array(Result), next: Type.Optional(Type.String()) }),
});

/** A warm-up as the API lists it. */
export type Job = Static<typeof Job>;
/** One host's part in a warm-up. */
export type HostResult = Static<typeof Result>;
/** A warm-up with all its hosts. */
export type JobDetail = Omit<Static<typeof Detail>, 'results'> & {
  readonly results: readonly HostResult[];
};

const parseJob = parser(Job);
const parseJobs = parser(
  Type.Object({ items: Type.Array(Job), next: Type.Optional(Type.String()) }),
);
const parseDetail = parser(Detail);
const PAGE = 1_000;

interface Waiting {
  readonly signal: AbortSignal;
}

/** Begins a warm-up. */
export async function beginWarmUp(api: ApiClient, body: object, options: Waiting): Promise<Job> {
  return parseJob(await api.send({ method: 'POST', path: '/api/v1/warm-ups', body, ...options }));
}

/** All that the supernode remembers, oldest first. */
export async function listWarmUps(api: ApiClient, options: Waiting): Promise<Job[]> {
  const jobs: Job[] = [];
  for (let after = ''; ;) {
    const path = `/api/v1/warm-ups?limit=${PAGE}&after=${after}`;
    const { items, next } = parseJobs(await api.send({ method: 'GET', path, ...options }));
    jobs.push(...items);
    if (next === undefined) return jobs;
    after = next;
  }
}

/** How far one is, without its hosts. */
export async function lookAtWarmUp(api: ApiClient, id: string, options: Waiting): Promise<Job> {
  const path = `/api/v1/warm-ups/${encodeURIComponent(id)}?limit=1`;
  return parseJob(await api.send({ method: 'GET', path, ...options }));
}

/** One with all its hosts. */
export async function showWarmUp(api: ApiClient, id: string, options: Waiting): Promise<JobDetail> {
  const results: HostResult[] = [];
  for (let after = ''; ;) {
    const path = `/api/v1/warm-ups/${encodeURIComponent(id)}?limit=${PAGE}&after=${after}`;
    const detail = parseDetail(await api.send({ method: 'GET', path, ...options }));
    results.push(...detail.results.items);
    if (detail.results.next === undefined) return { ...detail, results };
    after = detail.results.next;
  }
}

/** Cancels one. */
export async function cancelWarmUp(api: ApiClient, id: string, options: Waiting): Promise<void> {
  await api.send({
    method: 'DELETE',
    path: `/api/v1/warm-ups/${encodeURIComponent(id)}`,
    ...options,
  });
}
