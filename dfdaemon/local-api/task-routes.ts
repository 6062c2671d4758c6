import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { ServedHost, TaskSummary } from './served-host.ts';

const MAX_LISTED = 10_000;
const DEFAULT_LISTED = 1_000;

const strict = { code: 'ERR_REQUEST', strict: true } as const;
const parseTask = parser(Type.Object({ task: Type.String({ pattern: '^[0-9a-f]{64}$' }) }), strict);
const parseVersion = parser(
  Type.Object({ version: Type.Optional(Type.String({ pattern: '^[0-9a-f]{16}$' })) }),
  strict,
);
const parseList = parser(
  Type.Object({ limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,4}$' })) }),
  strict,
);

/** `/v1/tasks`: what is on this host, its bytes, and its removal. */
export function addTaskRoutes(server: FastifyInstance, host: ServedHost): void {
  server.get('/v1/tasks', (request) => listTasks(host, request.query));

  server.get('/v1/tasks/:task', (request) => {
    const { task } = parseTask(request.params);
    return { task, versions: versionsOf(host, task) };
  });

  server.delete('/v1/tasks/:task', (request) => removeTask(host, request));

  server.get('/v1/tasks/:task/content', async (request, reply) => {
    const found = completeVersion(host, request);
    const controller = new AbortController();
    reply.raw.once('close', () => {
      controller.abort(new CodedError('ERR_INTERRUPTED', 'the caller closed the connection'));
    });
    const bytes = host.content(found, { signal: controller.signal });
    return contentHead(reply, found).send(Readable.from(bytes, { objectMode: false }));
  });

  server.head('/v1/tasks/:task/content', async (request, reply) => {
    return contentHead(reply, completeVersion(host, request)).send();
  });
}

/** What a route takes from a request, unparsed. */
interface Asked {
  readonly params: unknown;
  readonly query: unknown;
}

function listTasks(
  host: ServedHost,
  query: unknown,
): { readonly tasks: readonly TaskSummary[]; readonly total: number } {
  const { limit } = parseList(query);
  const most = Math.min(limit === undefined ? DEFAULT_LISTED : Number(limit), MAX_LISTED);
  const all = host.tasks().toSorted((a, b) => b.accessedMs - a.accessedMs);
  return { tasks: all.slice(0, most), total: all.length };
}

async function removeTask(
  host: ServedHost,
  asked: Asked,
): Promise<{ readonly task: string; readonly removed: readonly string[] }> {
  const { task } = parseTask(asked.params);
  const { version } = parseVersion(asked.query);
  const chosen = chosenVersions(versionsOf(host, task), version);
  const busy = chosen.find(({ isInUse }) => isInUse);
  // Looked at before the first is removed: all of it goes, or nothing.
  if (busy !== undefined) throw inUse(busy);
  const kept = chosen.find(({ keptUntilMs }) => keptUntilMs !== undefined);
  if (kept !== undefined) throw isKept(kept);
  for (const summary of chosen) await host.remove(summary);
  return { task, removed: chosen.map((summary) => summary.version) };
}

function contentHead(reply: FastifyReply, found: TaskSummary): FastifyReply {
  return reply
    .type('application/octet-stream')
    .header('content-length', found.length ?? 0)
    .header('x-odonata-version', found.version);
}

/** The asked version, or the newest complete one; throws ERR_NOT_FOUND. */
function completeVersion(host: ServedHost, asked: Asked): TaskSummary {
  const { task } = parseTask(asked.params);
  const { version } = parseVersion(asked.query);
  const complete = chosenVersions(versionsOf(host, task), version).findLast(
    ({ isComplete }) => isComplete,
  );
  if (complete !== undefined) return complete;
  throw new CodedError('ERR_NOT_FOUND', `task ${task} is not complete on this host`);
}

function versionsOf(host: ServedHost, task: string): readonly TaskSummary[] {
  const versions = host.versions(task);
  if (versions.length > 0) return versions;
  throw new CodedError('ERR_NOT_FOUND', `task ${task} is not on this host`);
}

function chosenVersions(
  versions: readonly TaskSummary[],
  version: string | undefined,
): readonly TaskSummary[] {
  if (version === undefined) return versions;
  const chosen = versions.filter((summary) => summary.version === version);
  if (chosen.length > 0) return chosen;
  throw new CodedError('ERR_NOT_FOUND', `this host has no version ${version} of the task`);
}

function isKept({ task, version, keptUntilMs = 0 }: TaskSummary): CodedError {
  const until = new Date(keptUntilMs).toISOString();
  const message = `the task is kept until ${until}; first run dfdaemon keep ${task} --end`;
  return new CodedError('ERR_TASK_IN_USE', message, { detail: { task, version, keptUntilMs } });
}

function inUse({ task, version }: TaskSummary): CodedError {
  return new CodedError('ERR_TASK_IN_USE', 'the task is in use', { detail: { task, version } });
}
