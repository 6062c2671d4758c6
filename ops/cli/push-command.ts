/** `dfops push`: a file to hosts, through the mesh. */
import type { Command } from 'commander';
import { isBlobDigest } from '../../core/base/blob-url.ts';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { ApiClient } from './api-client.ts';
import { follow } from './call-command.ts';
import type { CommandTools } from './preheat-command.ts';
import { changeOptions } from './preheat-options.ts';
import { uploadBlob } from './upload-blob.ts';

/** The flags of `dfops push`. */
export const pushOptions = defineOptions({
  ...changeOptions,
  to: {
    kind: 'string',
    required: true,
    valueName: 'HOSTS',
    help: 'Hosts to put it on, named as for dfops call --on',
  },
  path: {
    kind: 'string',
    required: true,
    valueName: 'PATH',
    help: 'Where it comes to lie on the hosts: absolute, in a folder that the host has under files:',
  },
  mode: { kind: 'string', valueName: 'OCTAL', default: '0644', help: 'Permissions of the file' },
  owner: {
    kind: 'string',
    valueName: 'USER[:GROUP]',
    defaultHelp: 'whoever writes files there, as the host says',
    help: 'Whose it is',
  },
  digest: {
    kind: 'string',
    valueName: 'sha256:HEX',
    help: 'Of what is at a URL; a file of this machine needs none',
  },
  timeout: {
    kind: 'duration',
    default: '1h',
    min: 1,
    max: 86_400_000,
    help: 'A host that takes longer gives it up',
  },
  'give-up': {
    kind: 'duration',
    default: '1m',
    min: 1,
    max: 86_400_000,
    help: 'A host that is busy or away for so long does not get it',
  },
});

/** Adds `push` to the program. */
export function addPushCommand(program: Command, tools: CommandTools): void {
  const { env, complain, signal } = tools;
  const push = program
    .command('push')
    .description('Put a file on hosts: all of it or nothing, under its name at once')
    .argument('<FILE>', 'a file of this machine, or an http(s) URL with --digest');
  bindCommand(push, {
    table: pushOptions,
    env,
    action: async ({ options, args: [file = ''] }) => {
      const { to, path, mode, owner, digest, timeout, giveUp, json } = options;
      checkTarget(path, mode);
      const api = new ApiClient(options.api, options.apiKey, options);
      const content = await contentOf(api, { file, digest }, tools);
      const begun = await api.ask(
        'call.run',
        {
          command: 'file.put',
          args: [content.url, content.digest, path, mode, owner ?? '-'],
          on: to,
          lane: 'slow',
          timeoutMs: timeout,
          waitMs: giveUp,
        },
        { signal },
      );
      if (!json) complain(`call ${begun.id} on ${begun.hosts.length} hosts\n`);
      await follow(api, { id: begun.id, json }, tools);
    },
  });
}

/** Where hosts fetch it: a URL is theirs to reach, a file of this machine is uploaded. */
async function contentOf(
  api: ApiClient,
  { file, digest }: { readonly file: string; readonly digest: string | undefined },
  { signal }: CommandTools,
): Promise<{ readonly url: string; readonly digest: string }> {
  if (!/^https?:\/\//i.test(file)) {
    if (digest !== undefined) throw usage('--digest is for a URL; that of a file is found out');
    return uploadBlob(api, file, { signal });
  }
  if (digest === undefined) throw usage('a URL needs --digest: hosts take nothing else than that');
  if (!isBlobDigest(digest)) throw usage('--digest: expected sha256: and 64 hex digits');
  return { url: file, digest };
}

/** What every host would refuse is refused here, before anything is uploaded. */
function checkTarget(path: string, mode: string): void {
  if (!path.startsWith('/') || path.endsWith('/')) {
    throw usage('--path: expected the absolute path of a file');
  }
  if (!/^0?[0-7]{3}$/.test(mode)) throw usage('--mode: expected three octal digits, such as 0644');
}

function usage(message: string): CodedError {
  return new CodedError('ERR_USAGE', message);
}
