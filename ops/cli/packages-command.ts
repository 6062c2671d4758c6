/** `dfops packages …`: versions of packages, for releases. */
import type { Command } from 'commander';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { packageNamePattern } from '../../core/base/package-name.ts';
import { printable } from '../../core/base/printable.ts';
import { formatSize } from '../../core/base/units.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { ApiClient } from './api-client.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions, changeOptions } from './preheat-options.ts';
import { readPackageFile } from './package-file.ts';
import { uploadBlob } from './upload-blob.ts';

const Package = Type.Object({
  name: Type.String(),
  version: Type.String(),
  digest: Type.String(),
  length: Type.Number(),
  url: Type.String(),
  publishedBy: Type.String(),
  at: Type.Number(),
});
type Package = Static<typeof Package>;

const parsePackage = parser(Package);
const parsePage = parser(
  Type.Object({ items: Type.Array(Package), next: Type.Optional(Type.String()) }),
);

/** Adds `packages publish|list` to the program. */
export function addPackagesCommands(program: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const packages = program
    .command('packages')
    .description('Publish versions of packages, and list them');
  packages.action(() => {
    throw new CodedError('ERR_USAGE', 'dfops packages what? One of: publish, list');
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
      const body = { name, version, digest, length };
      const call = { method: 'POST', path: '/api/v1/packages', body, signal } as const;
      const published = parsePackage(await client.ask(call));
      print(options.json ? `${JSON.stringify(published)}\n` : lineOf(published));
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

async function* listPackages(
  api: ApiClient,
  name: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<Package, void, undefined> {
  if (name !== undefined && !new RegExp(packageNamePattern).test(name)) {
    throw new CodedError('ERR_USAGE', `not the name of a package: ${JSON.stringify(name)}`);
  }
  const base = name === undefined ? '/api/v1/packages' : `/api/v1/packages/${name}`;
  for (let after: string | undefined = ''; after !== undefined;) {
    const path: string = after === '' ? base : `${base}?after=${encodeURIComponent(after)}`;
    const page = parsePage(await api.ask({ method: 'GET', path, signal }));
    yield* page.items;
    after = page.next;
  }
}

function lineOf({ name, version, digest, length, publishedBy, at }: Package): string {
  const time = new Date(at).toISOString();
  const words = [name, version, digest, formatSize(length), `by ${publishedBy}`, time];
  return `${words.map((word) => printable(word)).join('  ')}\n`;
}
