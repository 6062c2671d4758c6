import { parseOriginHostLimits } from '../core/origin/origin-host-limit.ts';
import { transferOptions } from '../core/swarm/transfer-options.ts';
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { formatHostPort } from '../core/base/addresses.ts';
import { defaultSocketPath } from '../core/base/default-paths.ts';
import type { UserPlaces } from '../core/base/default-paths.ts';
import { CodedError } from '../core/base/error.ts';
import { commonOptions, defineOptions, logLevelOption } from '../core/base/options.ts';
import type { OptionValues } from '../core/base/options.ts';
import { isIdc } from '../core/identity/membership.ts';
import type { EngineOptions } from '../core/swarm/engine.ts';
import { Upstreams } from './proxy/registry-upstreams.ts';

const MACHINE_DATA_DIR = '/var/lib/odonata/dfdaemon';
/** The kernel takes 107 bytes; the socket is made under a name of its own first, which may be a little longer. */
const MAX_SOCKET_PATH_BYTES = 96;
/** Revocations are dated every hour: a host that asks for less would refuse for want of one that came late. */
const MIN_REVOCATION_AGE_MS = 4 * 3_600_000;
const MAX_LOCATION_LENGTH = 255;

/** Everything dfdaemon can be told; flags, environment, configuration file and docs are made of this. */
export const dfdaemonOptions = defineOptions({
  ...commonOptions,
  'data-dir': {
    kind: 'path',
    defaultHelp: `${MACHINE_DATA_DIR} for root, else ~/.odonata/dfdaemon`,
    help: 'Where keys, membership and downloaded content are kept',
  },
  supernode: {
    kind: 'hostPort',
    list: true,
    defaultPort: 8002,
    help: 'Supernode to join; without one every download goes to its origin',
  },
  'join-token': { kind: 'secret', help: 'Token to join the cell with; needed once' },
  listen: {
    kind: 'ip',
    defaultHelp: 'all addresses for the piece link, 127.0.0.1 for the proxy port',
    help: 'Address to listen on',
  },
  advertise: {
    kind: 'ip',
    list: true,
    defaultHelp: 'the address the supernode sees',
    help: 'Address at which other hosts reach the piece link',
  },
  'link-port': {
    kind: 'integer',
    default: 65_002,
    max: 65_535,
    help: 'Port of the piece link; 0 takes any free one',
  },
  'proxy-port': {
    kind: 'integer',
    default: 65_001,
    max: 65_535,
    help: 'Port of the proxy, the registry mirror, /healthz and /metrics; 0 takes any free one',
  },
  'proxy-allow': {
    kind: 'cidr',
    list: true,
    help: 'Network whose hosts may use the proxy and the mirror besides this host; /healthz and /metrics answer anybody',
  },
  'proxy-rules': {
    kind: 'record',
    list: true,
    separator: '\n',
    // A rule may set headers, and those may be credentials.
    secret: true,
    defaultHelp:
      'package files with a version or digest in their name go to the mesh, the rest directly',
    help: 'What is done with requests to the proxy, first match first (docs/proxy.md)',
  },
  'proxy-connect-port': {
    kind: 'integer',
    list: true,
    min: 1,
    max: 65_535,
    default: ['443'],
    help: 'Port that CONNECT may open a tunnel to',
  },
  'proxy-intercept': {
    kind: 'string',
    list: true,
    valueName: 'HOST|*.DOMAIN',
    help: 'Host whose tunnels are opened, so that rules hold for what is in them; clients must trust the CA of "dfdaemon proxy ca"',
  },
  registry: {
    kind: 'url',
    help: 'Registry of requests to the mirror that name none',
  },
  'insecure-registry': {
    kind: 'string',
    list: true,
    valueName: 'HOST[:PORT]',
    help: 'Registry that the mirror reaches by http, as it does those on loopback; all others by https',
  },
  'registry-logins': {
    kind: 'path',
    defaultHelp: 'none: clients send their own',
    help: "File of logins for registries in the form of docker's config.json, mode 0600: what they may pull, every program on this host then may",
  },
  socket: {
    kind: 'path',
    defaultHelp: '/run/odonata/dfdaemon.sock for root, else in XDG_RUNTIME_DIR or ~/.odonata',
    help: 'Unix socket of the local API, where dfget looks for it',
  },
  'socket-mode': {
    kind: 'choice',
    choices: ['0600', '0660'],
    default: '0600',
    help: 'Who may use the local API: this user, or its group too',
  },
  calls: {
    kind: 'choice',
    choices: ['on', 'off'],
    default: 'on',
    help: 'Whether the cell may call commands on this host (docs/calls-on-hosts.md)',
  },
  'call-commands': {
    kind: 'path',
    defaultHelp: 'a few that only read: uptime, hostname and the like',
    help: 'File of the commands that the cell may call, and of what they may be given',
  },
  'max-revocation-age': {
    kind: 'duration',
    default: '24h',
    help: 'Calls that are not read-only are refused when the newest list of revocations is older; at least 4h',
  },
  idc: { kind: 'string', help: 'Where this host stands; the join token must allow it' },
  location: {
    kind: 'string',
    valueName: 'A|B|C',
    help: 'Place within the idc, outermost first; recorded and shown, not yet used to choose parents',
  },
  seed: {
    kind: 'boolean',
    help: 'Ask for the role of a seed, which the join token must grant; recorded and shown, not used yet',
  },
  storage: {
    kind: 'choice',
    choices: ['disk', 'memory'],
    default: 'disk',
    help: 'Keep content in the data folder, or in a folder in memory',
  },
  'memory-dir': {
    kind: 'path',
    defaultHelp: 'a folder in /dev/shm named after user and data folder',
    help: 'Folder on a tmpfs for --storage memory',
  },
  quota: {
    kind: 'size',
    defaultHelp: 'as the disk allows; with --storage memory a quarter of the memory',
    help: 'Most bytes of content kept, least recently used goes first; 0 is no limit',
  },
  reserve: {
    kind: 'size',
    defaultHelp: '256MiB, at most 5 % of the filesystem',
    help: 'Bytes left free on the filesystem',
  },
  ttl: {
    kind: 'duration',
    default: '7d',
    help: 'Content not used for this long is removed; 0 keeps it',
  },
  'download-limit': { kind: 'rate', default: 0, help: 'Most payload taken from other hosts' },
  adaptive: {
    kind: 'choice',
    choices: ['on', 'off'],
    default: 'off',
    help: 'Take less while other programs of this machine use its network or its disk (docs/adaptive.md)',
  },
  ...transferOptions,
  'log-level': logLevelOption,
});

/** The parsed options of dfdaemon. */
export type DfdaemonOptions = OptionValues<typeof dfdaemonOptions>;

/** What defaults depend on besides the options. */
export interface DaemonPlace {
  readonly user: UserPlaces;
  /** Bytes of memory of this machine, or of the container it runs in. */
  readonly memoryBytes: number;
  readonly hasIpv6: boolean;
}

/** Everything one run of dfdaemon does, decided before anything is touched. */
export interface DaemonPlan {
  readonly engine: Omit<EngineOptions, 'clock' | 'random' | 'log'> & { readonly storeDir: string };
  readonly isInMemory: boolean;
  /** Yields to other programs of this machine. */
  readonly isAdaptive: boolean;
  /** Undefined: this host takes no calls. */
  readonly calls:
    | { readonly commandsFile: string | undefined; readonly maxRevocationAgeMs: number }
    | undefined;
  readonly socket: { readonly path: string; readonly mode: number };
  readonly proxy: ProxyPlan;
  readonly logLevel: DfdaemonOptions['logLevel'];
  /** Things to tell the operator. */
  readonly notes: readonly string[];
}

/** The proxy port, and what it may be used for. */
export interface ProxyPlan {
  /** Where the CA of opened tunnels is kept. */
  readonly dataDir: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly allow: readonly string[];
  readonly originAllow: readonly string[];
  /** Not checked yet. */
  readonly rules: readonly unknown[];
  readonly connectPorts: readonly number[];
  readonly intercept: readonly string[];
  /** Of the registry mirror. */
  readonly upstreams: Upstreams;
  /** File of what this host is at registries. */
  readonly loginFile: string | undefined;
}

/** Turns options into a plan; throws ERR_USAGE naming the option that is wrong. */
export function planDaemon(options: DfdaemonOptions, place: DaemonPlace): DaemonPlan {
  refuseContradictions(options);
  const { user } = place;
  const dataDir = resolve(options.dataDir ?? defaultDataDir(user));
  const path = resolve(options.socket ?? defaultSocketPath(user));
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
    throw usage(`--socket: a path of at most ${MAX_SOCKET_PATH_BYTES} bytes, got ${path}`);
  }
  return {
    engine: engineOf(options, { place, dataDir }),
    isInMemory: options.storage === 'memory',
    isAdaptive: options.adaptive === 'on',
    socket: { path, mode: options.socketMode === '0660' ? 0o660 : 0o600 },
    proxy: {
      dataDir,
      listen: { host: options.listen ?? '127.0.0.1', port: options.proxyPort },
      allow: options.proxyAllow,
      originAllow: options.originAllow,
      rules: options.proxyRules,
      connectPorts: options.proxyConnectPort,
      intercept: options.proxyIntercept,
      upstreams: new Upstreams({
        registry: options.registry,
        insecureRegistries: options.insecureRegistry,
      }),
      loginFile: options.registryLogins,
    },
    calls: options.calls === 'off' ? undefined : callsPlanOf(options),
    logLevel: options.logLevel,
    notes: notesOf(options),
  };
}

/** Where keys, membership and content are unless told otherwise. */
export function defaultDataDir(user: Pick<UserPlaces, 'uid' | 'home'>): string {
  return user.uid === 0 ? MACHINE_DATA_DIR : join(user.home, '.odonata', 'dfdaemon');
}

function callsPlanOf({
  callCommands: commandsFile,
  maxRevocationAge: maxRevocationAgeMs,
}: DfdaemonOptions): NonNullable<DaemonPlan['calls']> {
  if (maxRevocationAgeMs < MIN_REVOCATION_AGE_MS) {
    throw usage('--max-revocation-age: revocations are dated every hour, give at least 4h');
  }
  return { commandsFile, maxRevocationAgeMs };
}

function engineOf(
  options: DfdaemonOptions,
  where: { readonly place: DaemonPlace; readonly dataDir: string },
): DaemonPlan['engine'] {
  const { place, dataDir } = where;
  const { joinToken, idc, location, reserve, linkWorkers, ttl } = options;
  const quota = quotaOf(options, place);
  return {
    dataDir,
    storeDir: storeDirOf(options, { dataDir, user: place.user }),
    supernodes: options.supernode.map(formatHostPort),
    wantsSeed: options.seed,
    encryption: options.encryption,
    compression: options.compression,
    listen: { host: options.listen ?? anyAddress(place), port: options.linkPort },
    advertise: advertisedOf(options),
    originAllow: options.originAllow,
    uploadRate: options.uploadLimit,
    downloadRate: options.downloadLimit,
    originRate: options.originLimit,
    originHosts: parseOriginHostLimits(options.originHostLimit, '--origin-host-limit'),
    ...(quota === undefined ? {} : { quota }),
    ...(joinToken === undefined ? {} : { joinToken }),
    ...(idc === undefined ? {} : { idc }),
    ...(location === undefined ? {} : { location }),
    ...(reserve === undefined ? {} : { reserve }),
    ...(ttl === 0 ? {} : { ttlMs: ttl }),
    ...(linkWorkers === undefined ? {} : { workers: linkWorkers }),
  };
}

/** One socket on `::` takes both families, where the machine has IPv6. */
function anyAddress(place: DaemonPlace): string {
  return place.hasIpv6 ? '::' : '0.0.0.0';
}

/** A host told to use one address is reachable there, whatever address its connections come from. */
function advertisedOf(options: DfdaemonOptions): readonly string[] {
  if (options.advertise.length > 0) return options.advertise;
  return options.listen === undefined || isAnyAddress(options.listen) ? [] : [options.listen];
}

function storeDirOf(
  options: DfdaemonOptions,
  where: { readonly dataDir: string; readonly user: UserPlaces },
): string {
  if (options.storage === 'disk') return join(where.dataDir, 'store');
  if (options.memoryDir !== undefined) return resolve(options.memoryDir);
  const name = createHash('sha256').update(where.dataDir).digest('hex').slice(0, 8);
  return `/dev/shm/odonata-${where.user.uid}-${name}`;
}

function quotaOf(options: DfdaemonOptions, place: DaemonPlace): number | undefined {
  if (options.quota !== undefined) return options.quota === 0 ? undefined : options.quota;
  return options.storage === 'memory' ? Math.floor(place.memoryBytes / 4) : undefined;
}

function refuseContradictions(options: DfdaemonOptions): void {
  const { idc, location, linkPort, proxyPort, advertise } = options;
  if (idc !== undefined && !isIdc(idc)) {
    throw usage('--idc: expected 1 to 64 characters without spaces and |');
  }
  const isLocation =
    location === undefined ||
    (location.length <= MAX_LOCATION_LENGTH && /^[^\p{Cc}]+$/u.test(location));
  if (!isLocation) throw usage(`--location: expected A|B|C of at most ${MAX_LOCATION_LENGTH}`);
  if (linkPort === proxyPort && linkPort !== 0) {
    throw usage(`--link-port and --proxy-port are both ${linkPort}`);
  }
  const nowhere = advertise.find(isAnyAddress);
  if (nowhere !== undefined) {
    throw usage(`--advertise: other hosts cannot reach ${nowhere}; name one address`);
  }
}

function notesOf(options: DfdaemonOptions): readonly string[] {
  const notes: string[] = [];
  if (options.supernode.length === 0) {
    const unused = [
      options.joinToken === undefined ? undefined : '--join-token',
      options.seed ? '--seed' : undefined,
      options.advertise.length === 0 ? undefined : '--advertise',
    ].filter((name) => name !== undefined);
    if (unused.length > 0) notes.push(`${unused.join(', ')} has no effect without --supernode`);
  }
  if (options.memoryDir !== undefined && options.storage === 'disk') {
    notes.push('--memory-dir has no effect without --storage memory');
  }
  return notes;
}

function isAnyAddress(ip: string): boolean {
  return isIP(ip) === 4 ? ip === '0.0.0.0' : /^[0:]+$/.test(ip);
}

function usage(message: string): CodedError {
  return new CodedError('ERR_USAGE', message);
}
