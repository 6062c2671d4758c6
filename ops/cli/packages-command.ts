/** `dfops packages …`: versions of packages, for releases. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { packageNamePattern, packageVersionPattern } from '../../core/base/package-name.ts';
import { printable } from '../../core/base/printable.ts';
import { formatSize } from '../../core/base/units.ts';
import { ApiClient } from './api-client.ts';
import type { ItemOf } from './api-client.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions, changeOptions } from './preheat-options.ts';
import { readPackageFile } from './package-file.ts';
import { uploadBlob } from './upload-blob.ts';

type Package = ItemOf<'package.list'>;

/** Adds `packages publish|remove|list` to the program. */
export function addPackagesCommands(program: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const packages = program
    .command('packages')
    .description('Publish versions of packages, and list them');
  packages.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops packages what? One of: publish, remove, list');
  });
  const publish = packages
    .command('publish')
    .description('Bring a package to the supernode, under the name and version in its package.yaml')
    .argument('<FILE>', 'a tar, plain or packed with gzip or zstd');
  bindCommand(publish, {
    table: changeOptions,
    env,
    action: async ({ options, args: [file = ''] }) => {
      const { name, version } = await readPackageFile(file);
      const client = new ApiClient(options.api, options.apiKey, options);
      const { digest, length } = await uploadBlob(client, file, { signal });
      const about = { name, version, digest, length };
      const published = await client.ask('package.publish', about, { signal });
      print(options.json ? `${JSON.stringify(published)}\n` : lineOf(published));
    },
  });
  const remove = packages
    .command('remove')
    .description('Take a version out of the supernode that no release and no host needs')
    .argument('<NAME/VERSION>');
  bindCommand(remove, {
    table: changeOptions,
    env,
    action: async ({ options, args: [what = ''] }) => {
      const client = new ApiClient(options.api, options.apiKey, options);
      const removed = await client.ask('package.remove', versionIn(what), { signal });
      const freed = removed.isFreed ? `${formatSize(removed.length)} freed` : 'its content stays';
      print(options.json ? `${JSON.stringify(removed)}\n` : `${what} removed, ${freed}\n`);
    },
  });
  const list = packages
    .command('list')
    .description('List packages, or the versions of one')
    .argument('[NAME]', 'a package');
  bindCommand(list, {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json }, args: [name] }) => {
      for await (const item of listPackages(new ApiClient(api, apiKey), name, signal)) {
        print(json ? `${JSON.stringify(item)}\n` : lineOf(item));
      }
    },
  });
}

/** ERR_USAGE for what is no name with a version. */
function versionIn(what: string): { name: string; version: string } {
  const [name = '', version = '', ...more] = what.split('/');
  const isName = new RegExp(packageNamePattern).test(name);
  if (isName && new RegExp(packageVersionPattern).test(version) && more.length === 0) {
    return { name, version };
  }
  throw new CodedError('ERR_USAGE', `not NAME/VERSION: ${JSON.stringify(what)}`);
}

async function* listPackages(
  api: ApiClient,
  name: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Package, void, undefined> {
  if (name === undefined) {
    yield* api.pages('package.list', {}, { signal });
    return;
  }
  if (!new RegExp(packageNamePattern).test(name)) {
    throw new CodedError('ERR_USAGE', `not the name of a package: ${JSON.stringify(name)}`);
  }
  yield* api.pages('package.versions', { name }, { signal });
}

function lineOf({ name, version, digest, length, publishedBy, at }: Package): string {
  const time = new Date(at).toISOString();
  const words = [name, version, digest, formatSize(length), `by ${publishedBy}`, time];
  return `${words.map((word) => printable(word)).join('  ')}\n`;
}
