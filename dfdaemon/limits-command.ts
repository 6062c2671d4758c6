/** `dfdaemon limits`: what the dfdaemon of this host may move a second, shown and set while it runs. */
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
import { formatLimit, formatRate, parseRate } from '../core/base/units.ts';
import { limitNames } from '../core/swarm/host-limits.ts';

const TIMEOUT_MS = 10_000;

/** The flags of `dfdaemon limits`. */
export const limitsFlags = defineOptions({
  socket: {
    kind: 'path',
    defaultHelp: 'that of dfdaemon',
    help: 'Unix socket of the dfdaemon',
  },
  download: { kind: 'rate', help: 'Most payload taken from other hosts from now on' },
  upload: { kind: 'rate', help: 'Most payload sent to other hosts from now on' },
  origin: { kind: 'rate', help: 'Most payload taken from origins from now on' },
  task: {
    kind: 'string',
    list: true,
    valueName: 'TASK=RATE',
    help: 'Most payload that this task, which is being downloaded, takes from now on',
  },
  json: { kind: 'boolean', help: 'Print JSON instead of text' },
});

type LimitsOptions = OptionValues<typeof limitsFlags>;

const Decision = { reason: Type.String() };
const LineDecision = Type.Object({ ...Decision, ceiling: Type.Number() });

const Adaptive = Type.Object({
  isOn: Type.Boolean(),
  receive: Type.Optional(LineDecision),
  send: Type.Optional(LineDecision),
  disk: Type.Optional(Type.Object({ ...Decision, writing: Type.Number(), reading: Type.Number() })),
  blind: Type.Array(Type.String()),
});

const Limits = Type.Object({
  own: Type.Object({ download: Type.Number(), upload: Type.Number(), origin: Type.Number() }),
  cell: Type.Object({
    download: Type.Optional(Type.Number()),
    origin: Type.Optional(Type.Number()),
  }),
  inForce: Type.Object({ download: Type.Number(), upload: Type.Number(), origin: Type.Number() }),
  adaptive: Adaptive,
  tasks: Type.Array(Type.Object({ task: Type.String(), bytesPerSecond: Type.Number() })),
});

/** Adds `limits` to the program. */
export function addLimitsCommand(
  program: Command,
  tools: { readonly env: Environment; readonly user: UserPlaces; readonly print: Print },
): void {
  const command = program
    .command('limits')
    .description('Show what this host may move a second; with flags, set it while dfdaemon runs');
  bindCommand(command, {
    table: limitsFlags,
    // The others are for one call: nobody wants them set by an environment.
    env: { ODONATA_SOCKET: tools.env['ODONATA_SOCKET'] },
    action: async ({ options }) => run(options, tools),
  });
}

async function run(
  options: LimitsOptions,
  { user, print }: { readonly user: UserPlaces; readonly print: Print },
): Promise<void> {
  const { callJson } = await import('../core/net/json-call.ts');
  const { parser } = await import('../core/wire/parse-message.ts');
  const socketPath = options.socket ?? defaultSocketPath(user);
  const changes = changesOf(options);
  const isChange = Object.keys(changes).length > 0;
  const answer = await callJson({
    target: { socketPath, path: '/v1/limits', method: isChange ? 'PUT' : 'GET' },
    ...(isChange ? { body: changes } : {}),
    timeoutMs: TIMEOUT_MS,
    unreachable: (cause) => {
      const reason = systemCode(cause) ?? cause.message;
      const message = `no dfdaemon answers on ${socketPath} (${reason})`;
      return new CodedError('ERR_DAEMON_UNAVAILABLE', message, { cause });
    },
  });
  if (options.json) print(`${JSON.stringify(answer)}\n`);
  else print(textOf(parser(Limits)(answer)));
}

function changesOf({ download, upload, origin, task }: LimitsOptions): object {
  return {
    ...(download === undefined ? {} : { download }),
    ...(upload === undefined ? {} : { upload }),
    ...(origin === undefined ? {} : { origin }),
    ...(task.length === 0 ? {} : { tasks: task.map(taskRateOf) }),
  };
}

function taskRateOf(text: string): { readonly task: string; readonly bytesPerSecond: number } {
  const [, task, rate] = /^([0-9a-f]{64})=(.+)$/.exec(text) ?? [];
  const bytesPerSecond = rate === undefined ? undefined : parseRate(rate);
  if (task !== undefined && bytesPerSecond !== undefined) return { task, bytesPerSecond };
  throw new CodedError('ERR_USAGE', `--task: expected TASK=RATE, as in 0123…=10MB/s, got ${text}`);
}

function textOf({ own, cell, inForce, adaptive, tasks }: Static<typeof Limits>): string {
  const lines = limitNames.map((name) => {
    const share = name === 'upload' ? undefined : cell[name];
    const parts = [`own ${formatLimit(own[name])}`];
    if (share !== undefined) parts.push(`share of the cell ${formatRate(share)}`);
    return `${name.padEnd(9)}${formatLimit(inForce[name])} (${parts.join(', ')})`;
  });
  const rated = tasks.map(
    ({ task, bytesPerSecond }) => `task ${task} ${formatLimit(bytesPerSecond)}`,
  );
  return `${[...lines, ...adaptiveLines(adaptive), ...rated].join('\n')}\n`;
}

function adaptiveLines({ isOn, receive, send, disk, blind }: Static<typeof Adaptive>): string[] {
  if (!isOn) return ['adaptive off'];
  const ceilings = [
    { name: 'receive', ceiling: receive?.ceiling, reason: receive?.reason },
    { name: 'send', ceiling: send?.ceiling, reason: send?.reason },
    { name: 'disk, writing', ceiling: disk?.writing, reason: disk?.reason },
    { name: 'disk, reading', ceiling: disk?.reading, reason: disk?.reason },
  ];
  return [
    ...ceilings.flatMap(({ name, ceiling, reason }) => {
      if (ceiling === undefined) return [];
      const most = ceiling === 0 ? 'no ceiling' : formatRate(ceiling);
      return [`adaptive ${name}: ${most} (${reason})`];
    }),
    ...blind.map((text) => `adaptive does not watch the ${text}`),
  ];
}
