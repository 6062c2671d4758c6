/** `dfops release …`: a version of an application to hosts, batch by batch, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import { bindCommand } from '../../core/base/command-line.ts';
import { CodedError } from '../../core/base/error.ts';
import { defineOptions } from '../../core/base/options.ts';
import { pausePolicies, releaseLimits, releaseWishes } from '../control/release-record.ts';
import type { Batching, ReleaseWish } from '../control/release-record.ts';
import type { VerbAsk } from '../control/verb-request.ts';
import { ApiClient } from './api-client.ts';
import { addRepair } from './release-repair-command.ts';
import { confirmed } from './release-tools.ts';
import type { ReleaseTools } from './release-tools.ts';
import type { CommandTools } from './preheat-command.ts';
import { apiOptions, changeOptions } from './preheat-options.ts';
import {
  controlRelease,
  followRelease,
  listReleases,
  previewRelease,
  showRelease,
  startRelease,
} from './release-api.ts';
import {
  previewText,
  releaseEventText,
  releaseLine,
  releaseText,
  standingOf,
} from './release-text.ts';

const planOptions = defineOptions({
  on: {
    kind: 'string',
    required: true,
    valueName: 'HOSTS',
    help: 'Hosts to release it to, named as for dfops call --on',
  },
  batches: {
    kind: 'integer',
    min: 1,
    max: releaseLimits.hosts,
    defaultHelp: 'as many as --batch-size makes',
    help: 'Into so many batches they are divided, each with its share of every idc',
  },
  'batch-size': {
    kind: 'string',
    valueName: 'N|P%',
    defaultHelp: 'as --batches makes them',
    help: 'So many hosts, or such a share of all, make a batch',
  },
  pause: {
    kind: 'choice',
    choices: pausePolicies,
    default: 'first',
    help: 'After which batches it waits for dfops release continue',
  },
  'max-failures': {
    kind: 'integer',
    default: 0,
    min: 0,
    max: releaseLimits.hosts,
    help: 'One more host that fails, and the release is rolled back',
  },
  'health-timeout': {
    kind: 'duration',
    default: '30s',
    min: 1,
    max: releaseLimits.healthTimeoutMs,
    help: 'A host on which it is not healthy by then goes back to what it ran',
  },
  'give-up': {
    kind: 'duration',
    default: '5m',
    min: 1,
    max: 86_400_000,
    help: 'A host that is busy or away for so long has failed',
  },
  'install-timeout': {
    kind: 'duration',
    default: '10m',
    min: 1,
    max: 86_400_000,
    help: 'A host that has not fetched and unpacked it by then has failed',
  },
});

/** The flags of `dfops release preview`. */
export const releasePreviewOptions = defineOptions({ ...apiOptions, ...planOptions });

const wait = {
  kind: 'boolean',
  help: 'Follow it until it has ended or is paused',
} as const;

/** The flags of `dfops release start`. */
export const releaseStartOptions = defineOptions({
  ...changeOptions,
  ...planOptions,
  yes: { kind: 'boolean', help: 'Start it without asking' },
  wait,
});

/** The flags of `dfops release continue|pause|rollback|close`. */
export const releaseControlOptions = defineOptions({ ...changeOptions, wait });

interface PlanChoice {
  readonly on: string;
  readonly batches: number | undefined;
  readonly batchSize: string | undefined;
  readonly pause: (typeof pausePolicies)[number];
  readonly maxFailures: number;
  readonly healthTimeout: number;
  readonly installTimeout: number;
  readonly giveUp: number;
}

const WHAT: Readonly<Record<ReleaseWish, string>> = {
  continue: 'Let a paused release go on',
  pause: 'Pause a release when the step under way has ended',
  rollback: 'Lead the hosts of a release back to what they ran',
  close: 'End a release where it is, and leave its hosts as they are',
};

/** Adds `release preview|start|list|show|follow|continue|pause|rollback|close|repair` to the program. */
export function addReleaseCommands(program: Command, tools: ReleaseTools): void {
  const release = program
    .command('release')
    .description('Bring a version of an application to hosts, batch by batch');
  release.action(() => {
    const names = release.commands.map((child) => child.name()).join(', ');
    throw new CodedError('ERR_USAGE', `dfops release what? One of: ${names}`);
  });
  addPlans(release, tools);
  addLooks(release, tools);
  for (const wish of releaseWishes) addControl(release, wish, tools);
  addRepair(release, tools);
}

function addPlans(release: Command, tools: ReleaseTools): void {
  const { env, print, signal } = tools;
  const preview = release.command('preview').description('Show what a release would do');
  bindCommand(named(preview), {
    table: releasePreviewOptions,
    env,
    action: async ({ options, args }) => {
      const api = new ApiClient(options.api, options.apiKey);
      const shown = await previewRelease(api, requestFrom(options, args), signal);
      print(options.json ? `${JSON.stringify(shown)}\n` : previewText(shown));
    },
  });
  const start = release.command('start').description('Show what a release would do, and start it');
  bindCommand(named(start), {
    table: releaseStartOptions,
    env,
    action: async ({ options, args }) => {
      const { json } = options;
      const api = new ApiClient(options.api, options.apiKey, options);
      const request = requestFrom(options, args);
      const shown = await previewRelease(api, request, signal);
      if (!json || !options.yes) tools.complain(previewText(shown));
      if (!options.yes) await confirmed(tools);
      const started = await startRelease(api, { ...request, plan: shown.digest }, signal);
      print(json ? `${JSON.stringify(started)}\n` : `${started.id}\n`);
      if (options.wait) await follow(api, { id: started.id, json }, tools);
    },
  });
}

function addLooks(release: Command, tools: ReleaseTools): void {
  const { env, print, signal } = tools;
  bindCommand(release.command('list').description('List releases, the newest first'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json } }) => {
      const items = await listReleases(new ApiClient(api, apiKey), signal);
      for (const item of items) print(json ? `${JSON.stringify(item)}\n` : releaseLine(item));
    },
  });
  const show = release.command('show').description('Show a release and what its hosts say');
  bindCommand(show.argument('<ID>'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json }, args: [id = ''] }) => {
      const shown = await showRelease(new ApiClient(api, apiKey), id, signal);
      print(json ? `${JSON.stringify(shown)}\n` : releaseText(shown));
    },
  });
  const following = release.command('follow').description('Follow a release to its end or a pause');
  bindCommand(following.argument('<ID>'), {
    table: apiOptions,
    env,
    action: async ({ options: { api, apiKey, json }, args: [id = ''] }) =>
      follow(new ApiClient(api, apiKey), { id, json }, tools),
  });
}

function addControl(release: Command, wish: ReleaseWish, tools: ReleaseTools): void {
  const { env, print, signal } = tools;
  bindCommand(release.command(wish).description(WHAT[wish]).argument('<ID>'), {
    table: releaseControlOptions,
    env,
    action: async ({ options, args: [id = ''] }) => {
      const { json } = options;
      const api = new ApiClient(options.api, options.apiKey, options);
      const wished = await controlRelease(api, { id, wish }, signal);
      print(json ? `${JSON.stringify(wished)}\n` : releaseLine(wished));
      if (options.wait) await follow(api, { id, json }, tools);
    },
  });
}

function named(command: Command): Command {
  return command.argument('<APPLICATION>').argument('<VERSION>', 'of the package of that name');
}

/** What the API is asked; ERR_USAGE when it is not said how hosts are divided, or in two ways. */
function requestFrom(
  options: PlanChoice,
  [application = '', version = '']: readonly string[],
): VerbAsk<'release.preview'> {
  const { on, pause, maxFailures, healthTimeout, installTimeout, giveUp: giveUpMs } = options;
  const times = { healthTimeoutMs: healthTimeout, installTimeoutMs: installTimeout, giveUpMs };
  const batches = batchesFrom(options);
  return { application, version, on, batches, pause, maxFailures, ...times };
}

function batchesFrom({ batches, batchSize }: PlanChoice): Batching {
  if ((batches === undefined) === (batchSize === undefined)) {
    throw new CodedError('ERR_USAGE', 'give --batches or --batch-size, and not both');
  }
  if (batches !== undefined) return { count: batches };
  const [, number, sign] = /^([1-9]\d{0,3})(%?)$/.exec(batchSize ?? '') ?? [];
  if (number !== undefined)
    return sign === '%' ? { percent: Number(number) } : { size: Number(number) };
  const message = `--batch-size: expected N or P%, got ${JSON.stringify(batchSize)}`;
  throw new CodedError('ERR_USAGE', message);
}

/** Prints what happens until it has ended, or waits for somebody; throws when it is not done. */
async function follow(
  api: ApiClient,
  { id, json }: { readonly id: string; readonly json: boolean },
  { print, signal }: CommandTools,
): Promise<void> {
  for await (const event of followRelease(api, id, signal)) {
    print(json ? `${JSON.stringify(event)}\n` : releaseEventText(event));
    if (event.type !== 'state') continue;
    const { phase, wish } = event;
    if (phase === 'done') return;
    const isResting = phase === 'paused' && wish === undefined;
    if (['planned', 'running', 'paused'].includes(phase) && !isResting) continue;
    throw new CodedError('ERR_RELEASE_NOT_DONE', `release ${id}: ${standingOf(event)}`, {
      detail: { release: id, phase },
    });
  }
  const message = `the supernode told no end of release ${id}: dfops release follow ${id} goes on`;
  throw new CodedError('ERR_MESH_UNAVAILABLE', message);
}
