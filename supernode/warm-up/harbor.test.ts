// What Harbor sends and how it reads answers, field by field, as its drivers of preheat providers have it (Harbor's main
// branch of August 2026).
import test from 'ava';
import { Type } from 'typebox';
import { parser } from '../../core/wire/parse-message.ts';
import { HarborJob, jobForHarbor, requestOfJob } from './harbor.ts';
import type { JobRecord, JobState } from './job-record.ts';
import { imageOf, pushedImages } from './push-events.ts';

const digest = `sha256:${'d'.repeat(64)}`;
const url = 'https://harbor.test/v2/library/app/manifests/v1';

/** Times are read as RFC 3339; anything else ends Harbor's job with an error. */
const Time = Type.String({
  pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(?:\\.\\d+)?(?:Z|[+-]\\d\\d:\\d\\d)$',
});
const TaskRow = { url: Type.String(), hostname: Type.String(), ip: Type.String() };
/** What the driver reads of an answer, to both of its calls. */
const readAsHarbor = parser(
  Type.Object({
    id: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
    created_at: Time,
    updated_at: Time,
    state: Type.Union([Type.Literal('PENDING'), Type.Literal('SUCCESS'), Type.Literal('FAILURE')]),
    result: Type.Optional(
      Type.Object({
        job_states: Type.Array(
          Type.Object({
            error: Type.String(),
            results: Type.Array(
              Type.Object({
                success_tasks: Type.Array(Type.Object(TaskRow)),
                failure_tasks: Type.Array(Type.Object({ ...TaskRow, description: Type.String() })),
                scheduler_cluster_id: Type.Integer({ minimum: 0 }),
              }),
            ),
          }),
        ),
      }),
    ),
  }),
  { code: 'ERR_REQUEST' },
);

const parseJob = parser(HarborJob, { code: 'ERR_REQUEST' });

function jobBody(args: object = {}): unknown {
  // Every field is there, with Go's zero value where the policy says nothing.
  return {
    type: 'preheat',
    args: {
      type: 'image',
      url,
      tag: '',
      filtered_query_params: '',
      headers: { Authorization: 'Bearer a.b.c' },
      scope: '',
      concurrent_count: 0,
      timeout: 0,
      ...args,
    },
    scheduler_cluster_ids: null,
  };
}

test('requestOfJob() takes what Harbor sends as to dragonfly, with each scope that a policy may have', (t) => {
  const wish = { image: url, credentials: { token: 'a.b.c' } };
  const scopes = {
    '': 'seeds',
    single_seed_peer: 'seeds',
    all_seed_peers: 'seeds',
    all_peers: 'all',
  };
  for (const [scope, to] of Object.entries(scopes)) {
    t.deepEqual(requestOfJob(parseJob(jobBody({ scope }))), { ...wish, to }, scope);
  }
  const many = jobBody({ scope: 'all_peers' });
  t.like(requestOfJob(parseJob({ ...(many as object), scheduler_cluster_ids: [1, 2] })), {
    to: 'all',
  });
});

function job(state: JobState, rest: Partial<JobRecord> = {}): JobRecord {
  const bytes = { received: 0, fromPeers: 0, fromSeed: 0, fromOrigin: 0, fromCache: 0 };
  return {
    id: '1795281234567',
    state,
    source: 'harbor',
    image: url,
    to: 'all',
    created: new Date(1_795_281_234_567).toISOString(),
    tasks: 1,
    hosts: { total: 2, done: 1, failed: state === 'failed' ? 1 : 0 },
    bytes,
    contents: [],
    results: [
      {
        peer: 'p1',
        hostname: 'h1',
        role: 'host',
        state: 'done',
        done: 1,
        failed: 0,
        bytes,
        failures: [],
      },
      {
        peer: 'p2',
        role: 'host',
        state: 'failed',
        done: 0,
        failed: 1,
        bytes,
        failures: [{ task: 0, code: 'ERR_NO_SPACE', message: 'full', attempts: 3, retried: false }],
      },
    ],
    ...rest,
  };
}

test('jobForHarbor() says what Harbor reads, in every state', (t) => {
  const states: [JobState, string, string][] = [
    ['waiting', 'PENDING', ''],
    ['resolving', 'PENDING', ''],
    ['running', 'PENDING', ''],
    ['done', 'SUCCESS', ''],
    ['failed', 'FAILURE', '1 of 2 hosts failed'],
    ['cancelled', 'FAILURE', 'the warm-up was cancelled'],
    ['interrupted', 'FAILURE', 'the supernode was restarted meanwhile'],
  ];
  for (const [state, expected, error] of states) {
    const read = readAsHarbor(JSON.parse(JSON.stringify(jobForHarbor(job(state)))));
    t.is(read.state, expected as typeof read.state, state);
    t.is(read.id, 1_795_281_234_567);
    const [told] = read.result?.job_states ?? [];
    t.is(told?.error, error);
    t.deepEqual(told?.results, [
      {
        scheduler_cluster_id: 1,
        success_tasks: [{ url, hostname: 'h1', ip: '' }],
        failure_tasks: [{ url, hostname: 'p2', ip: '', description: 'ERR_NO_SPACE: full' }],
      },
    ]);
  }
});

test('pushedImages() takes what Harbor sends as to kraken', (t) => {
  // Always of this type, also for an index; the request and the actor are not known to it.
  const event = {
    Id: '8a1f',
    TimeStamp: '2026-08-21T05:58:10.123456789Z',
    Action: 'push',
    Target: {
      MediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      Digest: digest,
      Repository: 'library/app',
      Url: url,
      Tag: 'v1',
    },
    Request: null,
    Actor: null,
  };
  const [image] = pushedImages({ Events: [event] });
  t.deepEqual(image, { repository: 'library/app', digest, url });
  t.is(image && imageOf(image), `https://harbor.test/library/app@${digest}`);
});
