/** `dfops limits …`: the budgets of a cell, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { formatLimit, humanBytes, parseRate } from '../../core/base/units.ts';
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
  'origin-host': {
    kind: 'string',
    list: true,
    separator: ';',
    valueName: 'HOST=RATE',
    help: 'The same from one host of origins',
  },
  between: {
    kind: 'string',
    list: true,
    separator: ';',
    valueName: 'FROM|TO=RATE',
    help: 'Most payload that all hosts of idc TO together take from hosts and the seed of idc FROM',
  },
});

const Rates = Type.Record(Type.String(), Type.Number());
const Budgets = Type.Object({
  download: Type.Number(),
  origin: Type.Number(),
  originHosts: Type.Optional(Rates),
  between: Type.Optional(Rates),
});
const Row = Type.Object({ share: Type.Number(), rate: Type.Number(), wantsMore: Type.Boolean() });
const Host = Type.Object({
  peer: Type.String(),
  takesShares: Type.Boolean(),
  download: Type.Optional(Row),
  origin: Type.Optional(Row),
  named: Type.Optional(Type.Record(Type.String(), Row)),
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
      const { api, apiKey, download, origin, originHost, between } = options;
      const body = {
        ...(download === undefined ? {} : { download }),
        ...(origin === undefined ? {} : { origin }),
        ...(originHost.length === 0 ? {} : { originHosts: ratesFrom(originHost, '--origin-host') }),
        ...(between.length === 0 ? {} : { between: ratesFrom(between, '--between') }),
      };
      if (Object.keys(body).length === 0) {
        throw new CodedError(
          'ERR_USAGE',
          'dfops limits set: give --download, --origin, --origin-host or --between',
        );
      }
      const call = { method: 'PUT', path: '/api/v1/limits', body, signal } as const;
      const { budgets } = parseSet(await new ApiClient(api, apiKey).send(call));
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
    const answer = parseAnswer(await api.send({ method: 'GET', path, signal }));
    hosts.push(...answer.hosts.items);
    if (answer.hosts.next === undefined) return { ...answer, hosts };
    after = answer.hosts.next;
  }
}

function textOf(answer: Awaited<ReturnType<typeof getLimits>>): string {
  const rows = answer.hosts.map((host) => {
    if (!host.takesShares) return `${host.peer}  keeps to its own limits alone\n`;
    const { download, origin, named = {} } = host;
    const parts = Object.entries({ download, origin, ...named }).flatMap(([name, row]) => {
      if (row === undefined) return [];
      const more = row.wantsMore ? ', wants more' : '';
      return [`${name} ${humanBytes(row.share)}/s (moved ${humanBytes(row.rate)}/s${more})`];
    });
    return `${host.peer}  ${parts.join('  ')}\n`;
  });
  return budgetLines(answer.budgets) + rows.join('');
}

function budgetLines(budgets: Static<typeof Budgets>): string {
  const { download, origin, originHosts = {}, between = {} } = budgets;
  const lines = [
    `download  ${formatLimit(download)}`,
    `origin    ${formatLimit(origin)}`,
    ...Object.entries(originHosts).map(([host, rate]) => `origin:${host}  ${formatLimit(rate)}`),
    ...Object.entries(between).map(([pair, rate]) => `between:${pair}  ${formatLimit(rate)}`),
  ];
  return `${lines.join('\n')}\n`;
}

/** Rates by name of `NAME=RATE`; ERR_USAGE naming the flag for what is not that. */
function ratesFrom(texts: readonly string[], flag: string): Record<string, number> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.lastIndexOf('=');
      const rate = at <= 0 ? undefined : parseRate(text.slice(at + 1));
      if (rate !== undefined) return [text.slice(0, at), rate] as const;
      throw new CodedError('ERR_USAGE', `${flag}: expected NAME=RATE, got ${JSON.stringify(text)}`);
    }),
  );
}
