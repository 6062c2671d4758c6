/** `dfops hosts …`: what is known of hosts, their labels and their end, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { printable } from '../../core/base/printable.ts';
import { peerIdPattern } from '../../core/identity/peer-id.ts';
import type { VerbAnswer } from './answers.ts';
import { ApiClient } from './api-client.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions, changeOptions } from './preheat-options.ts';

/** The flags of `dfops hosts list`. */
export const hostsListOptions = defineOptions({
  ...apiOptions,
  on: {
    kind: 'string',
    valueName: 'HOSTS',
    defaultHelp: 'all',
    help: 'Those that are meant, as in dfops call, whether they are connected or not',
  },
  retired: {
    kind: 'boolean',
    help: 'Those that are out of the cell for good, in place of the others',
  },
});

/** The flags of `dfops hosts label`. */
export const hostsLabelOptions = defineOptions({
  ...changeOptions,
  on: {
    kind: 'string',
    valueName: 'HOSTS',
    defaultHelp: 'the host that is the first argument',
    help: 'Hosts to label, as in dfops call, whether they are connected or not',
  },
});

type Host = VerbAnswer<'host.show'>;

/** Adds `hosts list|show|label|retire` to the program. */
export function addHostsCommands(program: Command, tools: CommandTools): void {
  const hosts = program
    .command('hosts')
    .description('Hosts that were ever here: what is known of them, their labels, their end');
  hosts.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops hosts what? One of: list, show, label, retire');
  });
  addLooks(hosts, tools);
  addChanges(hosts, tools);
}

function addLooks(hosts: Command, { env, print, signal }: CommandTools): void {
  bindCommand(hosts.command('list').description('List hosts'), {
    table: hostsListOptions,
    env,
    action: async ({ options: { api, apiKey, on, retired, json } }) => {
      const about = { on, state: retired ? 'retired' : 'active' } as const;
      const client = new ApiClient(api, apiKey);
      for await (const host of client.pages('host.list', about, { signal })) {
        print(json ? `${JSON.stringify(host)}\n` : hostLine(host));
      }
    },
  });
  const show = hosts.command('show').description('Show all that is known of a host');
  bindCommand(show.argument('<HOST>', 'host name or peer id; a retired one by its peer id'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json }, args: [name = ''] }) => {
      const client = new ApiClient(api, apiKey);
      for await (const host of found(client, name, signal)) {
        print(json ? `${JSON.stringify(host)}\n` : hostText(host));
      }
    },
  });
}

function addChanges(hosts: Command, { env, print, signal }: CommandTools): void {
  const label = hosts.command('label').description('Set labels (KEY=VALUE) and remove them (KEY-)');
  bindCommand(label.argument('<WORDS...>', 'HOST and labels, or with --on labels only'), {
    table: hostsLabelOptions,
    env,
    action: async ({ options, args }) => {
      const { api, apiKey, on, json } = options;
      const [first = '', ...rest] = args;
      const words = on === undefined ? rest : args;
      const change = { on: on ?? `host=${first}`, ...labelsFrom(words) };
      const client = new ApiClient(api, apiKey, options);
      const done = await client.ask('host.label', change, { signal });
      print(
        json ? `${JSON.stringify(done)}\n` : `${done.changed} of ${done.hosts} hosts changed\n`,
      );
    },
  });
  const retire = hosts.command('retire').description('Put a host out of the cell for good');
  bindCommand(retire.argument('<HOST>', 'host name or peer id'), {
    table: changeOptions,
    env,
    action: async ({ options, args: [host = ''] }) => {
      const { api, apiKey, json } = options;
      const client = new ApiClient(api, apiKey, options);
      const retired = await client.ask('host.retire', { host }, { signal });
      print(json ? `${JSON.stringify(retired)}\n` : hostLine(retired));
    },
  });
}

/** Those of a host name, or the one of a peer id, which may be retired. */
async function* found(
  api: ApiClient,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<Host, void, undefined> {
  if (peerIdPattern.test(name)) {
    yield await api.ask('host.show', { peer: name }, { signal });
    return;
  }
  yield* api.pages('host.list', { on: `host=${name}` }, { signal });
}

/** ERR_USAGE naming the word. */
function labelsFrom(words: readonly string[]): {
  readonly set: Record<string, string>;
  readonly remove: string[];
} {
  if (words.length === 0) throw new CodedError('ERR_USAGE', 'no labels: KEY=VALUE or KEY-');
  const set = new Map<string, string>();
  const remove: string[] = [];
  for (const word of words) {
    const at = word.indexOf('=');
    if (at > 0) set.set(word.slice(0, at), word.slice(at + 1));
    else if (at < 0 && word.length > 1 && word.endsWith('-')) remove.push(word.slice(0, -1));
    else throw new CodedError('ERR_USAGE', `${JSON.stringify(word)} is neither KEY=VALUE nor KEY-`);
  }
  return { set: Object.fromEntries(set), remove };
}

function hostLine(host: Host): string {
  const { peer, hostname = peer, idc = '', labels } = host;
  const words = [
    hostname,
    peer,
    idc,
    standingOf(host),
    ...Object.entries(labels).map(([key, value]) => `${key}=${value}`),
  ];
  return `${printable(words.filter((word) => word !== '').join('  '))}\n`;
}

function hostText(host: Host): string {
  const { location, role, firstSeen, lastSeen, facts } = host;
  const lines = [
    ...(location === undefined ? [] : [`location ${location}`]),
    `role ${role}`,
    `first seen ${timeOf(firstSeen)}`,
    ...(host.isConnected ? [] : [`last seen ${timeOf(lastSeen)}`]),
    ...Object.entries(facts).map(([key, value]) => `${key} ${value}`),
  ];
  return hostLine(host) + lines.map((line) => `  ${printable(line)}\n`).join('');
}

function standingOf({ state, retired, isConnected, lastSeen }: Host): string {
  if (retired !== undefined) return `retired ${timeOf(retired.at)} by ${retired.by}`;
  if (state === 'retired') return 'revoked';
  return isConnected ? 'connected' : `last seen ${timeOf(lastSeen)}`;
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
