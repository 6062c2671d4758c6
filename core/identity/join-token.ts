// A join token is what an operator gives a new host. It names the cell by its key, so that the host tells the secret
// only to a supernode certified by that key; the supernode keeps a hash of the secret and what the token grants.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { CodedError } from '../base/error.ts';
import { randomHex } from '../base/random.ts';
import { isInCidr, normaliseCidr } from './cidr.ts';
import { parseBody } from './envelope.ts';
import { defaultIdc, isIdc } from './membership.ts';
import { peerIdPattern } from './peer-id.ts';

/** Roles a token can grant; supernodes are certified by the cell key instead. */
export type GrantedRole = 'host' | 'seed';

/** What the supernode stores of a token; nothing in it lets its reader join. */
export interface TokenGrant {
  readonly id: string;
  /** sha256 of the secret, hex. */
  readonly secretHash: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
  /** Undefined: any number. The keeper counts down, together with the membership it grants. */
  readonly usesLeft?: number;
  /** Network the host must be in. */
  readonly cidr?: string;
  readonly role: GrantedRole;
  /** Undefined: the host names its own. */
  readonly idc?: string;
}

/** What a host shows when it joins, and what it asks for. */
export interface TokenClaim {
  readonly secret: string;
  /** The address that the supernode sees. */
  readonly address: string;
  /** Absent: whatever the token grants. */
  readonly askedRole?: string | undefined;
  readonly askedIdc?: string | undefined;
  readonly now: number;
}

/** What a join token says. */
export interface JoinToken {
  /** Cell id. */
  readonly cell: string;
  /** Under which the supernode stored the grant, 16 hex digits. */
  readonly id: string;
  /** For a supernode certified by that cell, and nobody else. */
  readonly secret: string;
}

const PREFIX = 'odt1_';
const MAX_TOKEN_LENGTH = 512;
const ID = /^[0-9a-f]{16}$/;
const SECRET = /^[A-Za-z0-9_-]{43}$/;
const NO_HASH = '0'.repeat(64);

/** A new token for `cell` (its id) and what the supernode has to store; ERR_USAGE naming a wrong option. */
export function createToken(options: {
  cell: string;
  now: number;
  ttlMs: number;
  uses?: number | undefined;
  cidr?: string | undefined;
  role: GrantedRole;
  idc?: string | undefined;
}): { token: string; grant: TokenGrant } {
  const { cell, now, ttlMs, uses, cidr, role, idc } = options;
  if (!(ttlMs > 0)) throw usage('the lifetime must be more than nothing');
  if (uses !== undefined && !(Number.isSafeInteger(uses) && uses > 0)) {
    throw usage('the number of uses must be a whole number from 1');
  }
  if (idc !== undefined && !isIdc(idc)) throw usage('not a usable idc name');
  const network = cidr === undefined ? undefined : normaliseCidr(cidr);
  if (cidr !== undefined && network === undefined) throw usage('not a network: use 10.0.0.0/8');
  const id = randomHex(8);
  const secret = randomBytes(32).toString('base64url');
  const payload = Buffer.from(JSON.stringify({ c: cell, i: id, s: secret })).toString('base64url');
  const grant = {
    id,
    secretHash: hashOf(secret),
    expires: now + ttlMs,
    ...(uses === undefined ? {} : { usesLeft: uses }),
    ...(network === undefined ? {} : { cidr: network }),
    role,
    ...(idc === undefined ? {} : { idc }),
  };
  return { token: PREFIX + payload, grant };
}

/** The parts of a token, surrounding white space ignored; ERR_TOKEN naming the problem, never the secret. */
export function parseToken(text: string): JoinToken {
  if (text.length > MAX_TOKEN_LENGTH) throw refused('is too long');
  const trimmed = text.trim();
  if (!trimmed.startsWith(PREFIX)) throw refused(`does not begin with ${PREFIX}`);
  const body = parseBody(trimmed.slice(PREFIX.length));
  if (body === undefined) throw refused('is cut off or was changed');
  const { c: cell, i: id, s: secret } = body;
  if (typeof cell !== 'string' || !peerIdPattern.test(cell)) throw refused('names no cell');
  if (typeof id !== 'string' || !ID.test(id)) throw refused('has no id');
  if (typeof secret !== 'string' || !SECRET.test(secret)) throw refused('has no secret');
  return { cell, id, secret };
}

/**
 * The role and idc that the holder of a token gets; `grant` is what the supernode stored under the token's id.
 * ERR_TOKEN when the token does not hold, ERR_TOKEN_GRANT when more is asked than it grants. Counting the use is
 * the caller's.
 */
export function checkToken(
  grant: TokenGrant | undefined,
  claim: TokenClaim,
): { role: GrantedRole; idc: string } {
  // One answer for an unknown id and a wrong secret, so that ids cannot be tried out.
  if (!sameHash(hashOf(claim.secret), grant?.secretHash ?? NO_HASH) || grant === undefined) {
    throw refused('is not known here');
  }
  if (claim.now >= grant.expires) throw refused('has expired');
  if (grant.usesLeft !== undefined && grant.usesLeft <= 0) throw refused('is used up');
  if (grant.cidr !== undefined && !isInCidr(claim.address, grant.cidr)) {
    throw refused(`is for hosts in ${grant.cidr} only`);
  }
  return { role: grantedRole(grant, claim.askedRole), idc: grantedIdc(grant, claim.askedIdc) };
}

function grantedRole(grant: TokenGrant, asked: string | undefined): GrantedRole {
  if (asked === undefined || asked === grant.role) return grant.role;
  throw new CodedError('ERR_TOKEN_GRANT', `the token grants the role ${grant.role} only`, {
    detail: { granted: grant.role, asked: asked.slice(0, 64) },
  });
}

function grantedIdc(grant: TokenGrant, asked: string | undefined): string {
  if (grant.idc === undefined) {
    if (asked === undefined || isIdc(asked)) return asked ?? defaultIdc;
    throw new CodedError('ERR_TOKEN_GRANT', 'the idc asked for is not a usable name');
  }
  if (asked === undefined || asked === grant.idc) return grant.idc;
  throw new CodedError('ERR_TOKEN_GRANT', `the token grants the idc ${grant.idc} only`, {
    detail: { granted: grant.idc, asked: asked.slice(0, 64) },
  });
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

function sameHash(left: string, right: string): boolean {
  const [one, other] = [Buffer.from(left), Buffer.from(right)];
  return one.length === other.length && timingSafeEqual(one, other);
}

function refused(problem: string): CodedError {
  return new CodedError('ERR_TOKEN', `the join token ${problem}`);
}

function usage(problem: string): CodedError {
  return new CodedError('ERR_USAGE', `cannot make a join token: ${problem}`);
}
