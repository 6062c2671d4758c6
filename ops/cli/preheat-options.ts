import { CodedError } from '../../core/base/error.ts';
import { commonOptions, defineOptions } from '../../core/base/options.ts';
import { priorities } from '../../core/base/priority.ts';
import type { Credentials } from '../../core/registry/registry-auth.ts';

/** Where the supernode is, and how answers are printed: for every command of dfops. */
export const apiOptions = defineOptions({
  ...commonOptions,
  api: {
    kind: 'url',
    default: 'http://127.0.0.1:8001',
    help: 'The HTTP API of the supernode',
  },
  'api-key': {
    kind: 'secret',
    defaultHelp: 'none, as for a supernode on this machine that has none',
    help: 'Key for the API: @FILE, or the key itself in the environment or a configuration file',
  },
  json: { kind: 'boolean', help: 'Print JSON, one object a line, instead of text' },
});

/** The same for commands that change something which others may have to agree to. */
export const changeOptions = defineOptions({
  ...apiOptions,
  approval: {
    kind: 'string',
    valueName: 'ID',
    defaultHelp: 'none',
    help: 'What others have agreed to, where policies want that; it is good for this once',
  },
});

const orderOptions = defineOptions({
  ...apiOptions,
  to: {
    kind: 'string',
    required: true,
    valueName: 'WHERE',
    help: 'Hosts to bring it to: seeds, idc=NAME, count=N, percent=P or all',
  },
  priority: {
    kind: 'choice',
    choices: priorities,
    defaultHelp: 'warm-up',
    help: 'What it is among other downloads, as far as the API key may order it',
  },
  timeout: {
    kind: 'duration',
    default: '1h',
    min: 1,
    max: 86_400_000,
    help: 'What is not there by then counts as failed',
  },
  wait: { kind: 'boolean', help: 'Wait for the end, and show how far it is' },
});

/** The flags of `dfops preheat image`. */
export const imageOptions = defineOptions({
  ...orderOptions,
  platform: {
    kind: 'string',
    list: true,
    valueName: 'OS/ARCH',
    defaultHelp: 'all platforms of the image',
    help: 'Platform to bring, as linux/amd64',
  },
  credentials: {
    kind: 'secret',
    defaultHelp: 'none',
    help: 'USER:PASSWORD for the registry, in a file or the environment; the supernode keeps it in memory only',
  },
  'registry-logins': {
    kind: 'path',
    defaultHelp: 'none',
    help: "File of logins for registries in the form of docker's config.json, mode 0600, instead of --credentials",
  },
});

/** The flags of `dfops preheat url`. */
export const urlOptions = defineOptions({
  ...orderOptions,
  header: {
    kind: 'string',
    short: 'H',
    list: true,
    secret: true,
    separator: '\n',
    valueName: "'K: V'|@FILE",
    help: 'Header for the origin; @FILE, mode 0600, or @- for lines that no other user of the machine may read; the supernode keeps it in memory only',
  },
  digest: { kind: 'string', valueName: 'ALGO:HEX', help: 'Digest of the content of a single URL' },
  tag: { kind: 'string', help: 'Tag of the task, as given to dfget' },
  application: { kind: 'string', help: 'Application of the task, as given to dfget' },
  'filtered-query-param': {
    kind: 'string',
    list: true,
    help: 'Query parameter that does not change the content, as given to dfget',
  },
});

/** Throws ERR_USAGE when a key or a password stands on the command line, where every user of the machine sees it. */
export function refuseSecrets(argv: readonly string[]): void {
  for (const [at, word] of argv.entries()) {
    const [, name, joined] = /^(--api-key|--credentials)(?:=(.*))?$/s.exec(word) ?? [];
    const value = joined ?? argv[at + 1];
    if (name === undefined || value === undefined || value.startsWith('@')) continue;
    const message = `${name}: give @FILE, or set it in the environment; a command line is seen by all`;
    throw new CodedError('ERR_USAGE', message);
  }
}

/** The login of an image's registry, as the API takes it; ERR_USAGE, ERR_CONFIG naming what is wrong. */
export async function loginFor(
  reference: string,
  given: { readonly credentials: string | undefined; readonly registryLogins: string | undefined },
): Promise<{ readonly credentials?: Credentials }> {
  const { credentials, registryLogins: path } = given;
  if (credentials !== undefined && path !== undefined) {
    throw new CodedError('ERR_USAGE', '--credentials and --registry-logins do not go together');
  }
  if (credentials !== undefined) return { credentials: credentialsFrom(credentials) };
  if (path === undefined) return {};
  const { parseImage } = await import('../../core/registry/image-reference.ts');
  const { readLogins } = await import('../../core/registry/registry-logins.ts');
  const { base, repository } = parseImage(reference);
  const { logins } = await readLogins(path);
  const registry = new URL(base).host;
  const found = logins.find(registry, repository);
  if (found !== undefined) return { credentials: found };
  throw new CodedError('ERR_CONFIG', `${path}: has no login for ${registry}`);
}

/** `USER:PASSWORD` as the API takes it; ERR_USAGE when it is not that. */
function credentialsFrom(text: string): { username: string; password: string } {
  const colon = text.indexOf(':');
  if (colon > 0) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
  throw new CodedError('ERR_USAGE', '--credentials: expected USER:PASSWORD');
}

/** Headers by name; ERR_USAGE naming the flag for one without a colon. */
export function headersFrom(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      if (colon <= 0) throw new CodedError('ERR_USAGE', '-H: expected NAME: VALUE');
      return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
}
