import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { Type } from 'typebox';
import type { Static } from 'typebox';
import { randomHex } from '../../core/base/random.ts';

/** Whom a key stands for: in the audit, in policies, in caps. Safe as a part of a row's key. */
export const PrincipalName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9@._-]{0,63}$' });
/** The public part of a key. */
export const KeyId = Type.String({ pattern: '^[0-9a-f]{16}$' });

const Secret = Type.Object({
  /** SHA-256, base64url. */
  hash: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
  /** Good before this, cell time, ms. */
  expires: Type.Integer(),
  /** Who had it made, and so has seen it; absent: the operator. */
  issuedTo: Type.Optional(PrincipalName),
});
type Secret = Static<typeof Secret>;

/** A key as it is kept: whoever reads the disk can use none. */
export const ApiKey = Type.Object({
  id: KeyId,
  principal: PrincipalName,
  created: Type.Integer(),
  /** How long a secret of it is good, ms. */
  ttlMs: Type.Integer(),
  /** The newest first; former ones are good until their overlap is over. */
  secrets: Type.Array(Secret),
  /** When it was locked, for good. */
  locked: Type.Optional(Type.Integer()),
});
export type ApiKey = Static<typeof ApiKey>;

/** Bounds of keys. */
export const keyLimits = {
  /** Of a cell, those that ended among them. */
  keys: 5_000,
  /** Secrets of one key that hold at the same time. */
  secrets: 4,
  defaultTtlMs: 90 * 86_400_000,
  minTtlMs: 60_000,
  maxTtlMs: 730 * 86_400_000,
  defaultOverlapMs: 86_400_000,
  maxOverlapMs: 30 * 86_400_000,
  /** What ended is kept for so long, to be looked at. */
  keptMs: 90 * 86_400_000,
} as const;

const BEARER = /^Bearer +odo_([0-9a-f]{16})_([A-Za-z0-9_-]{43}) *$/i;

/** A secret that was just made: `text` is shown once, `hash` is kept. */
export interface NewSecret {
  readonly text: string;
  readonly hash: string;
}

export function newKeyId(): string {
  return randomHex(8);
}

/** 256 bits; the prefix is for programs that look for secrets in files. */
export function newSecret(id: string): NewSecret {
  const secret = randomBytes(32).toString('base64url');
  return { text: `odo_${id}_${secret}`, hash: hashOf(secret).toString('base64url') };
}

/** What an `Authorization` header carries, if it has the form of a key. */
export function presentedKey(
  header: string | undefined,
): { readonly id: string; readonly secretHash: Buffer } | undefined {
  const [, id, secret] = BEARER.exec(header ?? '') ?? [];
  if (id === undefined || secret === undefined) return undefined;
  return { id, secretHash: hashOf(secret) };
}

/** True when the secret is one of the key's and holds at `now`; takes as long whichever it is. */
export function holds(key: ApiKey, secretHash: Buffer, now: number): boolean {
  let isHeld = false;
  for (const { hash, expires } of key.secrets) {
    const isSame = timingSafeEqual(Buffer.from(hash, 'base64url'), secretHash);
    isHeld ||= isSame && now < expires;
  }
  return isHeld && key.locked === undefined;
}

/** When its last secret ends, or when it was locked; cell time, ms. */
export function endOf({ secrets, locked }: ApiKey): number {
  return locked ?? Math.max(0, ...secrets.map(({ expires }) => expires));
}

/** The key with a new secret beside those that hold, which end at the latest `overlapMs` from now. */
export function rotated(
  key: ApiKey,
  {
    now,
    overlapMs,
    ...secret
  }: Omit<Secret, 'expires'> & { readonly now: number; readonly overlapMs: number },
): ApiKey {
  const former = key.secrets
    .map((old) => ({ ...old, expires: Math.min(old.expires, now + overlapMs) }))
    .filter(({ expires }) => expires > now);
  return { ...key, secrets: [{ ...secret, expires: now + key.ttlMs }, ...former] };
}

function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
