import { join } from 'node:path';
import { formatHostPort, parseHostPort } from '../core/base/addresses.ts';
import { socketCandidates } from '../core/base/default-paths.ts';
import type { UserPlaces } from '../core/base/default-paths.ts';
import { CodedError } from '../core/base/error.ts';
import type { DownloadRequest } from '../core/swarm/download-events.ts';
import type { DfgetOptions } from './args.ts';
import { planFolder } from './folder/plan-folder.ts';
import type { FolderPlan } from './folder/plan-folder.ts';
import type { EngineOptions } from './in-process.ts';
import {
  fileNameOf,
  parseDigest,
  parseHeaders,
  parsePriority,
  parseRange,
  parseUrl,
} from './request-parts.ts';

const SUPERNODE_PORT = 8002;

/** Where the content goes. */
export type OutputChoice =
  | { readonly kind: 'stdout' }
  | { readonly kind: 'file'; readonly path: string; readonly overwrite: boolean };

/** Everything one run does, decided before anything is touched. */
export interface DownloadPlan {
  readonly request: DownloadRequest;
  readonly output: OutputChoice;
  /** Set for all files below the URL, which go into the folder `output`. */
  readonly folder?: FolderPlan;
  /** Where to look for a dfdaemon, in order; empty: do not. */
  readonly sockets: readonly string[];
  /** For a download in this process. */
  readonly engine: EngineOptions;
  /** Things to tell the user before the start. */
  readonly notes: readonly string[];
}

/** What a plan depends on besides the options. */
export interface PlanPlace {
  readonly args: readonly string[];
  readonly user: UserPlaces;
}

/** Turns options into a plan; throws ERR_USAGE or ERR_URL naming what is wrong. */
export function planDownload(options: DfgetOptions, place: PlanPlace): DownloadPlan {
  const folder = planFolder(options);
  const request = requestOf(options, place.args);
  const output = outputOf(options, request.url);
  if (options.json && output.kind === 'stdout') {
    throw new CodedError('ERR_USAGE', '--json and -O - both want standard output; use one of them');
  }
  return {
    request,
    output,
    ...(folder === undefined ? {} : { folder }),
    sockets: socketsOf(options, place.user),
    engine: engineOf(options, place.user),
    notes: notesOf(options),
  };
}

function requestOf(options: DfgetOptions, args: readonly string[]): DownloadRequest {
  const { url, authorization } = parseUrl(urlOf(options, args));
  const headers = new Map(parseHeaders(options.header));
  const hasOwn = [...headers.keys()].some((name) => name.toLowerCase() === 'authorization');
  if (authorization !== undefined && !hasOwn) headers.set('Authorization', authorization);
  const tag = options.tag ?? options.identifier;
  const filtered = [...options.filteredQueryParam, ...(options.filter ?? '').split('&')];
  const filteredQueryParams = filtered.filter((name) => name !== '');
  const digest = digestOf(options);
  const limitRate = lowestLimit(options.limitRate ?? 0, options.totallimit ?? 0);
  const { application, range, timeout } = options;
  const priority = options.priority === undefined ? undefined : parsePriority(options.priority);
  return {
    url,
    ...(headers.size === 0 ? {} : { headers: Object.fromEntries(headers) }),
    ...(tag === undefined ? {} : { tag }),
    ...(application === undefined ? {} : { application }),
    ...(filteredQueryParams.length === 0 ? {} : { filteredQueryParams }),
    ...(digest === undefined ? {} : { digest }),
    ...(range === undefined ? {} : { range: parseRange(range) }),
    ...(options.disableBackToSource ? { backToSource: false } : {}),
    ...(options.pattern === 'p2p' ? {} : { pattern: options.pattern }),
    ...(limitRate === 0 ? {} : { limitRate }),
    ...(priority === undefined ? {} : { priority }),
    ...(timeout === undefined || timeout === 0 ? {} : { timeoutMs: timeout }),
    ...(options.explain ? { explain: true } : {}),
  };
}

function urlOf(options: DfgetOptions, args: readonly string[]): string | undefined {
  const [argument] = args;
  if (argument === undefined || options.url === undefined) return argument ?? options.url;
  if (argument === options.url) return argument;
  throw new CodedError('ERR_USAGE', '--url and the argument name different URLs');
}

function digestOf(options: DfgetOptions): string | undefined {
  const digest = options.digest === undefined ? undefined : parseDigest(options.digest, '--digest');
  if (options.md5 === undefined) return digest;
  const md5 = parseDigest(`md5:${options.md5.replace(/^md5:/i, '')}`, '--md5');
  if (digest === undefined || digest === md5) return md5;
  throw new CodedError('ERR_USAGE', '--md5 and --digest differ; use --digest alone');
}

/** The lower of two rates, where 0 is no limit. */
function lowestLimit(left: number, right: number): number {
  return left === 0 || right === 0 ? Math.max(left, right) : Math.min(left, right);
}

function outputOf(options: DfgetOptions, url: string): OutputChoice {
  if (options.output === '-') return { kind: 'stdout' };
  const path = options.output ?? fileNameOf(url);
  return { kind: 'file', path, overwrite: options.overwrite };
}

function socketsOf(options: DfgetOptions, user: UserPlaces): readonly string[] {
  if (!options.daemon) return [];
  return options.socket === undefined ? socketCandidates(user) : [options.socket];
}

function engineOf(options: DfgetOptions, user: UserPlaces): EngineOptions {
  const supernodes = [...options.supernode, ...options.node.flatMap(supernodesOf)];
  return {
    dataDir: options.dataDir ?? join(user.home, '.odonata', 'dfget'),
    supernodes: supernodes.map(formatHostPort),
    encryption: options.encryption,
    ...(options.joinToken === undefined ? {} : { joinToken: options.joinToken }),
    ...(options.idc === undefined ? {} : { idc: options.idc }),
  };
}

// Dragonfly 1 wrote several supernodes with weights: -n a:8002=1,b=2.
function supernodesOf(text: string): { host: string; port: number }[] {
  return text.split(',').map((item) => {
    const address = parseHostPort(item.trim().replace(/=\d+$/, ''), SUPERNODE_PORT);
    if (address !== undefined) return address;
    throw new CodedError('ERR_USAGE', '--node: expected HOST[:PORT][=WEIGHT], parted by commas');
  });
}

// Most older flags tune what no longer exists and can be passed over; these two would have changed trust.
function notesOf(options: DfgetOptions): readonly string[] {
  const notes: string[] = [];
  if (options.insecure) notes.push('--insecure has no effect: certificates of origins are checked');
  if (options.cacerts !== undefined) {
    notes.push('--cacerts has no effect: set NODE_EXTRA_CA_CERTS for whoever fetches');
  }
  return notes;
}
