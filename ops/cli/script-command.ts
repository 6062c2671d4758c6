/** `dfops script`: a script of this machine on hosts, through the mesh. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { ApiClient } from './api-client.ts';
import { callOptions, follow, wishOf } from './call-command.ts';
import type { CommandTools } from './preheat-command.ts';
import { uploadBlob } from './upload-blob.ts';

const { wait: _wait, ...rest } = callOptions;
/** The flags of `dfops script`: those of a call, which it waits for. */
export const scriptOptions = rest;

/** Adds `script` to the program. */
export function addScriptCommand(program: Command, tools: CommandTools): void {
  const { env, complain, signal } = tools;
  const script = program
    .command('script')
    .description('Run a script of this machine on hosts that let scripts be run')
    .argument('<FILE>', 'begins with #! and the program that reads it')
    .argument('[ARGS...]', 'passed to the script as they are; after -- also those with dashes');
  bindCommand(script, {
    table: scriptOptions,
    env,
    action: async ({ options, args: [file = '', ...args] }) => {
      const { json } = options;
      const api = new ApiClient(options.api, options.apiKey, options);
      const { url, digest } = await uploadBlob(api, file, { signal });
      const wish = { command: 'script.run', args: [url, digest, ...args], ...wishOf(options) };
      const begun = await api.ask('call.run', wish, { signal });
      if (!json) complain(`call ${begun.id} on ${begun.hosts.length} hosts\n`);
      await follow(api, { id: begun.id, json }, tools);
    },
  });
}
