import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { ServedHost, TaskSummary } from './served-host.ts';

const DEFAULT_KEEP_MS = 30 * 24 * 3_600_000;
/** Whatever is kept is looked at again one day: nothing is kept for ever because somebody forgot it. */
const MAX_KEEP_MS = 366 * 24 * 3_600_000;

const Version = Type.Optional(Type.String({ pattern: '^[0-9a-f]{16}$' }));
const strict = { code: 'ERR_REQUEST', strict: true } as const;
const parseTask = parser(Type.Object({ task: Type.String({ pattern: '^[0-9a-f]{64}$' }) }), strict);
const parseKeep = parser(
  Type.Object({
    forMs: Type.Optional(Type.Integer({ minimum: 1000, maximum: MAX_KEEP_MS })),
    version: Version,
  }),
  strict,
);
const parseVersion = parser(Type.Object({ version: Version }), strict);

/** What a route takes from a request, unparsed. */
interface Asked {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

/** `/v1/tasks/TASK/keep`: content that must not be evicted, and for how long. */
export function addKeepRoutes(server: FastifyInstance, host: ServedHost): void {
  server.put('/v1/tasks/:task/keep', (request) => keep(host, request));

  server.delete('/v1/tasks/:task/keep', (request) => endKeeping(host, request));
}

/** Keeps the named version, else the newest whole one, else the newest. */
async function keep(host: ServedHost, asked: Asked): Promise<TaskSummary> {
  const { task } = parseTask(asked.params);
  const { forMs = DEFAULT_KEEP_MS, version } = parseKeep(asked.body ?? {});
  const versions = host.versions(task);
  const chosen =
    version === undefined
      ? (versions.findLast(({ isComplete }) => isComplete) ?? versions.at(-1))
      : versions.find((each) => each.version === version);
  if (chosen === undefined) throw notHere(task, version);
  await host.keep(chosen, forMs);
  return host.versions(task).find((each) => each.version === chosen.version) ?? chosen;
}

/** Of one version, or of all that are kept. */
async function endKeeping(
  host: ServedHost,
  asked: Asked,
): Promise<{ readonly task: string; readonly ended: readonly string[] }> {
  const { task } = parseTask(asked.params);
  const { version } = parseVersion(asked.query);
  const versions = host.versions(task);
  const named = versions.filter((each) => version === undefined || each.version === version);
  if (named.length === 0) throw notHere(task, version);
  const kept = named.filter(({ keptUntilMs }) => keptUntilMs !== undefined);
  for (const each of kept) await host.keep(each, undefined);
  return { task, ended: kept.map((each) => each.version) };
}

function notHere(task: string, version: string | undefined): CodedError {
  const what = version === undefined ? `task ${task}` : `version ${version} of task ${task}`;
  return new CodedError('ERR_NOT_FOUND', `${what} is not on this host`);
}
