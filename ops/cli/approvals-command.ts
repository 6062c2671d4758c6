/** `dfops approvals …`: what waits for somebody's agreement, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { ApiClient } from './api-client.ts';
import { ApprovalDetail, ApprovalLine, approvalLine, approvalText } from './approval-text.ts';
import { listed } from './listed.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions } from './preheat-options.ts';

const PATH = '/api/v1/approvals';
const parseDetail = parser(ApprovalDetail);

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
      for await (const one of listed(client, { path: PATH, item: ApprovalLine, signal })) {
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
        const call = { method: 'GET', path: pathOf(id), signal } as const;
        const shown = await new ApiClient(api, apiKey).ask(call);
        print(json ? `${JSON.stringify(shown)}\n` : approvalText(parseDetail(shown)));
      },
    },
  );
  for (const [word, description] of [
    ['approve', 'Agree to what `show` shows; it is done when who asked asks again'],
    ['deny', 'Deny it for good, or take back what you asked'],
  ] as const) {
    bindCommand(approvals.command(word).description(description).argument('<ID>'), {
      table: apiOptions,
      env,
      action: async ({ options: { api, apiKey, json }, args: [id = ''] }) => {
        const call = { method: 'POST', path: `${pathOf(id)}/${word}`, signal } as const;
        const said = await new ApiClient(api, apiKey).ask(call);
        print(json ? `${JSON.stringify(said)}\n` : approvalLine(parseDetail(said)));
      },
    });
  }
}

function pathOf(id: string): string {
  if (/^[0-9a-f]{16}$/.test(id)) return `${PATH}/${id}`;
  throw new CodedError('ERR_USAGE', `not the id of an approval: ${JSON.stringify(id)}`);
}
