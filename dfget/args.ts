import { commonOptions, defineOptions } from '../core/base/options.ts';
import type { OptionSpec, OptionValues } from '../core/base/options.ts';

/** Timers count in 32 bits. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A flag of an older dfget that changes nothing here; `dfget/plan.ts` says which deserve a note. */
function ignored<const Spec extends Pick<OptionSpec, 'kind' | 'short'>>(
  spec: Spec,
): Spec & { readonly hidden: true; readonly help: string } {
  return { ...spec, hidden: true, help: 'Accepted for older scripts; has no effect' };
}

/** What dfget takes; both the spellings of Dragonfly 1 and those of Dragonfly 2. */
export const dfgetOptions = defineOptions({
  ...commonOptions,
  url: { kind: 'string', short: 'u', help: 'The URL to fetch; the same as the argument' },
  output: {
    kind: 'path',
    short: 'O',
    aliases: ['o'],
    valueName: 'FILE',
    defaultHelp: 'last element of the URL, in the current folder',
    help: 'Where the content goes; - is standard output',
  },
  overwrite: { kind: 'boolean', help: 'Replace the output if it exists' },
  digest: {
    kind: 'string',
    valueName: 'ALGO:HEX',
    help: 'Digest the output must have: md5, sha1, sha256, sha512 or crc32',
  },
  header: {
    kind: 'string',
    short: 'H',
    list: true,
    separator: '\n',
    secret: true,
    valueName: "'K: V'|@FILE",
    help: 'Header for the origin; @FILE, mode 0600, or @- for lines that no other user of the machine may read',
  },
  tag: { kind: 'string', help: 'Keeps equal URLs of different content apart' },
  application: { kind: 'string', help: 'Name of the caller; keeps tasks apart as --tag does' },
  'filtered-query-param': {
    kind: 'string',
    list: true,
    valueName: 'NAME',
    help: 'Query parameter that does not change the content, such as a signature',
  },
  range: { kind: 'string', valueName: 'A-B', help: 'Bytes A to B (both included) of the content' },
  'limit-rate': {
    kind: 'rate',
    short: 's',
    aliases: ['locallimit', 'ratelimit', 'limit'],
    help: 'Most bytes a second: k, m, g are powers of 1024 (20MB/s); kbit, mbit, gbit are decimal bits; 0 is no limit',
  },
  priority: {
    kind: 'string',
    short: 'P',
    valueName: 'CLASS',
    defaultHelp: 'normal',
    help: 'Who goes first where downloads compete: release, interactive, normal or warm-up',
  },
  timeout: {
    kind: 'duration',
    short: 'e',
    max: MAX_TIMER_MS,
    defaultHelp: 'none',
    help: 'Give up after this time (30s, 5m, 2h)',
  },
  'disable-back-to-source': {
    kind: 'boolean',
    aliases: ['disable-back-source', 'notbs'],
    help: 'Fail rather than fetch from the origin when the mesh cannot serve',
  },
  pattern: {
    kind: 'choice',
    short: 'p',
    choices: ['p2p', 'source'],
    default: 'p2p',
    help: 'source goes to the origin without the mesh',
  },
  socket: {
    kind: 'path',
    aliases: ['endpoint', 'daemon-sock'],
    defaultHelp: 'the user’s own dfdaemon, else /run/odonata/dfdaemon.sock',
    help: 'Unix socket of dfdaemon',
  },
  daemon: { kind: 'boolean', default: true, help: 'Download in this process, without dfdaemon' },
  supernode: {
    kind: 'hostPort',
    list: true,
    defaultPort: 8002,
    help: 'Supernode to ask where no dfdaemon runs',
  },
  'join-token': { kind: 'secret', help: 'Token to join the mesh with where no dfdaemon runs' },
  idc: { kind: 'string', help: 'Where this host stands, for a download without dfdaemon' },
  encryption: {
    kind: 'choice',
    choices: ['tls', 'none'],
    default: 'tls',
    help: 'Of piece links, for a download without dfdaemon',
  },
  'data-dir': {
    kind: 'path',
    defaultHelp: '~/.odonata/dfget',
    help: 'Where downloads without dfdaemon keep what they resume from',
  },
  recursive: {
    kind: 'boolean',
    short: 'r',
    help: 'Fetch all files below a folder into the folder -O',
  },
  'include-files': {
    kind: 'string',
    short: 'I',
    list: true,
    valueName: 'GLOB',
    help: 'With --recursive: only files whose path matches; a pattern without a slash is about the name',
  },
  'exclude-files': {
    kind: 'string',
    short: 'X',
    list: true,
    valueName: 'GLOB',
    help: 'With --recursive: not those that match',
  },
  'max-files': {
    kind: 'integer',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    help: 'With --recursive: nothing is fetched if more than so many match',
  },
  'max-depth': {
    kind: 'integer',
    min: 1,
    max: 32,
    defaultHelp: '32, and deeper folders are an error',
    help: 'With --recursive: leave out folders deeper than this; 1 is the folder alone',
  },
  concurrency: {
    kind: 'integer',
    default: 4,
    min: 1,
    max: 64,
    help: 'With --recursive: files at a time; --limit-rate is shared out among them',
  },
  's3-endpoint': {
    kind: 'url',
    defaultHelp: 'AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, ~/.aws/config, else Amazon',
    help: 'Server of s3:// URLs',
  },
  's3-region': {
    kind: 'string',
    defaultHelp: 'AWS_REGION, ~/.aws/config, else us-east-1',
    help: 'Region of s3:// URLs',
  },
  's3-profile': {
    kind: 'string',
    defaultHelp: 'AWS_PROFILE, else default',
    help: 'Section of ~/.aws/credentials and ~/.aws/config',
  },
  's3-credentials': {
    kind: 'secret',
    valueName: 'ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN]',
    defaultHelp: 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, else ~/.aws/credentials',
    help: 'Credentials for s3:// URLs',
  },
  's3-addressing': {
    kind: 'choice',
    choices: ['path', 'virtual'],
    defaultHelp: 'virtual at Amazon, path elsewhere',
    help: 'Whether the bucket stands in the path or in the host name',
  },
  's3-sign': {
    kind: 'boolean',
    default: true,
    help: 'Ask for s3:// URLs without a signature, as everybody may for public buckets',
  },
  'registry-logins': {
    kind: 'path',
    valueName: 'FILE',
    defaultHelp: '~/.docker/config.json',
    help: 'Logins for oci:// URLs, as docker and podman keep them',
  },
  'plain-http': { kind: 'boolean', help: 'Speak http to the registry of an oci:// URL' },
  progress: { kind: 'boolean', default: true, help: 'Draw no progress bar' },
  json: { kind: 'boolean', help: 'Print one JSON object per line instead of text' },
  explain: { kind: 'boolean', help: 'Tell who sent what, and what was waited for' },

  // Older spellings that say the same in another form.
  md5: { kind: 'string', short: 'm', hidden: true, help: 'Older spelling of --digest md5:HEX' },
  filter: {
    kind: 'string',
    short: 'f',
    hidden: true,
    valueName: 'a&b',
    help: 'Older spelling of --filtered-query-param, names parted by &',
  },
  node: {
    kind: 'string',
    short: 'n',
    list: true,
    hidden: true,
    valueName: 'HOST[:PORT][=WEIGHT]',
    help: 'Older spelling of --supernode; weights are not used',
  },
  totallimit: {
    kind: 'rate',
    hidden: true,
    help: 'Older flag: the lower of it and --limit-rate holds',
  },
  identifier: { kind: 'string', short: 'i', hidden: true, help: 'Older spelling of --tag' },

  // Older flags about things that do not exist here.
  showbar: { ...ignored({ kind: 'boolean', short: 'b' }), aliases: ['show-progress'] },
  console: ignored({ kind: 'boolean' }),
  verbose: ignored({ kind: 'boolean' }),
  dfdaemon: ignored({ kind: 'boolean' }),
  minrate: ignored({ kind: 'string' }),
  callsystem: ignored({ kind: 'string' }),
  clientqueue: ignored({ kind: 'string' }),
  ip: ignored({ kind: 'string' }),
  port: ignored({ kind: 'string' }),
  expiretime: ignored({ kind: 'string' }),
  alivetime: ignored({ kind: 'string' }),
  home: ignored({ kind: 'string' }),
  workhome: ignored({ kind: 'string' }),
  logdir: ignored({ kind: 'string' }),
  'log-dir': ignored({ kind: 'string' }),
  'log-level': ignored({ kind: 'string', short: 'l' }),
  'transfer-from-dfdaemon': ignored({ kind: 'boolean' }),
  cacerts: ignored({ kind: 'string' }),
  insecure: ignored({ kind: 'boolean' }),
});

/** The parsed options of dfget. */
export type DfgetOptions = OptionValues<typeof dfgetOptions>;
