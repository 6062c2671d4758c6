import { posix } from 'node:path';
import { blobDigestPattern } from '../../../core/base/blob-url.ts';
import { CodedError } from '../../../core/base/error.ts';
import { packageNamePattern, packageVersionPattern } from '../../../core/base/package-name.ts';
import { scriptLimits } from '../../../core/base/script-limits.ts';

/** Content, and the only digest that it may have. */
export interface WantedContent {
  readonly url: string;
  /** `sha256:HEX`. */
  readonly digest: string;
}

/** Arguments of `file.put`. */
export interface PutRequest extends WantedContent {
  /** Absolute, without `.`, `..` and empty parts. */
  readonly path: string;
  /** Permission bits, nothing above 0o777. */
  readonly mode: number;
  /** Undefined: the user as whom it is put. */
  readonly owner: { readonly user: string; readonly group: string | undefined } | undefined;
}

/** Arguments of `script.run`. */
export interface ScriptRequest extends WantedContent {
  /** For the script. */
  readonly args: readonly string[];
}

/** Arguments of `package.install`. */
export interface InstallRequest extends WantedContent {
  readonly name: string;
  readonly version: string;
}

/** Arguments of `package.switch`. */
export interface SwitchRequest {
  readonly name: string;
  /** Undefined: none is to run. */
  readonly version: string | undefined;
  /** How long it may take until a version is found healthy. */
  readonly healthTimeoutMs: number;
}

/** The version that stands for none. */
const NONE = 'none';
const MAX_URL_LENGTH = 8_192;
const MAX_PATH_BYTES = 4_095;
const MAX_HEALTH_TIMEOUT_MS = 3_600_000;
const NAME = new RegExp(packageNamePattern);
const VERSION = new RegExp(packageVersionPattern);
const DIGEST = new RegExp(blobDigestPattern);
/** No set-uid, set-gid and sticky bits: what is put gives nobody the rights of its owner. */
const MODE = /^0?[0-7]{3}$/;
const USER = '[a-z_][a-z0-9_-]{0,31}';
const OWNER = new RegExp(`^(${USER})(?::(${USER}))?$`);
const MILLISECONDS = /^[1-9][0-9]{0,9}$/;

/** URL DIGEST PATH MODE OWNER; ERR_REQUEST naming the argument that is wrong. */
export function parsePut(args: readonly string[]): PutRequest {
  const [url = '', digest = '', path = '', mode = '', owner = ''] = named(args, [
    'url',
    'digest',
    'path',
    'mode',
    'owner',
  ]);
  if (!MODE.test(mode)) throw wrong('mode', 'is no octal mode such as 0644');
  return {
    ...parseContent(url, digest),
    path: parsePath(path),
    mode: Number.parseInt(mode, 8),
    owner: parseOwner(owner),
  };
}

/** URL DIGEST [ARGUMENT…]; ERR_REQUEST naming the argument that is wrong. */
export function parseScript(args: readonly string[]): ScriptRequest {
  const [url = '', digest = ''] = named(args.slice(0, 2), ['url', 'digest']);
  const rest = args.slice(2);
  if (rest.length > scriptLimits.args) {
    throw wrong('args', `has more than ${scriptLimits.args} arguments for the script`);
  }
  const at = rest.findIndex((argument) => argument.includes('\0') || !argument.isWellFormed());
  if (at >= 0) throw wrong(`args[${at + 2}]`, 'holds a NUL or half a character');
  return { ...parseContent(url, digest), args: rest };
}

/** NAME VERSION URL DIGEST; ERR_REQUEST naming the argument that is wrong. */
export function parseInstall(args: readonly string[]): InstallRequest {
  const [name = '', version = '', url = '', digest = ''] = named(args, [
    'name',
    'version',
    'url',
    'digest',
  ]);
  if (version === NONE) throw wrong('version', 'is no version');
  return { name: parseName(name), version: parseVersion(version), ...parseContent(url, digest) };
}

/** NAME VERSION HEALTH-TIMEOUT-MS; ERR_REQUEST naming the argument that is wrong. */
export function parseSwitch(args: readonly string[]): SwitchRequest {
  const [name = '', version = '', timeout = ''] = named(args, [
    'name',
    'version',
    'healthTimeoutMs',
  ]);
  const healthTimeoutMs = MILLISECONDS.test(timeout) ? Number(timeout) : Infinity;
  if (healthTimeoutMs > MAX_HEALTH_TIMEOUT_MS) {
    throw wrong('healthTimeoutMs', `is no whole number from 1 to ${MAX_HEALTH_TIMEOUT_MS}`);
  }
  return {
    name: parseName(name),
    version: version === NONE ? undefined : parseVersion(version),
    healthTimeoutMs,
  };
}

/** The arguments, once it is sure that there is one for each name. */
function named(args: readonly string[], names: readonly string[]): readonly string[] {
  const missing = names[args.length];
  if (missing !== undefined) throw wrong(missing, 'is missing');
  if (args.length > names.length) {
    throw wrong('args', `has ${args.length} arguments, and the command takes ${names.length}`);
  }
  const at = args.findIndex((argument) => argument.includes('\0') || !argument.isWellFormed());
  if (at >= 0) throw wrong(names[at] ?? 'args', 'holds a NUL or half a character');
  return args;
}

function parseContent(url: string, digest: string): WantedContent {
  if (url.length > MAX_URL_LENGTH) throw wrong('url', `is longer than ${MAX_URL_LENGTH}`);
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw wrong('url', 'is no absolute http or https URL');
  }
  // It would stand in the list of processes.
  if (parsed.username !== '' || parsed.password !== '') throw wrong('url', 'holds a login');
  if (!DIGEST.test(digest)) throw wrong('digest', 'is no sha256:HEX');
  return { url, digest };
}

function parsePath(path: string): string {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw wrong('path', `has more than ${MAX_PATH_BYTES} bytes`);
  }
  if (!path.startsWith('/')) throw wrong('path', 'is not absolute');
  if (posix.normalize(path) !== path || path.endsWith('/')) {
    throw wrong('path', 'is not in its shortest form, or ends with a slash');
  }
  return path;
}

function parseOwner(text: string): PutRequest['owner'] {
  if (text === '-') return undefined;
  const [, user, group] = OWNER.exec(text) ?? [];
  if (user === undefined) throw wrong('owner', 'is no USER, USER:GROUP or -');
  return { user, group };
}

function parseName(name: string): string {
  if (NAME.test(name)) return name;
  throw wrong('name', 'is no name of a package (a-z 0-9 . _ -)');
}

function parseVersion(version: string): string {
  if (VERSION.test(version)) return version;
  throw wrong('version', 'is no version (letters, digits and . _ + -)');
}

function wrong(argument: string, problem: string): CodedError {
  return new CodedError('ERR_REQUEST', `${argument}: ${problem}`, { detail: { path: argument } });
}
