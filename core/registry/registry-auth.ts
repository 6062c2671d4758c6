import { Type } from 'typebox';
import { CodedError } from '../base/error.ts';
import { parser } from '../wire/parse-message.ts';
import type { ImageReference } from './image-reference.ts';

/** Who pulls: a user, a token that was given, or nobody in particular. */
export type Credentials =
  | { readonly username: string; readonly password: string }
  | { readonly token: string }
  | undefined;

/** How a registry wants to be asked. */
export type Challenge =
  | { readonly scheme: 'basic' }
  | { readonly scheme: 'bearer'; readonly realm: string; readonly service: string | undefined };

/** What a registry is sent, and for how long. */
export interface Login {
  /** The Authorization header. */
  readonly authorization: string;
  /** Of a token, by the word of who gave it; undefined: it has no end. */
  readonly seconds: number | undefined;
}

/** A token whose server names no time is good for this long, by the protocol. */
const TOKEN_SECONDS = 60;

/** Asks for a small answer: what it says, or a failure as those of origins. */
export type AskText = (
  url: string,
  headers: Readonly<Record<string, string>>,
  options: { readonly signal: AbortSignal },
) => Promise<string>;

const parseToken = parser(
  Type.Object({
    token: Type.Optional(Type.String({ maxLength: 65_536 })),
    access_token: Type.Optional(Type.String({ maxLength: 65_536 })),
    expires_in: Type.Optional(Type.Unknown()),
  }),
  { code: 'ERR_ORIGIN_FAILING' },
);

/** Reads a `WWW-Authenticate` header: the first way of those it offers that we know. */
export function parseChallenge(header: string): Challenge | undefined {
  for (const part of header.split(/,\s*(?=(?:basic|bearer)\s)/i)) {
    const [, scheme = '', rest = ''] = /^\s*(\w+)\s*(.*)$/s.exec(part) ?? [];
    const fields = new Map(
      [...rest.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)].map(
        ([, name = '', quoted, plain]) => [name.toLowerCase(), quoted ?? plain ?? ''] as const,
      ),
    );
    const realm = fields.get('realm');
    if (scheme.toLowerCase() === 'bearer' && realm !== undefined) {
      return { scheme: 'bearer', realm, service: fields.get('service') };
    }
    if (scheme.toLowerCase() === 'basic') return { scheme: 'basic' };
  }
  return undefined;
}

/** What answers a registry's challenge for pulling one repository; with `''` for its name, for none in particular. */
export async function answerChallenge(
  challenge: Challenge,
  about: {
    readonly image: Pick<ImageReference, 'base' | 'repository'>;
    readonly credentials: Credentials;
    readonly ask: AskText;
  },
  options: { readonly signal: AbortSignal },
): Promise<Login> {
  const { image, credentials, ask } = about;
  if (credentials !== undefined && 'token' in credentials)
    return forEver(`Bearer ${credentials.token}`);
  const basic = credentials === undefined ? undefined : basicHeader(credentials);
  if (challenge.scheme === 'basic') {
    if (basic !== undefined) return forEver(basic);
    throw new CodedError('ERR_ORIGIN_REFUSED', 'the registry wants a user and a password', {
      detail: { status: 401 },
    });
  }
  const realm = realmOf(challenge.realm, image.base);
  const { service } = challenge;
  if (service !== undefined) realm.searchParams.set('service', service);
  if (image.repository !== '') {
    realm.searchParams.set('scope', `repository:${image.repository}:pull`);
  }
  const headers = basic === undefined ? {} : { authorization: basic };
  const text = await ask(realm.href, headers, options);
  const { token, access_token: other, expires_in: told } = parseToken(jsonOf(text));
  const seconds = typeof told === 'number' ? told : TOKEN_SECONDS;
  const found = token ?? other;
  if (found !== undefined && found !== '') return { authorization: `Bearer ${found}`, seconds };
  throw new CodedError('ERR_ORIGIN_FAILING', 'the token server of the registry gave no token');
}

function forEver(authorization: string): Login {
  return { authorization, seconds: undefined };
}

/** A registry that is spoken to in secret does not have passwords sent in the clear. */
function realmOf(text: string, base: string): URL {
  const realm = URL.parse(text);
  const isHttp = realm?.protocol === 'http:' && base.startsWith('http:');
  if (realm !== null && (realm.protocol === 'https:' || isHttp)) return realm;
  throw new CodedError('ERR_ORIGIN_FAILING', 'the token server of the registry is not https');
}

function basicHeader({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CodedError('ERR_ORIGIN_FAILING', 'the token server answered no JSON', { cause });
  }
}
