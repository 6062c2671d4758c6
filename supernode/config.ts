import { transferOptions } from '../core/swarm/transfer-options.ts';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { CodedError } from '../core/base/error.ts';
import { commonOptions, defineOptions, logLevelOption } from '../core/base/options.ts';
import type { OptionValues } from '../core/base/options.ts';
import { isIdc } from '../core/identity/membership.ts';
import { parseOriginHostLimits } from '../core/origin/origin-host-limit.ts';
import type { SupernodeOptions } from './index.ts';
import type { PushOptions } from './warm-up/push-options.ts';
import { parseTarget } from './warm-up/target.ts';

/** Everything the supernode can be told; flags, environment, configuration file and docs are made of this. */
export const supernodeFlags = defineOptions({
  ...commonOptions,
  'data-dir': {
    kind: 'path',
    required: true,
    help: 'Where keys, tokens and the content of the seed are kept',
  },
  listen: { kind: 'ip', default: '0.0.0.0', help: 'Address to listen on, for all three ports' },
  advertise: {
    kind: 'ip',
    list: true,
    defaultHelp: 'the address of --listen',
    help: 'Address at which hosts reach this supernode; needed when it listens on all addresses',
  },
  'advertise-allow': {
    kind: 'cidr',
    list: true,
    help: 'Network in which hosts may name addresses of theirs that they do not connect from',
  },
  idc: {
    kind: 'string',
    defaultHelp: 'as near to one idc of hosts as to another',
    help: 'Where this supernode stands: its hosts take new content first, those of others from them',
  },
  'mesh-port': { kind: 'integer', default: 8002, max: 65_535, help: 'Port of the mesh: control' },
  'link-port': {
    kind: 'integer',
    default: 8003,
    max: 65_535,
    help: 'Port of the piece link: bulk bytes of the seed',
  },
  'http-port': {
    kind: 'integer',
    default: 8001,
    max: 65_535,
    help: 'Port of the HTTP API, /healthz and /metrics; 0 takes any free one',
  },
  'api-key-file': {
    kind: 'path',
    defaultHelp: 'the API answers on this machine only',
    help: 'File with one API key a line, KEY or KEY priority=CLASS (the most important class it may order), not readable by every user',
  },
  'metrics-public': {
    kind: 'boolean',
    default: true,
    help: 'Give /metrics to holders of an API key only',
  },
  'push-to': {
    kind: 'string',
    valueName: 'WHERE',
    defaultHelp: 'nowhere, and notifications are refused',
    help: 'Bring what is pushed to a registry to these hosts: seeds, idc=NAME, count=N, percent=P or all',
  },
  'push-registry': {
    kind: 'url',
    defaultHelp: 'where the notification says',
    help: 'The registry that pushed images are pulled from',
  },
  'push-key-file': {
    kind: 'path',
    defaultHelp: 'a key of the API is asked for',
    help: 'File with one key a line for registries to tell of pushes with, and nothing else',
  },
  'push-credentials': {
    kind: 'secret',
    defaultHelp: 'none',
    help: 'USER:PASSWORD to pull pushed images with',
  },
  quota: {
    kind: 'size',
    defaultHelp: 'as the disk allows',
    help: 'Most bytes of content kept, least recently used goes first; 0 is no limit',
  },
  reserve: {
    kind: 'size',
    defaultHelp: '256MiB, at most 5 % of the filesystem',
    help: 'Bytes left free on the filesystem',
  },
  'blob-quota': {
    kind: 'size',
    default: '10GiB',
    help: 'Most bytes of what is uploaded for hosts; what no package refers to goes first, the oldest of it',
  },
  ...transferOptions,
  'log-level': logLevelOption,
});

/** The parsed options of the supernode. */
export type SupernodeFlags = OptionValues<typeof supernodeFlags>;

/** What one run of the supernode does, decided before anything is touched. */
export interface SupernodePlan {
  readonly supernode: Omit<SupernodeOptions, 'clock' | 'random' | 'log'>;
  readonly http: {
    readonly host: string;
    readonly port: number;
    readonly keyFile: string | undefined;
    readonly isMetricsPublic: boolean;
    readonly pushKeyFile: string | undefined;
    readonly push: PushOptions;
  };
  readonly logLevel: SupernodeFlags['logLevel'];
}

/** Turns flags into a plan; throws ERR_USAGE naming the flag that is wrong. */
export function planSupernode(flags: SupernodeFlags): SupernodePlan {
  refuseContradictions(flags);
  const push = pushOptions(flags);
  const {
    listen,
    advertise,
    meshPort,
    linkPort,
    httpPort,
    quota,
    reserve,
    linkWorkers,
    blobQuota,
  } = flags;
  const { idc } = flags;
  return {
    supernode: {
      dataDir: resolve(flags.dataDir),
      listen,
      advertise,
      advertiseAllow: flags.advertiseAllow,
      meshPort,
      linkPort,
      httpPort,
      originAllow: flags.originAllow,
      originRate: flags.originLimit,
      originHosts: parseOriginHostLimits(flags.originHostLimit, '--origin-host-limit'),
      uploadRate: flags.uploadLimit,
      encryption: flags.encryption,
      compression: flags.compression,
      push,
      blobQuota,
      ...(idc === undefined ? {} : { idc }),
      ...(quota === undefined ? {} : { quota }),
      ...(reserve === undefined ? {} : { reserve }),
      ...(linkWorkers === undefined ? {} : { workers: linkWorkers }),
    },
    http: {
      host: listen,
      port: httpPort,
      keyFile: flags.apiKeyFile === undefined ? undefined : resolve(flags.apiKeyFile),
      isMetricsPublic: flags.metricsPublic,
      pushKeyFile: flags.pushKeyFile === undefined ? undefined : resolve(flags.pushKeyFile),
      push,
    },
    logLevel: flags.logLevel,
  };
}

function pushOptions({ pushTo, pushRegistry, pushCredentials }: SupernodeFlags): PushOptions {
  if (pushTo !== undefined) checkTarget(pushTo);
  const colon = pushCredentials?.indexOf(':') ?? 1;
  if (colon <= 0) throw usage('--push-credentials: expected USER:PASSWORD');
  const username = pushCredentials?.slice(0, colon) ?? '';
  const credentials = { username, password: pushCredentials?.slice(colon + 1) ?? '' };
  return {
    ...(pushTo === undefined ? {} : { to: pushTo }),
    ...(pushRegistry === undefined ? {} : { registry: pushRegistry }),
    ...(pushCredentials === undefined ? {} : { credentials }),
  };
}

function checkTarget(text: string): void {
  try {
    parseTarget(text, '--push-to');
  } catch (error) {
    throw usage(CodedError.from(error).message);
  }
}

function refuseContradictions(flags: SupernodeFlags): void {
  if (flags.idc !== undefined && !isIdc(flags.idc)) {
    throw usage('--idc: expected 1 to 64 characters without spaces and |');
  }
  const { listen, advertise, meshPort, linkPort, httpPort } = flags;
  if (isAnyAddress(listen) && advertise.length === 0) {
    throw usage(`--listen ${listen} is every address: name one that hosts reach with --advertise`);
  }
  const nowhere = advertise.find(isAnyAddress);
  if (nowhere !== undefined) throw usage(`--advertise: hosts cannot reach ${nowhere}`);
  const byPort = Map.groupBy(
    [
      { name: '--mesh-port', port: meshPort },
      { name: '--link-port', port: linkPort },
      { name: '--http-port', port: httpPort },
    ].filter(({ port }) => port !== 0),
    ({ port }) => port,
  );
  for (const [port, names] of byPort) {
    if (names.length < 2) continue;
    throw usage(`${names.map(({ name }) => name).join(' and ')} are both ${port}`);
  }
}

function isAnyAddress(ip: string): boolean {
  return isIP(ip) === 4 ? ip === '0.0.0.0' : /^[0:]+$/.test(ip);
}

function usage(message: string): CodedError {
  return new CodedError('ERR_USAGE', message);
}
