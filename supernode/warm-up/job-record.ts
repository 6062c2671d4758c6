import { Type } from 'typebox';
import type { Static } from 'typebox';
import { priorities } from '../../core/base/priority.ts';

/** Bytes that hosts have of a warm-up, by where they came from. */
export const WarmBytes = Type.Object({
  received: Type.Number(),
  fromPeers: Type.Number(),
  fromSeed: Type.Number(),
  fromOrigin: Type.Number(),
  fromCache: Type.Number(),
});

/** The last failure of one task on one host; `task` is the index in the job's `contents`. */
export const HostFailure = Type.Object({
  task: Type.Integer(),
  code: Type.String(),
  message: Type.String(),
  attempts: Type.Integer(),
  /** True: it is tried again. */
  retried: Type.Boolean(),
});

const Role = Type.Union([Type.Literal('host'), Type.Literal('seed'), Type.Literal('supernode')]);

/** A host that was chosen. */
export const ChosenHost = Type.Object({
  peer: Type.String(),
  hostname: Type.Optional(Type.String()),
  idc: Type.Optional(Type.String()),
  role: Role,
});

/** How far a host is; `done` and `failed` count contents. */
export const HostResult = Type.Object({
  ...ChosenHost.properties,
  state: Type.Union([
    Type.Literal('waiting'),
    Type.Literal('running'),
    Type.Literal('done'),
    Type.Literal('failed'),
  ]),
  done: Type.Integer(),
  failed: Type.Integer(),
  bytes: WarmBytes,
  failures: Type.Array(HostFailure),
});

/** One content; `done` and `failed` count hosts. */
export const ContentRow = Type.Object({
  url: Type.String(),
  digest: Type.Optional(Type.String()),
  size: Type.Optional(Type.Number()),
  done: Type.Integer(),
  failed: Type.Integer(),
});

/** Where a job came from. */
export const JobSource = Type.Union([
  Type.Literal('api'),
  Type.Literal('push'),
  Type.Literal('harbor'),
]);

/** `interrupted`: the supernode ended meanwhile, and what the job needs was kept in memory only. */
export const JobState = Type.Union([
  Type.Literal('waiting'),
  Type.Literal('resolving'),
  Type.Literal('running'),
  Type.Literal('done'),
  Type.Literal('failed'),
  Type.Literal('cancelled'),
  Type.Literal('interrupted'),
]);

/** What is shown of a job in a list; times are ISO 8601. */
export const JobSummary = Type.Object({
  id: Type.String(),
  state: JobState,
  source: JobSource,
  image: Type.Optional(Type.String()),
  urls: Type.Optional(Type.Array(Type.String())),
  platforms: Type.Optional(Type.Array(Type.String())),
  to: Type.String(),
  priority: Type.Optional(Type.Enum([...priorities])),
  created: Type.String(),
  started: Type.Optional(Type.String()),
  finished: Type.Optional(Type.String()),
  error: Type.Optional(
    Type.Object({
      code: Type.String(),
      class: Type.String(),
      message: Type.String(),
      retryable: Type.Boolean(),
      next: Type.String(),
      detail: Type.Optional(
        Type.Record(Type.String(), Type.Union([Type.String(), Type.Number(), Type.Boolean()])),
      ),
    }),
  ),
  tasks: Type.Integer(),
  hosts: Type.Object({ total: Type.Integer(), done: Type.Integer(), failed: Type.Integer() }),
  bytes: WarmBytes,
});

/** A job with all there is to tell of it, as it is shown and kept. */
export const JobRecord = Type.Object({
  ...JobSummary.properties,
  contents: Type.Array(ContentRow),
  results: Type.Array(HostResult),
});

export type WarmBytes = Readonly<Static<typeof WarmBytes>>;
export type HostFailure = Static<typeof HostFailure>;
export type HostResult = Static<typeof HostResult>;
export type JobSource = Static<typeof JobSource>;
export type JobState = Static<typeof JobState>;
export type JobSummary = Static<typeof JobSummary>;
export type JobRecord = Static<typeof JobRecord>;
