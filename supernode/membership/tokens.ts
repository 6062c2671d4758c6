import { Type } from 'typebox';
import type { Static } from 'typebox';
import type { Clock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { checkToken, createToken } from '../../core/identity/join-token.ts';
import type { GrantedRole, TokenGrant } from '../../core/identity/join-token.ts';
import { Serial } from '../../core/store/serial.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateChange, StateRow, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import { FailureLimit } from './failure-limit.ts';

/** What a new token is to grant. */
export interface TokenOptions {
  readonly ttlMs: number;
  /** How many hosts may join with it; absent: any number. */
  readonly uses?: number | undefined;
  /** Network that the hosts must be in. */
  readonly cidr?: string | undefined;
  readonly role: GrantedRole;
  /** Absent: a host names its own. */
  readonly idc?: string | undefined;
}

/** What a host shows to join, and what is known of it. */
export interface RedeemClaim {
  readonly id: string;
  readonly secret: string;
  /** Whose key it speaks with: who joins again with the same token costs no second use. */
  readonly peerId: string;
  /** The address the supernode sees. */
  readonly address: string;
  readonly role?: string | undefined;
  readonly idc?: string | undefined;
}

const StoredGrant = Type.Object({
  id: Type.String(),
  secretHash: Type.String(),
  expires: Type.Number(),
  usesLeft: Type.Optional(Type.Integer()),
  cidr: Type.Optional(Type.String()),
  role: Type.Union([Type.Literal('host'), Type.Literal('seed')]),
  idc: Type.Optional(Type.String()),
});
const parseGrant = parser(StoredGrant, { code: 'ERR_STORE_IO' });

/** A token as an operator may see it: everything but what would let its reader join. */
export type TokenSummary = Omit<Static<typeof StoredGrant>, 'secretHash'>;

/** Tokens that have not expired; a cell needs a handful. */
const MAX_TOKENS = 10_000;
const TOKENS = 'token/';
const TOKEN_ID = /^[0-9a-f]{16}$/;

/** The join tokens of a cell: made, counted down, listed, deleted; kept in its state. */
export class Tokens {
  readonly #state: StateStore;
  /** Joins of a moment wait for each other here, rather than decide again and again. */
  readonly #turns = new Serial();
  readonly #cell: string;
  readonly #clock: Clock;
  readonly #failures: FailureLimit;

  constructor(parts: { readonly state: StateStore; readonly cell: string; readonly clock: Clock }) {
    this.#state = parts.state;
    this.#cell = parts.cell;
    this.#clock = parts.clock;
    this.#failures = new FailureLimit(parts.clock);
  }

  /** A new token, the only time it is seen; ERR_USAGE naming a wrong option, ERR_BUSY when there are too many. */
  async create(options: TokenOptions): Promise<string> {
    const now = this.#clock.now();
    const { token, grant } = createToken({ cell: this.#cell, now, ...options });
    return this.#turns.run(async () => {
      const rows = await this.#rows(TOKENS);
      const expired = rows.filter(({ value }) => parseGrant(value).expires <= now);
      if (rows.length - expired.length >= MAX_TOKENS) {
        throw new CodedError('ERR_BUSY', `there are ${MAX_TOKENS} tokens already: delete some`);
      }
      const removals = await Promise.all(
        expired.map(async ({ key }) => this.#removal(key.slice(TOKENS.length))),
      );
      const added: StateChange = { type: 'put', key: TOKENS + grant.id, value: grant };
      await this.#state.commit([added, ...removals.flat()]);
      return token;
    });
  }

  /**
   * Role and idc that the token gives to this host, its use counted durably before the promise resolves. ERR_TOKEN or
   * ERR_TOKEN_GRANT when it gives nothing, which costs no use; ERR_BUSY after too many failures from one address.
   */
  async redeem(claim: RedeemClaim): Promise<{ role: GrantedRole; idc: string }> {
    this.#failures.check(claim.address);
    try {
      return await this.#turns.run(async () => this.#redeem(claim));
    } catch (error) {
      if (error instanceof CodedError && error.code === 'ERR_TOKEN') {
        this.#failures.failed(claim.address);
      }
      throw error;
    }
  }

  /** The tokens that have not expired, the first to expire first. */
  async list(): Promise<TokenSummary[]> {
    const now = this.#clock.now();
    const rows = await this.#rows(TOKENS);
    const grants = rows.map(({ value }) => parseGrant(value));
    return grants
      .filter(({ expires }) => expires > now)
      .map((grant) => summaryOf(grant))
      .toSorted((one, other) => one.expires - other.expires);
  }

  /** Nobody joins with it any more; who did stays a member. False when there is no such token. */
  async delete(id: string): Promise<boolean> {
    return this.#turns.run(async () => {
      if ((await this.#row(id)) === undefined) return false;
      await this.#state.commit(await this.#removal(id));
      return true;
    });
  }

  async #redeem(claim: RedeemClaim): Promise<{ role: GrantedRole; idc: string }> {
    const row = await this.#row(claim.id);
    const grant = row === undefined ? undefined : parseGrant(row.value);
    const usedKey = `${usesOf(claim.id)}${claim.peerId}`;
    const hasUsed = grant !== undefined && (await this.#state.get(usedKey)) !== undefined;
    const result = checkToken(hasUsed ? withoutCount(grant) : grant, {
      secret: claim.secret,
      address: claim.address,
      askedRole: claim.role,
      askedIdc: claim.idc,
      now: this.#clock.now(),
    });
    if (row === undefined || grant?.usesLeft === undefined || hasUsed) return result;
    const counted = { ...grant, usesLeft: grant.usesLeft - 1 };
    await this.#state.commit(
      [
        { type: 'put', key: row.key, value: counted },
        { type: 'put', key: usedKey, value: this.#clock.now() },
      ],
      { expect: [row] },
    );
    return result;
  }

  async #row(id: string): Promise<StateRow | undefined> {
    // The id is a stranger's text: it must not name other rows.
    return TOKEN_ID.test(id) ? this.#state.get(TOKENS + id) : undefined;
  }

  async #rows(prefix: string): Promise<StateRow[]> {
    return Array.fromAsync(this.#state.range(keysWith(prefix)));
  }

  async #removal(id: string): Promise<StateChange[]> {
    const uses = await this.#rows(usesOf(id));
    return [TOKENS + id, ...uses.map(({ key }) => key)].map((key) => ({ type: 'del', key }));
  }
}

/** Who has used a counted token, one row each. */
function usesOf(id: string): string {
  return `used/${id}/`;
}

function withoutCount(grant: TokenGrant): TokenGrant {
  const { usesLeft, ...rest } = grant;
  return usesLeft === undefined ? grant : rest;
}

function summaryOf(grant: TokenGrant): TokenSummary {
  const { id, expires, role, usesLeft, cidr, idc } = grant;
  return {
    id,
    expires,
    role,
    ...(usesLeft === undefined ? {} : { usesLeft }),
    ...(cidr === undefined ? {} : { cidr }),
    ...(idc === undefined ? {} : { idc }),
  };
}
