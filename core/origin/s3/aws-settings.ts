import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CodedError, systemCode } from '../../base/error.ts';
import type { S3Credentials } from './presign.ts';
import type { S3Place } from './s3-url.ts';

/** What the user said, and where else to look. */
export interface AwsWishes {
  /** `ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN]`. */
  readonly credentials?: string | undefined;
  readonly profile?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  readonly addressing?: 'path' | 'virtual' | undefined;
  /** False: ask without a signature. */
  readonly isSigned: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
}

/** How to ask S3. */
export interface AwsSettings extends S3Place {
  /** Absent: buckets that everybody may read. */
  readonly credentials?: S3Credentials | undefined;
}

type Section = ReadonlyMap<string, string>;

const MAX_FILE_BYTES = 1024 * 1024;
const DEFAULT_REGION = 'us-east-1';
/** Ways to get credentials that take more than reading a file. */
const UNKNOWN_WAYS = [
  'credential_process',
  'role_arn',
  'sso_session',
  'sso_start_url',
  'web_identity_token_file',
];

/**
 * Finds credentials, region and endpoint as the tools of Amazon do: what was said, then the environment, then the
 * files `~/.aws/credentials` and `~/.aws/config`. Throws ERR_CONFIG naming what is wrong, never a secret.
 */
export async function awsSettings(wishes: AwsWishes): Promise<AwsSettings> {
  const { env, home } = wishes;
  const profile = wishes.profile ?? filled(env['AWS_PROFILE']) ?? 'default';
  const configPath = filled(env['AWS_CONFIG_FILE']) ?? join(home, '.aws', 'config');
  const keysPath = filled(env['AWS_SHARED_CREDENTIALS_FILE']) ?? join(home, '.aws', 'credentials');
  const config = (await sectionsOf(configPath)).get(
    profile === 'default' ? profile : `profile ${profile}`,
  );
  const keys = (await sectionsOf(keysPath)).get(profile);
  const isNamed = (wishes.profile ?? filled(env['AWS_PROFILE'])) !== undefined;
  if (isNamed && config === undefined && keys === undefined) {
    throw wrong(`there is no profile ${JSON.stringify(profile)} in ${keysPath} or ${configPath}`);
  }
  const region =
    wishes.region ??
    filled(env['AWS_REGION']) ??
    filled(env['AWS_DEFAULT_REGION']) ??
    config?.get('region') ??
    DEFAULT_REGION;
  const endpoint =
    wishes.endpoint ??
    filled(env['AWS_ENDPOINT_URL_S3']) ??
    filled(env['AWS_ENDPOINT_URL']) ??
    config?.get('endpoint_url');
  const credentials = wishes.isSigned ? credentialsOf(wishes, [keys, config]) : undefined;
  return { region, endpoint, addressing: wishes.addressing, credentials };
}

function credentialsOf(
  wishes: AwsWishes,
  sections: readonly (Section | undefined)[],
): S3Credentials | undefined {
  if (wishes.credentials !== undefined) return parseCredentials(wishes.credentials);
  const { env } = wishes;
  // A profile that was named on the command line is meant, whatever the environment holds.
  if (wishes.profile === undefined) {
    const own = pairOf((name) => filled(env[name.toUpperCase()]), 'the environment');
    if (own !== undefined) return own;
  }
  for (const section of sections) {
    const found = pairOf((name) => section?.get(name), 'the profile');
    if (found !== undefined) return found;
  }
  const way = UNKNOWN_WAYS.find((name) => sections.some((section) => section?.has(name)));
  if (way === undefined) return undefined;
  throw wrong(`credentials by ${way} are not known here; export them into the environment`);
}

function parseCredentials(text: string): S3Credentials {
  const [accessKey = '', secretKey = '', ...rest] = text.split(':');
  const sessionToken = rest.join(':');
  if (accessKey === '' || secretKey === '') {
    throw wrong('--s3-credentials: expected ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN]');
  }
  return { accessKey, secretKey, ...(sessionToken === '' ? {} : { sessionToken }) };
}

function pairOf(
  read: (name: string) => string | undefined,
  where: string,
): S3Credentials | undefined {
  const accessKey = read('aws_access_key_id');
  const secretKey = read('aws_secret_access_key');
  if (accessKey === undefined && secretKey === undefined) return undefined;
  if (accessKey === undefined || secretKey === undefined) {
    throw wrong(`${where} has one of aws_access_key_id and aws_secret_access_key, and not both`);
  }
  const sessionToken = read('aws_session_token');
  return { accessKey, secretKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

async function sectionsOf(path: string): Promise<ReadonlyMap<string, Section>> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_BYTES) throw wrong(`${path} is too long`);
    return parseIni(await readFile(path, 'utf8'));
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return new Map();
    if (error instanceof CodedError || code === undefined) throw error;
    throw wrong(`cannot read ${path} (${code})`);
  }
}

/** Sections and their settings; settings of settings (indented lines) are passed over. */
export function parseIni(text: string): ReadonlyMap<string, Section> {
  const sections = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(?:[#;]|$)/.test(line)) continue;
    const name = /^\s*\[\s*([^\]]*?)\s*\]/.exec(line)?.[1]?.replaceAll(/\s+/g, ' ');
    if (name !== undefined) {
      current = sections.get(name) ?? new Map<string, string>();
      sections.set(name, current);
      continue;
    }
    const equals = line.indexOf('=');
    if (current === undefined || equals < 0 || /^\s/.test(line)) continue;
    const value = line.slice(equals + 1).trim();
    if (value !== '') current.set(line.slice(0, equals).trim().toLowerCase(), value);
  }
  return sections;
}

/** Empty means not set, as in every shell. */
function filled(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}

function wrong(what: string): CodedError {
  return new CodedError('ERR_CONFIG', `s3: ${what}`);
}
