import { Type } from 'typebox';
import type { Static } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import type { JobRecord, JobState, JobSummary } from './job-record.ts';
import type { WarmUpRequest } from './warm-up-request.ts';

/** Hosts of a report: Harbor shows them to a person. */
const MAX_TOLD = 1_000;

const Headers = Type.Optional(
  Type.Union([
    Type.Null(),
    Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 16_384 })),
  ]),
);

/** Body of `POST /oapi/v1/jobs`, as Harbor sends it to dragonfly; what is not named here is ignored. */
export const HarborJob = Type.Object({
  type: Type.Literal('preheat'),
  args: Type.Object({
    url: Type.String({ minLength: 1, maxLength: 1_024 }),
    headers: Headers,
    scope: Type.Optional(Type.String({ maxLength: 64 })),
    platform: Type.Optional(Type.String({ maxLength: 64 })),
  }),
});

/** Body of `POST /preheats`, as older versions of Harbor send it. */
export const OldPreheat = Type.Object({
  type: Type.Union([Type.Literal('image'), Type.Literal('file')]),
  url: Type.String({ minLength: 1, maxLength: 1_024 }),
  headers: Headers,
});

/** The warm-up that a job of Harbor means. */
export function requestOfJob({ args }: Static<typeof HarborJob>): WarmUpRequest {
  const { url, headers, scope, platform } = args;
  const platforms = platform === undefined || platform === '' ? {} : { platforms: [platform] };
  return { image: url, to: targetOf(scope ?? ''), ...platforms, ...loginOf(headers) };
}

/** The warm-up that a preheat of an older Harbor means; without more said, the seeds are meant. */
export function requestOfPreheat(
  { type, url, headers }: Static<typeof OldPreheat>,
  to: string,
): WarmUpRequest {
  if (type === 'image') return { image: url, to, ...loginOf(headers) };
  return { url, to, ...(headers === undefined || headers === null ? {} : { headers }) };
}

/** A job as Harbor reads dragonfly's; the id is a number. */
export function jobForHarbor(job: JobSummary | JobRecord): object {
  const { id, created, started, finished } = job;
  const times = { created_at: created, updated_at: finished ?? started ?? created };
  const state = { running: 'PENDING', done: 'SUCCESS', failed: 'FAILURE' }[phaseOf(job.state)];
  const base = { id: Number(id), type: 'preheat', state, ...times };
  if (!('results' in job)) return base;
  const error = errorText(job);
  const url = job.image ?? job.urls?.[0] ?? '';
  const hosts = job.results.slice(0, MAX_TOLD).map(({ peer, hostname, failed, failures }) => {
    const description = failures.map(({ code, message }) => `${code}: ${message}`).join('; ');
    return { url, hostname: hostname ?? peer, ip: '', failed, description };
  });
  const success = hosts.filter(({ failed }) => failed === 0);
  const failure = hosts.filter(({ failed }) => failed > 0);
  const results = [
    {
      scheduler_cluster_id: 1,
      success_tasks: success.map(({ hostname, ip }) => ({ url, hostname, ip })),
      failure_tasks: failure.map(({ hostname, ip, description }) => ({
        url,
        hostname,
        ip,
        description,
      })),
    },
  ];
  const states = [{ ...base, error, results }];
  return { ...base, result: { state, created_at: created, job_states: states } };
}

/** A job as older versions of Harbor read it. */
export function preheatForHarbor(job: JobSummary): object {
  const { id, created, finished } = job;
  const status = { running: 'RUNNING', done: 'SUCCESS', failed: 'FAILED' }[phaseOf(job.state)];
  const waiting = job.state === 'waiting' ? 'WAITING' : status;
  return {
    ID: id,
    startTime: created,
    finishTime: finished ?? '',
    status: waiting,
    errorMsg: errorText(job),
  };
}

function phaseOf(state: JobState): 'running' | 'done' | 'failed' {
  switch (state) {
    case 'waiting':
    case 'resolving':
    case 'running':
      return 'running';
    case 'done':
      return 'done';
    case 'failed':
    case 'cancelled':
    case 'interrupted':
      return 'failed';
  }
}

function errorText({ state, error, hosts }: JobSummary): string {
  if (error !== undefined) return `${error.code}: ${error.message}`;
  if (state === 'failed') return `${hosts.failed} of ${hosts.total} hosts failed`;
  // Harbor shows it where it says that the preheat failed.
  if (state === 'cancelled') return 'the warm-up was cancelled';
  return state === 'interrupted' ? 'the supernode was restarted meanwhile' : '';
}

/** dragonfly's scopes: none is one seed. */
function targetOf(scope: string): string {
  if (scope === '' || scope === 'single_seed_peer' || scope === 'all_seed_peers') return 'seeds';
  if (scope === 'all_peers') return 'all';
  throw new CodedError('ERR_REQUEST', 'args/scope: expected all_peers or all_seed_peers', {
    detail: { path: 'args/scope' },
  });
}

/** Harbor gives a token for the one repository. */
function loginOf(
  headers: Static<typeof HarborJob>['args']['headers'],
): Pick<WarmUpRequest, 'credentials'> {
  const found = Object.entries(headers ?? {}).find(
    ([name]) => name.toLowerCase() === 'authorization',
  );
  const [, scheme = '', value = ''] = /^(\w+) +(\S+)$/.exec(found?.[1] ?? '') ?? [];
  if (scheme.toLowerCase() === 'bearer') return { credentials: { token: value } };
  if (scheme.toLowerCase() !== 'basic') return {};
  const [username = '', ...password] = Buffer.from(value, 'base64').toString().split(':');
  return { credentials: { username, password: password.join(':') } };
}
