/** `dfops query`: how hosts are at this moment, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import type { VerbAsk } from '../control/verb-request.ts';
import { ApiClient } from './api-client.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions } from './preheat-options.ts';
import type { QueryEvent } from './query-event.ts';
import { countsText, hostText, missingText } from './query-text.ts';

/** The flags of `dfops query`. */
export const queryOptions = defineOptions({
  ...apiOptions,
  on: {
    kind: 'string',
    valueName: 'HOSTS',
    defaultHelp: 'all',
    help: 'Hosts to ask, as in dfops call; those that are away count as silent',
  },
  columns: {
    kind: 'string',
    list: true,
    valueName: 'NAMES',
    defaultHelp: 'the values that the expression speaks of',
    help: 'Values to show of each host, with commas between; all for every value that there is',
  },
  timeout: {
    kind: 'duration',
    default: '2s',
    min: 1,
    max: 10_000,
    help: 'A host that does not answer within this counts as silent',
  },
});

/** Names of hosts that did not answer, on a terminal. */
const MAX_MISSING = 20;

/** Adds `query` to the program. */
export function addQueryCommand(program: Command, tools: CommandTools): void {
  const query = program
    .command('query')
    .description('Ask hosts how they are now, and show those that an expression fits')
    .argument('[EXPRESSION...]', "as 'memoryAvailableBytes < 4GiB and arch = x64'; absent: all");
  bindCommand(query, {
    table: queryOptions,
    env: tools.env,
    action: async ({ options, args }) => {
      const { on, columns, timeout } = options;
      const where = args.join(' ');
      const input = {
        where: where === '' ? undefined : where,
        on,
        columns: columns.length === 0 ? undefined : columns.flatMap((names) => names.split(',')),
        timeoutMs: timeout,
      };
      await ask(new ApiClient(options.api, options.apiKey), { input, json: options.json }, tools);
    },
  });
}

async function ask(
  api: ApiClient,
  { input, json }: { readonly input: VerbAsk<'host.query'>; readonly json: boolean },
  { print, complain, signal }: CommandTools,
): Promise<void> {
  let columns: readonly string[] = [];
  let missing = 0;
  let last: QueryEvent | undefined;
  for await (const event of api.follow('host.query', input, { signal })) {
    last = event;
    if (json) {
      print(`${JSON.stringify(event)}\n`);
      continue;
    }
    switch (event.type) {
      case 'begun':
        ({ columns } = event);
        break;
      case 'host':
        print(hostText(event, columns));
        break;
      case 'silent':
      case 'refused':
        missing += 1;
        if (missing <= MAX_MISSING) complain(missingText(event));
        break;
      case 'ended':
        if (missing > MAX_MISSING) complain(`… and ${missing - MAX_MISSING} more\n`);
        complain(countsText(event));
        break;
    }
  }
  if (last?.type === 'ended') return;
  const message = 'the supernode broke the answer off: these are not all hosts';
  throw new CodedError('ERR_MESH_UNAVAILABLE', message);
}
