/** `dfdaemon setup CLIENT`: what a client is told of this host's dfdaemon, and taking it back. */
import type { Command } from 'commander';
import { formatHostPort, parseHostPort } from '../../core/base/addresses.ts';
import { bindCommand } from '../../core/base/command-line.ts';
import type { Print } from '../../core/base/command-line.ts';
import { nearest } from '../../core/base/did-you-mean.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import type { OptionValues } from '../../core/base/options.ts';
import type { Environment } from '../../core/base/resolve-options.ts';
import { clientNames } from './client-setup.ts';
import type { ClientName, Registry, SetupWishes } from './client-setup.ts';
import type { SetupPlace } from './set-up.ts';

/** What the command needs of the process. */
export interface SetupTools {
  readonly env: Environment;
  readonly uid: number;
  readonly home: string;
  readonly print: Print;
}

/** The flags of `dfdaemon setup`. */
export const setupFlags = defineOptions({
  registry: {
    kind: 'string',
    list: true,
    valueName: 'HOST[:PORT]',
    defaultHelp: 'every registry; docker.io for podman',
    help: 'Registry to ask dfdaemon for, http://HOST[:PORT] for one without TLS; containerd and podman',
  },
  'proxy-port': {
    kind: 'integer',
    aliases: ['port'],
    default: 65_001,
    min: 1,
    max: 65_535,
    help: 'Port of dfdaemon on 127.0.0.1',
  },
  user: {
    kind: 'boolean',
    help: 'Set up this user alone, not the machine: docker and podman without root, npm, pip',
  },
  undo: { kind: 'boolean', help: 'Give back what was there before' },
  force: {
    kind: 'boolean',
    help: 'With --undo: give back the former file also where our part was changed since',
  },
  list: { kind: 'boolean', help: 'Say what is set up' },
  root: { kind: 'path', default: '/', help: 'Root of the files: of an image that is being made' },
  'dry-run': { kind: 'boolean', help: 'Print what would change and write nothing' },
  json: { kind: 'boolean', help: 'Print JSON instead of text' },
});

type SetupOptions = OptionValues<typeof setupFlags>;

/** Adds `setup` to the program. */
export function addSetupCommand(program: Command, tools: SetupTools): void {
  const command = program
    .command('setup')
    .description('Make a client of this machine use dfdaemon, or take that back')
    .argument('[CLIENT]', clientNames.join(', '));
  // The other flags mean something else to dfdaemon itself, whose environment this is.
  const env = { ODONATA_PROXY_PORT: tools.env['ODONATA_PROXY_PORT'] };
  bindCommand(command, {
    table: setupFlags,
    env,
    action: async ({ options, args: [name] }) => run(name, options, tools),
  });
}

async function run(
  name: string | undefined,
  options: SetupOptions,
  tools: SetupTools,
): Promise<void> {
  refuseContradictions(options);
  const place = await placeOf(options, tools);
  const { renderReport, renderStates } = await import('./setup-report.ts');
  const { listSetups, setUp, undoSetup } = await import('./set-up.ts');
  if (options.list) {
    if (name !== undefined) throw usage('setup --list takes no client');
    tools.print(renderStates(await listSetups(place), options));
    return;
  }
  const client = clientOf(name);
  await refuseUnfit(client, options);
  if (options.user) await refuseOthersHome(tools);
  else if (!place.isDryRun) await refuseUnprivileged(client, options, tools);
  const report = options.undo
    ? await undoSetup(client, place, { isForced: options.force })
    : await setUp(client, place, wishesOf(options, tools));
  tools.print(renderReport(report, options));
}

/** Where files and records are; nothing is touched. */
async function placeOf(options: SetupOptions, tools: SetupTools): Promise<SetupPlace> {
  const { MachineFiles } = await import('./machine-files.ts');
  const { SetupRecords } = await import('./setup-records.ts');
  const files = new MachineFiles(options.root);
  const folder = options.user ? `${tools.home}/.odonata/setup` : '/var/lib/odonata/setup';
  const records = new SetupRecords(files, folder, tools.uid);
  return { files, records, isDryRun: options.dryRun };
}

function wishesOf(options: SetupOptions, { env, home }: SetupTools): SetupWishes {
  const configHome = env['XDG_CONFIG_HOME'] ?? '';
  return {
    address: `127.0.0.1:${options.proxyPort}`,
    registries: options.registry.map(registryOf),
    user: options.user
      ? { home, configHome: configHome.startsWith('/') ? configHome : `${home}/.config` }
      : undefined,
  };
}

function registryOf(text: string): Registry {
  const name = text.replace(/^https?:\/\//, '').replace(/\/$/, '');
  const place = parseHostPort(name, 443);
  if (place === undefined || name.includes('@')) {
    throw usage(`--registry: expected HOST or HOST:PORT, got ${JSON.stringify(text.slice(0, 60))}`);
  }
  const hasPort = /[^:]:\d+$|\]:\d+$/.test(name);
  const plainName = hasPort ? formatHostPort(place) : name;
  return { name: plainName.toLowerCase(), isPlain: text.startsWith('http://') };
}

function clientOf(name: string | undefined): ClientName {
  const client = clientNames.find((known) => known === name);
  if (client !== undefined) return client;
  const list = clientNames.join(', ');
  if (name === undefined) throw usage(`setup: which client? One of: ${list}`);
  const meant = nearest(name, clientNames);
  throw usage(
    `setup: no client is named ${JSON.stringify(name.slice(0, 60))}; ${meant === undefined ? `one of: ${list}` : `did you mean ${meant}?`}`,
  );
}

function refuseContradictions({ undo, force, list, user, root, dryRun }: SetupOptions): void {
  if (force && !undo) throw usage('--force goes with --undo');
  if (list && (undo || dryRun)) throw usage('--list goes with --root, --user and --json alone');
  if (user && root !== '/') throw usage('--user and --root do not go together');
}

async function refuseUnfit(client: ClientName, options: SetupOptions): Promise<void> {
  const { clients } = await import('./clients.ts');
  const { noRegistries, hasUserFiles } = clients[client];
  if (options.registry.length > 0 && noRegistries !== undefined) {
    throw usage(`--registry: ${noRegistries}`);
  }
  if (options.user && !hasUserFiles) {
    throw usage(`--user: ${client} is set up for the whole machine`);
  }
}

/** Said before anything is looked at: what fails later names a file and not the cause. */
async function refuseUnprivileged(
  client: ClientName,
  options: SetupOptions,
  tools: SetupTools,
): Promise<void> {
  if (tools.uid === 0 || options.root !== '/') return;
  const { clients } = await import('./clients.ts');
  const orUser = clients[client].hasUserFiles ? ', or with --user' : '';
  throw new CodedError(
    'ERR_OUTPUT_UNWRITABLE',
    `setup ${client} changes files of the whole machine: run it as root${orUser}, or look with --dry-run`,
  );
}

/** sudo may leave HOME as it was: files of root there would lock the user out of them. */
async function refuseOthersHome({ home, uid }: SetupTools): Promise<void> {
  const { stat } = await import('node:fs/promises');
  const owner = await stat(home).then(
    (facts) => facts.uid,
    () => undefined,
  );
  if (owner === uid) return;
  const message = `--user: ${home} is not the home folder of the user who runs this`;
  throw new CodedError('ERR_OUTPUT_UNWRITABLE', message);
}

function usage(message: string): CodedError {
  return new CodedError('ERR_USAGE', message);
}
