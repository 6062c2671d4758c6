import { Type } from 'typebox';
import type { Static } from 'typebox';
import type { Clock, Timer } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { keysWith } from '../../core/store/state-store.ts';
import type { StateChange, StateStore } from '../../core/store/state-store.ts';
import { parser } from '../../core/wire/parse-message.ts';
import {
  ApiKey,
  endOf,
  holds,
  keyLimits,
  newKeyId,
  newSecret,
  presentedKey,
  rotated,
} from './api-key.ts';
import { PrincipalCaps } from './caps.ts';
import type { Effect } from './door-effect.ts';
import { operator, reservedNames } from './principal.ts';
import type { Principal } from './principal.ts';
import type { KeyCreate, KeyRotate } from './verbs.ts';

const PrincipalRow = Type.Object({
  created: Type.Integer(),
  caps: Type.Optional(PrincipalCaps),
});
type PrincipalRow = Static<typeof PrincipalRow>;

const parsePrincipal = parser(PrincipalRow, { code: 'ERR_STORE_IO' });
const parseKey = parser(ApiKey, { code: 'ERR_STORE_IO' });
const parseUsed = parser(Type.Object({ at: Type.Integer() }), { code: 'ERR_STORE_IO' });

/** How often it is written when keys were last used. */
const USED_EVERY_MS = 60_000;
/** Keys whose use is written in one commit. */
const USED_TOGETHER = 1_000;
/** Keys that ended long ago and are removed when one is made. */
const REMOVED_TOGETHER = 100;

interface HeldKey {
  readonly key: ApiKey;
  readonly principal: Principal;
  usedAt: number | undefined;
}

/** A key as it is shown: without anything that opens a door. */
export interface KeyView {
  readonly id: string;
  readonly principal: string;
  readonly created: number;
  readonly expires: number;
  /** When the last of the former secrets ends, while there are such. */
  readonly formerUntil?: number;
  readonly lastUsed?: number;
  readonly locked?: number;
  readonly caps?: PrincipalCaps;
}

/** A key with its secret, which is nowhere else and not shown again. */
export interface IssuedKey extends KeyView {
  readonly key: string;
}

/** The principals of the cell with their keys, all in memory, and on disk what they are made from. */
export class Principals implements AsyncDisposable {
  readonly #store: StateStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #principals = new Map<string, PrincipalRow>();
  readonly #keys = new Map<string, HeldKey>();
  /** Keys whose lock is being written: they open nothing from then on. */
  readonly #locking = new Set<string>();
  readonly #used = new Set<string>();
  readonly #lockListeners = new Set<(keyId: string) => void>();
  readonly #timer: Timer;
  #writing: Promise<void> = Promise.resolve();

  private constructor(store: StateStore, options: { readonly clock: Clock; readonly log: Log }) {
    this.#store = store;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#timer = this.#clock.every(USED_EVERY_MS, () => void this.flushUsed());
  }

  static async open(
    store: StateStore,
    options: { readonly clock: Clock; readonly log: Log },
  ): Promise<Principals> {
    const principals = new Principals(store, options);
    try {
      await principals.#load();
      return principals;
    } catch (error) {
      principals.#timer.cancel();
      throw error;
    }
  }

  async #load(): Promise<void> {
    for await (const { key, value } of this.#store.range(keysWith('principal/'))) {
      this.#principals.set(key.slice('principal/'.length), parsePrincipal(value));
    }
    for await (const { value } of this.#store.range(keysWith('key/'))) this.#hold(parseKey(value));
    for await (const { key, value } of this.#store.range(keysWith('key-used/'))) {
      const held = this.#keys.get(key.slice('key-used/'.length));
      if (held !== undefined) held.usedAt = parseUsed(value).at;
    }
  }

  /** Whose key an `Authorization` header carries; undefined when it is none, has expired or is locked. */
  find(header: string | undefined): Principal | undefined {
    const presented = presentedKey(header);
    if (presented === undefined) return undefined;
    const { id, secretHash } = presented;
    const held = this.#keys.get(id);
    const now = this.#clock.now();
    if (held === undefined || this.#locking.has(id) || !holds(held.key, secretHash, now)) {
      return undefined;
    }
    held.usedAt = now;
    this.#used.add(id);
    return held.principal;
  }

  /** True while the key that a principal came with is not locked. */
  isOpen({ key }: Principal): boolean {
    if (key === undefined) return true;
    const held = this.#keys.get(key);
    return held !== undefined && held.key.locked === undefined && !this.#locking.has(key);
  }

  /** Caps of a principal; undefined: none. */
  capsOf(name: string): PrincipalCaps | undefined {
    return this.#principals.get(name)?.caps;
  }

  /** Who had secrets of a key made, and so may have used it, besides whose it is; the operator is not among them. */
  issuedTo({ key }: Principal): string[] {
    const secrets = key === undefined ? [] : (this.#keys.get(key)?.key.secrets ?? []);
    return secrets.flatMap((secret) => secret.issuedTo ?? []);
  }

  /** All keys, by id. */
  list(): KeyView[] {
    return [...this.#keys.values()]
      .map((held) => this.#viewOf(held))
      .toSorted((one, other) => (one.id < other.id ? -1 : 1));
  }

  /** `listener` is called with the id of each key that is locked, once that is on the disk. */
  onLock(listener: (keyId: string) => void): Disposable {
    this.#lockListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#lockListeners.delete(listener) };
  }

  /**
   * A new key, shown to `by`; its principal comes to be with it. ERR_REQUEST for a name that is taken, ERR_BUSY past the
   * bound.
   */
  async create(
    { principal, ttlMs, caps }: KeyCreate,
    by: Principal = operator,
  ): Promise<Effect<IssuedKey>> {
    if (reservedNames.includes(principal)) {
      throw wrong('principal', `"${principal}" is a name that the audit uses itself`);
    }
    const now = this.#clock.now();
    const gone = this.#endedLongAgo(now);
    if (this.#keys.size - gone.length >= keyLimits.keys) {
      throw new CodedError('ERR_BUSY', `there are ${keyLimits.keys} keys; lock some`);
    }
    const id = newKeyId();
    const { text, hash } = newSecret(id);
    const ttl = ttlMs ?? keyLimits.defaultTtlMs;
    const key: ApiKey = {
      id,
      principal,
      created: now,
      ttlMs: ttl,
      secrets: [{ hash, expires: now + ttl, ...shownTo(by) }],
    };
    const row = await this.#store.get(principalKey(principal));
    const former = row === undefined ? { created: now } : parsePrincipal(row.value);
    const next: PrincipalRow = caps === undefined ? former : { ...former, caps };
    const changes: StateChange[] = [
      { type: 'put', key: keyKey(id), value: key },
      { type: 'put', key: principalKey(principal), value: next },
      ...gone.flatMap((old): StateChange[] => [
        { type: 'del', key: keyKey(old) },
        { type: 'del', key: usedKey(old) },
      ]),
    ];
    return {
      changes,
      expect: [
        { key: keyKey(id), revision: 0 },
        { key: principalKey(principal), revision: row?.revision ?? 0 },
      ],
      detail: {
        key: id,
        principal,
        expires: now + ttl,
        ...(caps === undefined ? {} : { caps, formerCaps: former.caps ?? {} }),
      },
      answer: () => {
        for (const old of gone) this.#keys.delete(old);
        this.#principals.set(principal, next);
        return { key: text, ...this.#viewOf(this.#hold(key)) };
      },
    };
  }

  /** A new secret, shown to `by`. ERR_NOT_FOUND, ERR_REQUEST when the key is locked or over, ERR_BUSY past the bound. */
  async rotate(
    { id, overlapMs = keyLimits.defaultOverlapMs }: KeyRotate,
    by: Principal = operator,
  ): Promise<Effect<IssuedKey>> {
    const { key, revision } = await this.#read(id);
    const now = this.#clock.now();
    if (key.locked !== undefined) throw wrong('id', 'this key is locked for good');
    if (endOf(key) <= now) throw wrong('id', 'this key has expired; make another');
    const { text, hash } = newSecret(id);
    const next = rotated(key, { hash, now, overlapMs, ...shownTo(by) });
    if (next.secrets.length > keyLimits.secrets) {
      const message = `${keyLimits.secrets} secrets of this key hold; let none of them overlap (0), or wait`;
      throw new CodedError('ERR_BUSY', message);
    }
    return {
      changes: [{ type: 'put', key: keyKey(id), value: next }],
      expect: [{ key: keyKey(id), revision }],
      detail: { key: id, principal: key.principal, overlapMs, expires: now + key.ttlMs },
      answer: () => ({ key: text, ...this.#viewOf(this.#hold(next)) }),
    };
  }

  /**
   * Ends a key, for good and at once: from this call on it opens nothing. Should it not be known whether the lock is
   * on the disk, it opens nothing before the next start. A second time changes nothing. ERR_NOT_FOUND.
   */
  async lock(id: string): Promise<Effect<KeyView> & { readonly undo: () => void }> {
    const { key, revision } = await this.#read(id);
    this.#locking.add(id);
    const next: ApiKey = { ...key, locked: key.locked ?? this.#clock.now() };
    return {
      changes: [{ type: 'put', key: keyKey(id), value: next }],
      expect: [{ key: keyKey(id), revision }],
      detail: { key: id, principal: key.principal },
      undo: () => this.#locking.delete(id),
      answer: () => {
        const view = this.#viewOf(this.#hold(next));
        this.#locking.delete(id);
        for (const listener of this.#lockListeners) listener(id);
        return view;
      },
    };
  }

  /** Writes when keys were last used; what cannot be written is tried again. Never rejects. */
  async flushUsed(): Promise<void> {
    this.#writing = this.#writing.then(async () => this.#writeUsed());
    return this.#writing;
  }

  /** Stops writing uses, after the last; the store is whose it is. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#timer.cancel();
    await this.flushUsed();
  }

  async #writeUsed(): Promise<void> {
    while (this.#used.size > 0) {
      const ids = [...this.#used].slice(0, USED_TOGETHER);
      for (const id of ids) this.#used.delete(id);
      const changes = ids.flatMap((id): StateChange[] => {
        const at = this.#keys.get(id)?.usedAt;
        return at === undefined ? [] : [{ type: 'put', key: usedKey(id), value: { at } }];
      });
      try {
        await this.#store.commit(changes);
      } catch (error) {
        const { code } = CodedError.from(error);
        this.#log.warn({ code }, 'when API keys were last used could not be written');
        for (const id of ids) this.#used.add(id);
        return;
      }
    }
  }

  async #read(id: string): Promise<{ readonly key: ApiKey; readonly revision: number }> {
    const row = await this.#store.get(keyKey(id));
    if (row === undefined) throw new CodedError('ERR_NOT_FOUND', 'there is no key of this id');
    return { key: parseKey(row.value), revision: row.revision };
  }

  #hold(key: ApiKey): HeldKey {
    const former = this.#keys.get(key.id);
    const principal = former?.principal ?? { name: key.principal, key: key.id };
    const held = { key, principal, usedAt: former?.usedAt };
    this.#keys.set(key.id, held);
    return held;
  }

  #endedLongAgo(now: number): string[] {
    const gone: string[] = [];
    for (const [id, { key }] of this.#keys) {
      if (gone.length >= REMOVED_TOGETHER) break;
      if (endOf(key) <= now - keyLimits.keptMs) gone.push(id);
    }
    return gone;
  }

  #viewOf({ key, usedAt }: HeldKey): KeyView {
    const { id, principal, created, secrets, locked } = key;
    const [newest, ...former] = secrets;
    const formerUntil = Math.max(0, ...former.map(({ expires }) => expires));
    const caps = this.capsOf(principal);
    return {
      id,
      principal,
      created,
      expires: newest?.expires ?? created,
      ...(formerUntil > this.#clock.now() ? { formerUntil } : {}),
      ...(usedAt === undefined ? {} : { lastUsed: usedAt }),
      ...(locked === undefined ? {} : { locked }),
      ...(caps === undefined ? {} : { caps }),
    };
  }
}

function shownTo({ name }: Principal): { readonly issuedTo?: string } {
  return name === operator.name ? {} : { issuedTo: name };
}

const principalKey = (name: string): string => `principal/${name}`;
const keyKey = (id: string): string => `key/${id}`;
const usedKey = (id: string): string => `key-used/${id}`;

function wrong(path: string, text: string): CodedError {
  return new CodedError('ERR_REQUEST', `${path}: ${text}`, { detail: { path } });
}
