/** `dfops keys …` and `dfops policies …`: who may do what, asked of a supernode over its HTTP API. */
import { open } from 'node:fs/promises';
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError, systemCode } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { formatDuration, parseDuration } from '../../core/base/units.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { PrincipalCaps } from '../control/caps.ts';
import { PolicyRule } from '../control/policy-rule.ts';
import type { VerbAnswer } from './answers.ts';
import { ApiClient } from './api-client.ts';
import type { ItemOf } from './api-client.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions, changeOptions } from './preheat-options.ts';

const DAY_MS = 86_400_000;
/** The API takes no larger request. */
const MAX_POLICY_BYTES = 16_384;

/** The flags of `dfops keys create`. */
export const keysCreateOptions = defineOptions({
  ...changeOptions,
  expires: {
    kind: 'duration',
    default: '90d',
    min: 60_000,
    max: 730 * DAY_MS,
    help: 'How long the key is good, and each that it is rotated to',
  },
  'hosts-cap': {
    kind: 'string',
    valueName: 'N/TIME',
    defaultHelp: 'as it is for the principal',
    help: 'Most distinct hosts that the principal runs something on within a time, as 5/1h; or none',
  },
  'calls-cap': {
    kind: 'string',
    valueName: 'N/TIME',
    defaultHelp: 'as it is for the principal',
    help: 'Most calls of the principal within a time, as 100/1h; or none',
  },
});

/** The flags of `dfops keys rotate`. */
export const keysRotateOptions = defineOptions({
  ...changeOptions,
  overlap: {
    kind: 'duration',
    default: '24h',
    min: 0,
    max: 30 * DAY_MS,
    help: 'How long the former key still holds; 0 ends it at once',
  },
});

/** The flags of `dfops policies put`. */
export const policiesPutOptions = defineOptions({
  ...changeOptions,
  file: { kind: 'path', required: true, valueName: 'FILE', help: 'The policy as JSON' },
});

type Key = ItemOf<'key.list'>;
type Policy = ItemOf<'policy.list'>;

const parsePolicy = parser(PolicyRule, { code: 'ERR_REQUEST', strict: true });

/** Adds `keys create|list|rotate|lock` and `policies put|list|remove` to the program. */
export function addKeysCommands(program: Command, tools: CommandTools): void {
  addKeys(program, tools);
  addPolicies(program, tools);
}

function addKeys(program: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const keys = program.command('keys').description('Keys of the API, and what they are good for');
  keys.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops keys what? One of: create, list, rotate, lock');
  });
  const create = keys.command('create').description('Make a key; it is printed this once');
  bindCommand(create.argument('<NAME>', 'the principal: who it is for'), {
    table: keysCreateOptions,
    env,
    action: async ({ options, args: [principal = ''] }) => {
      const { api, apiKey, expires, hostsCap, callsCap, json } = options;
      const about = { principal, ttlMs: expires, ...capsFrom({ hostsCap, callsCap }) };
      const client = new ApiClient(api, apiKey, options);
      showIssued(await client.ask('key.create', about, { signal }), { json, tools });
    },
  });
  bindCommand(keys.command('list').description('List keys'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json } }) => {
      const client = new ApiClient(api, apiKey);
      for await (const key of client.pages('key.list', {}, { signal })) {
        print(json ? `${JSON.stringify(key)}\n` : keyLine(key));
      }
    },
  });
  const rotate = keys.command('rotate').description('Print a new key in the place of one');
  bindCommand(rotate.argument('<ID>'), {
    table: keysRotateOptions,
    env,
    action: async ({ options, args: [id = ''] }) => {
      const { api, apiKey, overlap, json } = options;
      const client = new ApiClient(api, apiKey, options);
      const issued = await client.ask('key.rotate', { id, overlapMs: overlap }, { signal });
      showIssued(issued, { json, tools });
    },
  });
  const lock = keys.command('lock').description('End a key, and what runs for it, for good');
  bindCommand(lock.argument('<ID>'), {
    table: changeOptions,
    env,
    action: async ({ options, args: [id = ''] }) => {
      const { api, apiKey, json } = options;
      const key = await new ApiClient(api, apiKey, options).ask('key.lock', { id }, { signal });
      print(json ? `${JSON.stringify(key)}\n` : keyLine(key));
    },
  });
}

function addPolicies(program: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const policies = program.command('policies').description('Who may do what');
  policies.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops policies what? One of: put, list, remove');
  });
  const put = policies.command('put').description('Make a policy, or replace it');
  bindCommand(put.argument('<NAME>'), {
    table: policiesPutOptions,
    env,
    action: async ({ options, args: [name = ''] }) => {
      const { api, apiKey, json, file } = options;
      const client = new ApiClient(api, apiKey, options);
      const about = { name, policy: await readPolicy(file) };
      const policy = await client.ask('policy.put', about, { signal });
      print(json ? `${JSON.stringify(policy)}\n` : policyLine(policy));
    },
  });
  bindCommand(policies.command('list').description('List policies'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json } }) => {
      const client = new ApiClient(api, apiKey);
      for await (const one of client.pages('policy.list', {}, { signal })) {
        print(json ? `${JSON.stringify(one)}\n` : policyLine(one));
      }
    },
  });
  bindCommand(policies.command('remove').description('Remove a policy').argument('<NAME>'), {
    table: changeOptions,
    env,
    action: async ({ options, args: [name = ''] }) => {
      const { api, apiKey } = options;
      await new ApiClient(api, apiKey, options).ask('policy.remove', { name }, { signal });
    },
  });
}

/** The key alone on standard output, so that it can be piped to where it is kept. */
function showIssued(
  issued: VerbAnswer<'key.create'>,
  { json, tools }: { readonly json: boolean; readonly tools: CommandTools },
): void {
  tools.print(json ? `${JSON.stringify(issued)}\n` : `${issued.key}\n`);
  if (json) return;
  tools.complain(`key ${issued.id} of ${issued.principal}, good until ${timeOf(issued.expires)}; `);
  tools.complain('it is not shown again\n');
}

function keyLine(key: Key): string {
  const { id, principal, expires, formerUntil, lastUsed, locked, caps = {} } = key;
  const words = [
    id,
    principal,
    locked === undefined ? `expires ${timeOf(expires)}` : `locked ${timeOf(locked)}`,
    ...(formerUntil === undefined ? [] : [`former until ${timeOf(formerUntil)}`]),
    lastUsed === undefined ? 'never used' : `used ${timeOf(lastUsed)}`,
    ...Object.entries(caps).flatMap(([what, cap]) =>
      cap === undefined ? [] : [`${what} ${cap.max}/${formatDuration(cap.windowMs)}`],
    ),
  ];
  return `${words.join('  ')}\n`;
}

function policyLine(policy: Policy): string {
  const { name, effect, principals, verbs, commands, hosts, lines, maxRisk } = policy;
  const { approvers = [], ttlMs } = policy;
  const words = [
    name,
    `${effect} ${principals.join(',')}`,
    verbs.join(','),
    ...(commands === undefined ? [] : [`commands ${commands.join(',')}`]),
    ...(hosts === undefined ? [] : [`hosts ${hosts.join(',')}`]),
    ...(lines === undefined ? [] : [`lines ${lines.join(' or ')}`]),
    ...(maxRisk === undefined ? [] : [`at most ${maxRisk}`]),
    ...approvers.map((names) => `one of ${names.join(',')}`),
    ...(ttlMs === undefined ? [] : [`within ${formatDuration(ttlMs)}`]),
  ];
  return `${words.join('  ')}\n`;
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}

/** Caps as the API takes them, both or none; ERR_USAGE naming the flag. */
function capsFrom(given: {
  readonly hostsCap: string | undefined;
  readonly callsCap: string | undefined;
}): { readonly caps?: PrincipalCaps } {
  const { hostsCap, callsCap } = given;
  if (hostsCap === undefined && callsCap === undefined) return {};
  const hosts = capFrom(hostsCap, '--hosts-cap');
  const calls = capFrom(callsCap, '--calls-cap');
  return {
    caps: { ...(hosts === undefined ? {} : { hosts }), ...(calls === undefined ? {} : { calls }) },
  };
}

function capFrom(text: string | undefined, flag: string): PrincipalCaps['hosts'] {
  if (text === undefined || text === 'none') return undefined;
  const [, max, time = ''] = /^(\d{1,6})\/(.+)$/.exec(text) ?? [];
  const windowMs = parseDuration(time);
  if (max !== undefined && windowMs !== undefined) return { max: Number(max), windowMs };
  const message = `${flag}: expected N/TIME, as 5/1h, or none, got ${JSON.stringify(text)}`;
  throw new CodedError('ERR_USAGE', message);
}

/** What the file holds; ERR_USAGE when it is no JSON, ERR_REQUEST with the path of what is wrong in it. */
async function readPolicy(file: string): Promise<PolicyRule> {
  const text = await readShort(file);
  let policy: unknown;
  try {
    policy = JSON.parse(text);
  } catch (cause) {
    throw new CodedError('ERR_USAGE', `--file: ${file} is no JSON`, { cause });
  }
  return parsePolicy(policy);
}

async function readShort(file: string): Promise<string> {
  try {
    await using handle = await open(file, 'r');
    const { size } = await handle.stat();
    if (size <= MAX_POLICY_BYTES) return await handle.readFile('utf8');
  } catch (cause) {
    const reason = systemCode(cause) ?? 'unreadable';
    throw new CodedError('ERR_USAGE', `--file: cannot read ${file} (${reason})`, { cause });
  }
  throw new CodedError('ERR_USAGE', `--file: ${file} is longer than ${MAX_POLICY_BYTES} bytes`);
}
