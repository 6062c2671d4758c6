/** `dfops approvals …`: what waits for somebody's agreement, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { ApiClient } from './api-client.ts';
import { approvalLine, approvalText } from './approval-text.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions } from './preheat-options.ts';

/** The flags of `dfops approvals deny`. */
export const approvalsDenyOptions = defineOptions({
  ...apiOptions,
  reason: {
    kind: 'string',
    valueName: 'TEXT',
    help: 'Why, at most 500 characters; who asked is told, and it is in the audit',
  },
});

/** Adds `approvals list|show|approve|deny` to the program. */
export function addApprovalsCommands(program: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const approvals = program
    .command('approvals')
    .description('What others asked and you are to agree to, and what you asked');
  approvals.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops approvals what? One of: list, show, approve, deny');
  });
  bindCommand(approvals.command('list').description('List what waits'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json } }) => {
      const client = new ApiClient(api, apiKey);
      for await (const one of client.pages('approval.list', {}, { signal })) {
        print(json ? `${JSON.stringify(one)}\n` : approvalLine(one));
      }
    },
  });
  bindCommand(
    approvals.command('show').description('Show exactly what was asked').argument('<ID>'),
    {
      table: apiOptions,
      env,
      action: async ({ options: { api, apiKey, json }, args: [id = ''] }) => {
        const client = new ApiClient(api, apiKey);
        const shown = await client.ask('approval.show', { id: idFrom(id) }, { signal });
        print(json ? `${JSON.stringify(shown)}\n` : approvalText(shown));
      },
    },
  );
  const approve = approvals
    .command('approve')
    .description('Agree to what `show` shows; it is done when who asked asks again')
    .argument('<ID>');
  bindCommand(approve, {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json }, args: [id = ''] }) => {
      const client = new ApiClient(api, apiKey);
      const said = await client.ask('approval.give', { id: idFrom(id) }, { signal });
      print(json ? `${JSON.stringify(said)}\n` : approvalLine(said));
    },
  });
  const deny = approvals
    .command('deny')
    .description('Deny it for good, or take back what you asked')
    .argument('<ID>');
  bindCommand(deny, {
    table: approvalsDenyOptions,
    env,
    action: async ({ options: { api, apiKey, json, reason }, args: [id = ''] }) => {
      const client = new ApiClient(api, apiKey);
      const said = await client.ask('approval.deny', { id: idFrom(id), reason }, { signal });
      print(json ? `${JSON.stringify(said)}\n` : approvalLine(said));
    },
  });
}

function idFrom(id: string): string {
  if (/^[0-9a-f]{16}$/.test(id)) return id;
  throw new CodedError('ERR_USAGE', `not the id of an approval: ${JSON.stringify(id)}`);
}
