/** `dfops call …` and `dfops calls …`: commands on hosts, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import type { OptionValues } from '../../core/base/options.ts';
import { lanes } from '../../core/identity/call-order.ts';
import type { VerbAsk } from '../control/verb-request.ts';
import { ApiClient } from './api-client.ts';
import { callId, showCall } from './call-api.ts';
import type { CallEvent } from './call-api.ts';
import { callLine, eventText, resultText } from './call-text.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions, changeOptions } from './preheat-options.ts';

/** The flags of `dfops call`. */
export const callOptions = defineOptions({
  ...changeOptions,
  on: {
    kind: 'string',
    required: true,
    valueName: 'HOSTS',
    help: 'Hosts to run it on: all, idc=NAME, host=NAME, label=KEY:VALUE, fact=KEY:VALUE, several with commas between, and -WORD for those to leave out',
  },
  wait: { kind: 'boolean', help: 'Wait for the end, and print what the hosts say as they say it' },
  timeout: {
    kind: 'duration',
    default: '1m',
    min: 1,
    max: 86_400_000,
    help: 'What runs longer on a host is ended there',
  },
  'give-up': {
    kind: 'duration',
    default: '1m',
    min: 1,
    max: 86_400_000,
    help: 'A host that is busy or away for so long does not run it',
  },
  lane: {
    kind: 'choice',
    choices: lanes,
    default: 'fast',
    help: 'slow for what takes long: it never stands in the way of what is fast',
  },
  'run-as': {
    kind: 'string',
    valueName: 'USER',
    defaultHelp: 'as the host says of the command',
    help: 'User of the host to run it as, where the host allows it',
  },
  'max-output': {
    kind: 'size',
    default: '64KiB',
    max: 1_048_576,
    help: 'Of stdout and of stderr each; what is more is counted and left out',
  },
  'idempotency-key': {
    kind: 'string',
    valueName: 'WORD',
    defaultHelp: 'none',
    help: 'A second call with the same word is the first one',
  },
});

/** Adds `call` and `calls list|show|follow|stop` to the program. */
export function addCallCommands(program: Command, tools: CommandTools): void {
  addCall(program, tools);
  addLooks(program, tools);
}

function addCall(program: Command, tools: CommandTools): void {
  const { env, print, complain, signal } = tools;
  const call = program
    .command('call')
    .description('Run a command on hosts, by the name that they know it by')
    .argument('<COMMAND>', 'a name that the hosts map to a program')
    .argument('[ARGS...]', 'passed to the program as they are; after -- also those with dashes');
  bindCommand(call, {
    table: callOptions,
    env,
    action: async ({ options, args: [command = '', ...args] }) => {
      const { json } = options;
      const api = new ApiClient(options.api, options.apiKey, options);
      const begun = await api.ask('call.run', { command, args, ...wishOf(options) }, { signal });
      const hosts = begun.hosts.length;
      if (!options.wait) {
        print(json ? `${JSON.stringify(begun)}\n` : `${begun.id}\n`);
        if (!json) complain(`on ${hosts} hosts; dfops calls show ${begun.id} tells how it goes\n`);
        return;
      }
      if (!json) complain(`call ${begun.id} on ${hosts} hosts\n`);
      await follow(api, { id: begun.id, json }, tools);
    },
  });
}

/** What the flags say of a call. */
export function wishOf(
  options: Omit<OptionValues<typeof callOptions>, 'wait'>,
): Omit<VerbAsk<'call.run'>, 'command' | 'args'> {
  const { on, timeout, giveUp, lane, runAs, maxOutput, idempotencyKey } = options;
  return {
    on,
    lane,
    timeoutMs: timeout,
    waitMs: giveUp,
    maxOutputBytes: maxOutput,
    runAs,
    idempotencyKey,
  };
}

function addLooks(program: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const calls = program.command('calls').description('Look at calls, and stop them');
  calls.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops calls what? One of: list, show, follow, stop');
  });
  bindCommand(calls.command('list').description('List calls, the newest first'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json } }) => {
      const client = new ApiClient(api, apiKey);
      const { items } = await client.ask('call.list', { limit: 100 }, { signal });
      for (const item of items) print(json ? `${JSON.stringify(item)}\n` : callLine(item));
    },
  });
  bindCommand(calls.command('show').description('Show a call and its results').argument('<ID>'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json }, args: [id = ''] }) => {
      const shown = await showCall(new ApiClient(api, apiKey), id, signal);
      print(json ? `${JSON.stringify(shown)}\n` : callLine(shown));
      if (!json) for (const result of shown.results) print(resultText(result));
    },
  });
  bindCommand(calls.command('follow').description('Follow a call to its end').argument('<ID>'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json }, args: [id = ''] }) =>
      follow(new ApiClient(api, apiKey), { id, json }, tools),
  });
  bindCommand(calls.command('stop').description('Stop a call on all its hosts').argument('<ID>'), {
    table: changeOptions,
    env,
    action: async ({ options, args: [id = ''] }) => {
      const client = new ApiClient(options.api, options.apiKey, options);
      await client.ask('call.cancel', { id: callId(id) }, { signal });
    },
  });
}

/** Prints what happens until the call has ended; throws when it did not end well on every host. */
export async function follow(
  api: ApiClient,
  { id, json }: { readonly id: string; readonly json: boolean },
  { print, complain, signal }: CommandTools,
): Promise<void> {
  let last: CallEvent | undefined;
  for await (const event of api.follow('call.follow', { id: callId(id) }, { signal })) {
    last = event;
    if (json) {
      print(`${JSON.stringify(event)}\n`);
      continue;
    }
    const { text, isResult } = eventText(event);
    if (isResult) print(text);
    else complain(text);
  }
  if (last?.type !== 'ended') {
    const message = `the supernode told no end of call ${id}: dfops calls follow ${id} goes on`;
    throw new CodedError('ERR_MESH_UNAVAILABLE', message);
  }
  const { hosts, ok } = last.counts;
  if (ok === hosts) return;
  throw new CodedError('ERR_COMMAND_FAILED', `ended well on ${ok} of ${hosts} hosts`, {
    detail: { call: id, ...last.counts },
  });
}
