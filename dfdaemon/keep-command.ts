/** `dfdaemon keep`: content that the dfdaemon of this host must not evict, named, shown, and let go. */
import type { Command } from 'commander';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { bindCommand } from '../core/base/command-line.ts';
import type { Print } from '../core/base/command-line.ts';
import { defaultSocketPath } from '../core/base/default-paths.ts';
import type { UserPlaces } from '../core/base/default-paths.ts';
import { CodedError, systemCode } from '../core/base/error.ts';
import { defineOptions } from '../core/base/options.ts';
import type { OptionValues } from '../core/base/options.ts';
import type { Environment } from '../core/base/resolve-options.ts';
import { humanBytes } from '../core/base/units.ts';

const TIMEOUT_MS = 10_000;
/** More than a store holds. */
const LISTED = 10_000;

/** The flags of `dfdaemon keep`. */
export const keepFlags = defineOptions({
  socket: {
    kind: 'path',
    defaultHelp: 'that of dfdaemon',
    help: 'Unix socket of the dfdaemon',
  },
  for: {
    kind: 'duration',
    min: 1000,
    defaultHelp: '720h',
    help: 'How long the task is kept from now on, at most 366 days; again moves the end',
  },
  version: {
    kind: 'string',
    valueName: 'HEX',
    defaultHelp: 'the newest whole one; with --end all',
    help: 'Version of the task',
  },
  end: { kind: 'boolean', help: 'Keep the task no longer' },
  json: { kind: 'boolean', help: 'Print JSON instead of text' },
});

type KeepOptions = OptionValues<typeof keepFlags>;

const Kept = Type.Object({
  task: Type.String(),
  version: Type.String(),
  url: Type.Optional(Type.String()),
  length: Type.Optional(Type.Number()),
  receivedBytes: Type.Number(),
  keptUntilMs: Type.Optional(Type.Number()),
});
const Listed = Type.Object({ tasks: Type.Array(Kept) });
const Ended = Type.Object({ task: Type.String(), ended: Type.Array(Type.String()) });

interface Tools {
  readonly user: UserPlaces;
  readonly print: Print;
}

/** Adds `keep` to the program. */
export function addKeepCommand(
  program: Command,
  tools: Tools & { readonly env: Environment },
): void {
  const command = program
    .command('keep')
    .description('Keep a task from being evicted; without TASK, show what is kept')
    .argument('[TASK]', 'id of the task, 64 hex digits');
  bindCommand(command, {
    table: keepFlags,
    // The others are for one call: nobody wants them set by an environment.
    env: { ODONATA_SOCKET: tools.env['ODONATA_SOCKET'] },
    action: async ({ options, args: [task] }) => run(task, options, tools),
  });
}

async function run(
  task: string | undefined,
  options: KeepOptions,
  { user, print }: Tools,
): Promise<void> {
  refuseContradictions(task, options);
  const { callJson } = await import('../core/net/json-call.ts');
  const { parser } = await import('../core/wire/parse-message.ts');
  const socketPath = options.socket ?? defaultSocketPath(user);
  const { path, method, body } = callOf(task, options);
  const answer = await callJson({
    target: { socketPath, path, method },
    ...(body === undefined ? {} : { body }),
    timeoutMs: TIMEOUT_MS,
    unreachable: (cause) => {
      const reason = systemCode(cause) ?? cause.message;
      const message = `no dfdaemon answers on ${socketPath} (${reason})`;
      return new CodedError('ERR_DAEMON_UNAVAILABLE', message, { cause });
    },
  });
  if (task === undefined) {
    const kept = parser(Listed)(answer).tasks.filter((each) => each.keptUntilMs !== undefined);
    print(options.json ? `${JSON.stringify(kept)}\n` : kept.map(lineOf).join(''));
  } else if (options.json) print(`${JSON.stringify(answer)}\n`);
  else if (options.end) print(endedText(parser(Ended)(answer)));
  else print(lineOf(parser(Kept)(answer)));
}

function refuseContradictions(task: string | undefined, options: KeepOptions): void {
  if (task !== undefined && !/^[0-9a-f]{64}$/.test(task)) {
    throw new CodedError('ERR_USAGE', `TASK: expected 64 hex digits, got ${task.slice(0, 100)}`);
  }
  const { version, end } = options;
  if (version !== undefined && !/^[0-9a-f]{16}$/.test(version)) {
    throw new CodedError(
      'ERR_USAGE',
      `--version: expected 16 hex digits, got ${version.slice(0, 100)}`,
    );
  }
  const isAboutTask = options.for !== undefined || version !== undefined || end;
  if (task === undefined && isAboutTask) throw new CodedError('ERR_USAGE', 'TASK is missing');
  if (end && options.for !== undefined) {
    throw new CodedError('ERR_USAGE', '--end and --for contradict each other');
  }
}

function callOf(
  task: string | undefined,
  { version, end, for: forMs }: KeepOptions,
): { readonly method: string; readonly path: string; readonly body?: object } {
  if (task === undefined) return { method: 'GET', path: `/v1/tasks?limit=${LISTED}` };
  const path = `/v1/tasks/${task}/keep`;
  if (end) {
    return { method: 'DELETE', path: version === undefined ? path : `${path}?version=${version}` };
  }
  const body = {
    ...(forMs === undefined ? {} : { forMs }),
    ...(version === undefined ? {} : { version }),
  };
  return { method: 'PUT', path, body };
}

function lineOf({
  task,
  version,
  keptUntilMs,
  length,
  receivedBytes,
  url,
}: Static<typeof Kept>): string {
  const until = keptUntilMs === undefined ? 'not kept' : new Date(keptUntilMs).toISOString();
  const parts = [task, version, until, humanBytes(length ?? receivedBytes), url];
  return `${parts.filter((part) => part !== undefined).join(' ')}\n`;
}

function endedText({ task, ended }: Static<typeof Ended>): string {
  if (ended.length === 0) return `${task} was not kept\n`;
  return `${task} is kept no longer\n`;
}
