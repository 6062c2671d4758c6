/** `dfops limits …`: the budgets of a cell, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { formatLimit, humanBytes } from '../../core/base/units.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { ApiClient } from './api-client.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions } from './preheat-options.ts';

/** The flags of `dfops limits set`. */
export const limitsSetOptions = defineOptions({
  ...apiOptions,
  download: {
    kind: 'rate',
    help: 'Most payload that all hosts together take from each other and the seed',
  },
  origin: {
    kind: 'rate',
    help: 'Most payload that all hosts and the seed together take from origins',
  },
});

const Budgets = Type.Object({ download: Type.Number(), origin: Type.Number() });
const Row = Type.Object({ share: Type.Number(), rate: Type.Number(), wantsMore: Type.Boolean() });
const Host = Type.Object({
  peer: Type.String(),
  takesShares: Type.Boolean(),
  download: Type.Optional(Row),
  origin: Type.Optional(Row),
});
const Answer = Type.Object({
  budgets: Budgets,
  outstanding: Budgets,
  hosts: Type.Object({ items: Type.Array(Host), next: Type.Optional(Type.String()) }),
});
const parseAnswer = parser(Answer);
const parseSet = parser(Type.Object({ budgets: Budgets }));
const PAGE = 1_000;

type Host = Static<typeof Host>;

/** Adds `limits get|set` to the program. */
export function addLimitsCommands(program: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const limits = program.command('limits').description('What all hosts of the cell may move');
  limits.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops limits what? One of: get, set');
  });
  bindCommand(limits.command('get').description('Show the budgets, and how they are split'), {
    table: apiOptions,
    env,
    action: async ({ options }) => {
      const answer = await getLimits(new ApiClient(options.api, options.apiKey), signal);
      print(options.json ? `${JSON.stringify(answer)}\n` : textOf(answer));
    },
  });
  bindCommand(limits.command('set').description('Set budgets; 0 is no limit'), {
    table: limitsSetOptions,
    env,
    action: async ({ options }) => {
      const { api, apiKey, download, origin } = options;
      const body = {
        ...(download === undefined ? {} : { download }),
        ...(origin === undefined ? {} : { origin }),
      };
      if (Object.keys(body).length === 0) {
        throw new CodedError('ERR_USAGE', 'dfops limits set: give --download, --origin, or both');
      }
      const call = { method: 'PUT', path: '/api/v1/limits', body, signal } as const;
      const { budgets } = parseSet(await new ApiClient(api, apiKey).ask(call));
      print(options.json ? `${JSON.stringify({ budgets })}\n` : budgetLines(budgets));
    },
  });
}

async function getLimits(
  api: ApiClient,
  signal: AbortSignal,
): Promise<Omit<Static<typeof Answer>, 'hosts'> & { readonly hosts: readonly Host[] }> {
  const hosts: Host[] = [];
  for (let after = ''; ;) {
    const path = `/api/v1/limits?limit=${PAGE}&after=${after}`;
    const answer = parseAnswer(await api.ask({ method: 'GET', path, signal }));
    hosts.push(...answer.hosts.items);
    if (answer.hosts.next === undefined) return { ...answer, hosts };
    after = answer.hosts.next;
  }
}

function textOf(answer: Awaited<ReturnType<typeof getLimits>>): string {
  const rows = answer.hosts.map((host) => {
    if (!host.takesShares) return `${host.peer}  keeps to its own limits alone\n`;
    const parts = (['download', 'origin'] as const).flatMap((name) => {
      const row = host[name];
      if (row === undefined) return [];
      const more = row.wantsMore ? ', wants more' : '';
      return [`${name} ${humanBytes(row.share)}/s (moved ${humanBytes(row.rate)}/s${more})`];
    });
    return `${host.peer}  ${parts.join('  ')}\n`;
  });
  return budgetLines(answer.budgets) + rows.join('');
}

function budgetLines({ download, origin }: Static<typeof Budgets>): string {
  return `download  ${formatLimit(download)}\norigin    ${formatLimit(origin)}\n`;
}
