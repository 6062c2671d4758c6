/** `dfops preheat …`: warm-ups, asked of a supernode over its HTTP API. */
import type { Command } from 'commander';
import type { Clock } from '../../core/base/clock.ts';
import { bindCommand } from '../../core/base/command-line.ts';
import type { Print } from '../../core/base/command-line.ts';
import { headerLines } from '../../core/base/header-lines.ts';
import type { HeaderPlaces } from '../../core/base/header-lines.ts';
import { isErrorCode, CodedError } from '../../core/base/error.ts';
import type { Environment } from '../../core/base/resolve-options.ts';
import { ApiClient } from './api-client.ts';
import { apiOptions, headersFrom, imageOptions, loginFor, urlOptions } from './preheat-options.ts';
import { beginWarmUp, cancelWarmUp, listWarmUps, lookAtWarmUp, showWarmUp } from './warm-up-api.ts';
import type { Job, JobDetail } from './warm-up-api.ts';
import { jobLine, jobText } from './warm-up-text.ts';

/** What the commands need of the process. */
export interface CommandTools {
  readonly env: Environment;
  readonly clock: Clock;
  /** Aborted when the user interrupts: what is begun goes on at the supernode. */
  readonly signal: AbortSignal;
  /** Standard output: the result and nothing else. */
  readonly print: Print;
  /** Standard error. */
  readonly complain: Print;
}

const POLL_MS = 500;

interface ApiChoice {
  readonly api: string;
  readonly apiKey: string | undefined;
  readonly json: boolean;
}

/** Adds `preheat image|url|list|show|cancel` to the program. */
export function addPreheatCommands(program: Command, tools: CommandTools & HeaderPlaces): void {
  const { env } = tools;
  const preheat = program.command('preheat').description('Bring content to hosts beforehand');
  preheat.action(() => {
    const names = preheat.commands.map((child) => child.name()).join(', ');
    throw new CodedError('ERR_USAGE', `dfops preheat what? One of: ${names}`);
  });
  const image = preheat.command('image').description('Bring an image: all its layers');
  bindCommand(image.argument('<REF>', '[http://][REGISTRY/]REPOSITORY[:TAG][@DIGEST]'), {
    table: imageOptions,
    env,
    action: async ({ options, args: [reference = ''] }) => {
      const { platform, to, timeout: timeoutMs, priority } = options;
      const login = await loginFor(reference, options);
      const platforms = platform.length === 0 ? {} : { platforms: platform };
      const body = { image: reference, to, timeoutMs, priority, ...platforms, ...login };
      await begin(body, options, tools);
    },
  });
  const url = preheat.command('url').description('Bring what is at URLs').argument('<URL...>');
  bindCommand(url, {
    table: urlOptions,
    env,
    action: async ({ options, args: urls }) => {
      const { digest, tag, application, filteredQueryParam, to } = options;
      const header = await headerLines(options.header, tools);
      const body = {
        urls,
        to,
        timeoutMs: options.timeout,
        priority: options.priority,
        ...(header.length === 0 ? {} : { headers: headersFrom(header) }),
        ...(digest === undefined ? {} : { digest }),
        ...(tag === undefined ? {} : { tag }),
        ...(application === undefined ? {} : { application }),
        ...(filteredQueryParam.length === 0 ? {} : { filteredQueryParams: filteredQueryParam }),
      };
      await begin(body, options, tools);
    },
  });
  addLooks(preheat, tools);
}

function addLooks(preheat: Command, tools: CommandTools): void {
  const { env, print, signal } = tools;
  const table = apiOptions;
  bindCommand(preheat.command('list').description('List warm-ups, oldest first'), {
    table,
    env,
    action: async ({ options }) => {
      for (const job of await listWarmUps(clientOf(options), { signal })) {
        print(options.json ? `${JSON.stringify(job)}\n` : jobLine(job));
      }
    },
  });
  bindCommand(preheat.command('show').description('Show one, host by host').argument('<ID>'), {
    table,
    env,
    action: async ({ options, args: [id = ''] }) => {
      show(await showWarmUp(clientOf(options), id, { signal }), options, tools);
    },
  });
  bindCommand(preheat.command('cancel').description('Stop one').argument('<ID>'), {
    table,
    env,
    action: async ({ options, args: [id = ''] }) => cancelWarmUp(clientOf(options), id, { signal }),
  });
}

function clientOf({ api, apiKey }: ApiChoice): ApiClient {
  return new ApiClient(api, apiKey);
}

async function begin(
  body: object,
  options: ApiChoice & { readonly wait: boolean },
  tools: CommandTools,
): Promise<void> {
  const { signal, print } = tools;
  const client = clientOf(options);
  const job = await beginWarmUp(client, body, { signal });
  if (!options.wait) {
    print(options.json ? `${JSON.stringify(job)}\n` : `${job.id}\n`);
    return;
  }
  await watch(client, job, { tools, json: options.json });
  const ended = await showWarmUp(client, job.id, { signal });
  show(ended, options, tools);
  if (ended.state !== 'done') throw failureOf(ended);
}

/** Shows how far it is, whenever that changes, until it is over. */
async function watch(
  client: ApiClient,
  job: Job,
  { tools, json }: { readonly tools: CommandTools; readonly json: boolean },
): Promise<void> {
  const { clock, signal, print, complain } = tools;
  let last = '';
  for (let now = job; ; now = await lookAtWarmUp(client, job.id, { signal })) {
    if (!['waiting', 'resolving', 'running'].includes(now.state)) return;
    const line = json ? `${JSON.stringify(progressOf(now))}\n` : jobLine(now);
    if (line !== last) (json ? print : complain)(line);
    last = line;
    await clock.sleep(POLL_MS, { signal });
  }
}

function progressOf({ id, state, tasks, hosts, bytes }: Job): object {
  return { type: 'progress', id, state, tasks, hosts, bytes };
}

function show(job: JobDetail, { json }: ApiChoice, { print }: CommandTools): void {
  print(json ? `${JSON.stringify(job)}\n` : jobText(job));
}

/** What the command ends with: the job's own error, or that of the first host that failed. */
function failureOf({ id, state, error, results, hosts }: JobDetail): CodedError {
  if (state === 'cancelled') return new CodedError('ERR_INTERRUPTED', `${id} was cancelled`);
  const first = error ?? results.flatMap(({ failures }) => failures)[0];
  const code = first !== undefined && isErrorCode(first.code) ? first.code : 'ERR_INTERNAL';
  const message = `${hosts.failed} of ${hosts.total} hosts failed: ${first?.message ?? ''}`;
  return new CodedError(code, error === undefined ? message : error.message);
}
