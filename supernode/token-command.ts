/**
 * `supernode token …` and `supernode host revoke`: through the admin socket while a supernode runs on the data
 * folder, else on its state directly. Nothing heavy is loaded before the command is known to be right.
 */
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { Clock } from '../core/base/clock.ts';
import { bindCommand } from '../core/base/command-line.ts';
import type { Print } from '../core/base/command-line.ts';
import { CodedError, systemCode } from '../core/base/error.ts';
import { silentLog } from '../core/base/log.ts';
import { defineOptions } from '../core/base/options.ts';
import type { Environment } from '../core/base/resolve-options.ts';
import type { SupernodeActions } from './api/supernode-view.ts';
import type { TokenSummary } from './membership/tokens.ts';

/** What the commands need of the process. */
export interface CommandTools {
  readonly env: Environment;
  readonly clock: Clock;
  readonly uid: number;
  /** Standard output: the result and nothing else. */
  readonly print: Print;
  /** Standard error. */
  readonly complain: Print;
}

/** A supernode that has the folder and no socket yet is starting, or stopping: it is waited for this long. */
const PATIENCE_MS = 10_000;
const LOOK_MS = 100;

const folder = defineOptions({
  'data-dir': { kind: 'path', required: true, help: 'The data folder of the supernode' },
});
const json = defineOptions({ json: { kind: 'boolean', help: 'Print JSON instead of text' } });

/** The flags of `supernode token create`. */
export const tokenCreateFlags = defineOptions({
  ...folder,
  ttl: { kind: 'duration', default: '24h', min: 1, help: 'How long it may be used' },
  uses: {
    kind: 'integer',
    min: 1,
    max: 1_000_000,
    defaultHelp: 'any number',
    help: 'How many hosts may join with it',
  },
  cidr: { kind: 'cidr', defaultHelp: 'any address', help: 'Network that hosts must join from' },
  role: {
    kind: 'choice',
    choices: ['host', 'seed'],
    default: 'host',
    help: 'What hosts may become; the role of a seed is recorded and shown, not used yet',
  },
  idc: { kind: 'string', defaultHelp: 'each host names its own', help: 'Where the hosts stand' },
  ...json,
});

/** Adds `token create|list|delete` and `host revoke` to the program. */
export function addTokenCommands(program: Command, tools: CommandTools): void {
  const { env } = tools;
  const token = group(program, { name: 'token', description: 'Make and look after join tokens' });
  bindCommand(token.command('create').description('Make a join token and print it'), {
    table: tokenCreateFlags,
    env,
    action: async ({ options }) => {
      const { dataDir, ttl: ttlMs, uses, cidr, role, idc } = options;
      const grant = { ttlMs, role, uses, cidr, idc };
      const made = await withSupernode(dataDir, tools, async (to) => to.createToken(grant));
      tools.print(options.json ? `${JSON.stringify({ token: made })}\n` : `${made}\n`);
    },
  });
  bindCommand(token.command('list').description('List the tokens that have not expired'), {
    table: defineOptions({ ...folder, ...json }),
    env,
    action: async ({ options }) => {
      const tokens = await withSupernode(options.dataDir, tools, async (to) => to.tokens());
      tools.print(options.json ? jsonLines(tokens) : table(tokens));
    },
  });
  bindCommand(token.command('delete').description('Make a token useless').argument('<ID>'), {
    table: folder,
    env,
    action: async ({ options, args: [id = ''] }) => {
      if (await withSupernode(options.dataDir, tools, async (to) => to.deleteToken(id))) return;
      throw new CodedError('ERR_NOT_FOUND', 'there is no token of this id');
    },
  });
  const host = group(program, { name: 'host', description: 'Look after hosts' });
  bindCommand(host.command('revoke').description('Put a host out for good').argument('<PEER>'), {
    table: folder,
    env,
    action: async ({ options, args: [peer = ''] }) =>
      withSupernode(options.dataDir, tools, async (to) => to.revoke(peer)),
  });
}

function group(program: Command, about: { name: string; description: string }): Command {
  const command = program.command(about.name).description(about.description);
  return command.action(() => {
    const names = command.commands.map((child) => child.name()).join(', ');
    throw new CodedError('ERR_USAGE', `supernode ${about.name} what? One of: ${names}`);
  });
}

/** Does `work` with the supernode that runs on the folder, or with its state where none does. */
async function withSupernode<T>(
  given: string,
  tools: CommandTools,
  work: (to: SupernodeActions) => Promise<T>,
): Promise<T> {
  const dataDir = resolve(given);
  const { AdminClient } = await import('./api/admin-client.ts');
  const { adminSocketPath } = await import('./api/admin-socket-path.ts');
  const path = adminSocketPath(dataDir);
  const end = tools.clock.monotonic() + PATIENCE_MS;
  for (;;) {
    const running = await AdminClient.connect(path);
    if (running !== undefined) return work(running);
    const state = await openState(dataDir, tools, { isLast: tools.clock.monotonic() >= end });
    if (state !== undefined) {
      await using authority = state;
      return await work(authority);
    }
    await tools.clock.sleep(LOOK_MS);
  }
}

/** Undefined while another process has the state, unless this was the last attempt. */
async function openState(
  dataDir: string,
  tools: CommandTools,
  { isLast }: { readonly isLast: boolean },
): Promise<(SupernodeActions & AsyncDisposable) | undefined> {
  await refuseOthersFolder(dataDir, tools.uid);
  const { Authority } = await import('./membership/authority.ts');
  const { clock } = tools;
  try {
    const parts = { clock, log: silentLog, addresses: [], lockWaitMs: 0 };
    const authority = await Authority.open({ dataDir, ...parts });
    if (authority.isNewCell) {
      tools.complain(`supernode: there was no cell in ${dataDir}; a new one was made\n`);
    }
    return authority;
  } catch (error) {
    const isLocked = error instanceof CodedError && error.code === 'ERR_STORE_LOCKED';
    if (!isLocked) throw error;
    if (!isLast) return undefined;
    throw new CodedError(
      'ERR_STORE_LOCKED',
      `a process has ${dataDir} but answers on no admin.sock in it`,
      { cause: error },
    );
  }
}

/** Files that root makes in a service's folder would keep the service from starting. */
async function refuseOthersFolder(dataDir: string, uid: number): Promise<void> {
  try {
    if ((await stat(dataDir)).uid === uid) return;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return;
    const reason = systemCode(error) ?? String(error);
    throw new CodedError('ERR_CONFIG', `--data-dir: cannot look at ${dataDir} (${reason})`, {
      cause: error,
    });
  }
  throw new CodedError(
    'ERR_CONFIG',
    `--data-dir: ${dataDir} is of another user and no supernode runs on it: run this as that user`,
  );
}

function jsonLines(tokens: readonly TokenSummary[]): string {
  const lines = tokens.map((token) =>
    JSON.stringify({ ...token, expires: new Date(token.expires).toISOString() }),
  );
  return lines.map((line) => `${line}\n`).join('');
}

function table(tokens: readonly TokenSummary[]): string {
  const rows = tokens.map(({ id, role, idc, usesLeft, cidr, expires }) => [
    id,
    role,
    idc ?? '-',
    usesLeft === undefined ? '-' : String(usesLeft),
    cidr ?? '-',
    new Date(expires).toISOString(),
  ]);
  const all = [['ID', 'ROLE', 'IDC', 'USES LEFT', 'NETWORK', 'EXPIRES'], ...rows];
  const widths = all[0]?.map((_, column) =>
    Math.max(...all.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths?.[column] ?? 0))
      .join('  ')
      .trimEnd();
  return all.map((row) => `${line(row)}\n`).join('');
}
