// What the supernode is in its cell: holder of a key that the cell key certified, and so the one who admits hosts,
// signs their records and tickets, and says who is out. Everything a cell must not forget lies in the state; keys
// lie beside it as files.
import { join } from 'node:path';
import type { Clock } from '../../core/base/clock.ts';
import type { ErrorCode } from '../../core/base/error-codes.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { issueCellMap, openCellMap } from '../../core/identity/cell.ts';
import type { CellMap, SupernodeEntry } from '../../core/identity/cell.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import type { GrantedRole } from '../../core/identity/join-token.ts';
import { defaultIdc, issueRecord } from '../../core/identity/membership.ts';
import type { MemberRecord, MemberRole } from '../../core/identity/membership.ts';
import { publicKeyOf } from '../../core/identity/peer-id.ts';
import type { StampedList } from '../../core/identity/revocation-age.ts';
import { issueTicket } from '../../core/identity/ticket.ts';
import { CellTrust } from '../../core/identity/trust.ts';
import { LevelStateStore } from '../../core/store/level-state-store.ts';
import { Serial } from '../../core/store/serial.ts';
import type { StateStore } from '../../core/store/state-store.ts';
import type { Membership } from '../../core/wire/messages.ts';
import { openCell } from './cell-keys.ts';
import { OwnCertificate } from './own-certificate.ts';
import { Tokens } from './tokens.ts';
import type { RedeemClaim, TokenOptions, TokenSummary } from './tokens.ts';

export interface AuthorityOptions {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Mesh addresses of this supernode for the cell map; when not known yet, see `setAddresses()`. */
  readonly addresses: readonly string[];
  /** How long to wait for another process to let go of the state; default 3 s. */
  readonly lockWaitMs?: number;
  /** Peers that the cell map can put out; default what a membership has room for. */
  readonly maxRevoked?: number;
}

interface StoredMap {
  readonly envelope: string;
  readonly map: CellMap;
  readonly signer: string;
}

interface AuthorityParts {
  readonly key: HostKey;
  readonly trust: CellTrust;
  readonly state: StateStore;
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly isNewCell: boolean;
  readonly maxRevoked: number;
}

type MapContent = Pick<CellMap, 'supernodes' | 'revoked'>;

const MAP_ROW = 'map';
/** What the envelope of a map inside a `Membership` has room for, at 73 characters each. */
const MAX_REVOKED = 12_000;
/** A `token create` holds the state for a moment; a former supernode until it has stopped. */
const LOCK_WAIT_MS = 3_000;

/** Where the state of a supernode lies. */
export function stateDirectory(dataDir: string): string {
  return join(dataDir, 'state');
}

/** This supernode's standing in its cell, and all that follows from it. */
export class Authority implements AsyncDisposable {
  readonly key: HostKey;
  readonly trust: CellTrust;
  /** True when this call of `open()` made the cell. */
  readonly isNewCell: boolean;
  readonly #parts: AuthorityParts;
  readonly #listeners = new Set<() => void>();
  readonly #joins = new Map<string, number>();
  readonly #publishing = new Serial();
  #certificate: OwnCertificate | undefined;
  #stampOf: (map: CellMap) => StampedList | undefined = () => undefined;

  private constructor(parts: AuthorityParts) {
    this.#parts = parts;
    this.key = parts.key;
    this.trust = parts.trust;
    this.isNewCell = parts.isNewCell;
  }

  /**
   * Opens the state, and makes cell, keys and certificate where they are missing. ERR_STORE_LOCKED when another
   * supernode runs on the folder, ERR_KEY_FILE when a key is unusable or the cell key is needed and not there.
   */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const { dataDir, clock, log, addresses, lockWaitMs: waitMs = LOCK_WAIT_MS } = options;
    const { maxRevoked = MAX_REVOKED } = options;
    const directory = stateDirectory(dataDir);
    const state = await LevelStateStore.openWhenFree(directory, { clock, waitMs });
    await using opened = new AsyncDisposableStack();
    opened.use(state);
    const { cell, isNew } = await openCell(dataDir, state);
    const key = await HostKey.load(join(dataDir, 'identity', 'host.key'));
    const trust = new CellTrust(cell);
    const tokens = new Tokens({ state, cell, clock });
    const parts = { key, trust, state, tokens, clock, isNewCell: isNew, maxRevoked };
    const authority = new Authority(parts);
    const context = { dataDir, state, cell, supernode: key.peerId, clock, log };
    const onRenewed = (envelope: string): void => {
      trust.addCertificate(envelope);
      log.info({ cell, peer: key.peerId }, 'certificate of this supernode issued');
      authority.#changed();
    };
    const certificate = opened.use(await OwnCertificate.open({ ...context, onRenewed }));
    for (const envelope of certificate.envelopes()) trust.addCertificate(envelope);
    authority.#certificate = certificate;
    await authority.#loadMap();
    if (addresses.length > 0) await authority.setAddresses(addresses);
    if (isNew) log.info({ cell }, 'new cell; keep a copy of identity/cell.key in a safe place');
    opened.move();
    return authority;
  }

  /** Cell id. */
  get cell(): string {
    return this.trust.cell;
  }

  /** Certificate envelopes of this supernode that have not expired, the newest last. */
  certificates(): string[] {
    return this.#certificate?.envelopes() ?? [];
  }

  /** When the certificate of the key in use runs out, ms of cell time. */
  get certificateExpires(): number {
    return this.#certificate?.expires ?? 0;
  }

  /** Envelope of the cell map in force. */
  cellMap(): string | undefined {
    return this.trust.toData().map;
  }

  /** Of the cell map in force; undefined while there is none. */
  epoch(): number | undefined {
    return this.trust.cellMap()?.epoch;
  }

  /** Has the revocations of the cell map dated by `stampOf`, in every membership from now on. */
  stampWith(stampOf: (map: CellMap) => StampedList | undefined): void {
    this.#stampOf = stampOf;
  }

  /** The date of the revocations in force; undefined when nobody can date them. */
  revocations(): StampedList | undefined {
    const map = this.trust.cellMap();
    return map === undefined ? undefined : this.#stampOf(map);
  }

  /** Calls `listener` whenever certificates or map have changed and hosts and workers should hear of it. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Says in the cell map where this supernode's mesh port is reached, `HOST:PORT` each. */
  async setAddresses(addresses: readonly string[]): Promise<void> {
    const own: SupernodeEntry = { peerId: this.key.peerId, addresses };
    await this.#publish(({ revoked }) => ({ supernodes: [own], revoked }));
  }

  /** A fresh record for a host, and whom it may trust; ERR_NOT_MEMBER when it is revoked. */
  membershipFor(member: {
    readonly peerId: string;
    readonly role: MemberRole;
    readonly idc: string;
  }): Membership {
    const { peerId, role, idc } = member;
    this.#refuseRevoked(peerId);
    const now = this.#now();
    const map = this.cellMap();
    const revocations = this.revocations();
    return {
      type: 'membership',
      record: issueRecord(this.key, { peerId, role, idc, now }),
      certificates: this.certificates(),
      ...(map === undefined ? {} : { map }),
      ...(revocations === undefined ? {} : { revocations }),
      now,
    };
  }

  /** A record of this supernode itself, for its own piece link; it holds for a day. */
  ownRecord(): string {
    const { peerId } = this.key;
    return issueRecord(this.key, {
      peerId,
      role: 'supernode',
      idc: defaultIdc,
      now: this.#now(),
    });
  }

  /** A ticket for a version of a task; ERR_SIGNATURE naming a malformed field. */
  ticket(about: {
    readonly task: string;
    readonly version: string;
    readonly scope: string;
    readonly child: string;
  }): string {
    return issueTicket(this.key, { ...about, now: this.#now() });
  }

  /** What the record in `envelope` says of `peerId`; ERR_NOT_MEMBER when it makes it no member of this cell now. */
  verifyMember(envelope: string, peerId: string): MemberRecord {
    try {
      return this.trust.verifyRecord(envelope, { peerId, now: this.#now() });
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== 'ERR_SIGNATURE') throw error;
      throw new CodedError('ERR_NOT_MEMBER', error.message, { cause: error, detail: { peerId } });
    }
  }

  /** A new join token; ERR_USAGE naming a wrong option. */
  async createToken(options: TokenOptions): Promise<string> {
    return this.#parts.tokens.create(options);
  }

  /** The tokens that have not expired, without their secrets. */
  async tokens(): Promise<TokenSummary[]> {
    return this.#parts.tokens.list();
  }

  /** Makes a token useless from now on; false when there is none of that id. */
  async deleteToken(id: string): Promise<boolean> {
    return this.#parts.tokens.delete(id);
  }

  /** What the token gives to the host, one use taken from it; ERR_TOKEN, ERR_TOKEN_GRANT, ERR_BUSY, ERR_NOT_MEMBER. */
  async redeem(claim: RedeemClaim): Promise<{ role: GrantedRole; idc: string }> {
    this.#refuseRevoked(claim.peerId);
    return this.#parts.tokens.redeem(claim);
  }

  /** Attempts to join that ended since the start, by `ok` or the code of the refusal. */
  get joins(): ReadonlyMap<string, number> {
    return this.#joins;
  }

  /** Counts an attempt to join. */
  noteJoin(result: ErrorCode | 'ok'): void {
    this.#joins.set(result, (this.#joins.get(result) ?? 0) + 1);
  }

  /** Throws ERR_BUSY when the cell map has no room to put this peer out too. */
  checkRoom(peerId: string): void {
    if (!this.isRevoked(peerId)) this.#refuseFull(this.trust.cellMap()?.revoked ?? []);
  }

  /** Puts a peer out of the cell for good; resolves when that is on disk. ERR_REQUEST when it is no host's peer id. */
  async revoke(peerId: string): Promise<void> {
    if (!isPeerId(peerId)) throw new CodedError('ERR_REQUEST', 'not a peer id');
    if (peerId === this.key.peerId) {
      throw new CodedError('ERR_REQUEST', 'this is the supernode itself: revoke it with another');
    }
    await this.#publish(({ supernodes, revoked }) => {
      if (revoked.includes(peerId)) return { supernodes, revoked };
      this.#refuseFull(revoked);
      return { supernodes, revoked: [...revoked, peerId] };
    });
  }

  /** True when the cell map in force revokes the peer. */
  isRevoked(peerId: string): boolean {
    return this.trust.isRevoked(peerId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#certificate?.[Symbol.dispose]();
    await this.#parts.state.close();
  }

  /** Cell time: this supernode's own, whole milliseconds since the epoch. */
  #now(): number {
    return Math.round(this.#parts.clock.now());
  }

  #refuseFull(revoked: readonly string[]): void {
    const { maxRevoked } = this.#parts;
    if (revoked.length < maxRevoked) return;
    const message = `nobody can be put out: the list of revocations is full, with ${revoked.length} keys`;
    throw new CodedError('ERR_BUSY', message);
  }

  #refuseRevoked(peerId: string): void {
    if (!this.isRevoked(peerId)) return;
    throw new CodedError('ERR_NOT_MEMBER', 'the peer is revoked', { detail: { peerId } });
  }

  async #storedMap(): Promise<StoredMap | undefined> {
    const envelope = (await this.#parts.state.get(MAP_ROW))?.value;
    return typeof envelope === 'string' ? { envelope, ...openCellMap(envelope) } : undefined;
  }

  async #loadMap(): Promise<void> {
    const stored = await this.#storedMap();
    // One signed by a former key of this supernode is signed anew by `setAddresses()`, its revocations kept.
    if (stored?.signer === this.key.peerId) this.trust.applyCellMap(stored.envelope, this.#now());
  }

  /** Signs and stores a map with the content that `next` makes of the present one, unless nothing changes. */
  async #publish(next: (content: MapContent) => MapContent): Promise<void> {
    const envelope = await this.#publishing.run(async () => {
      const stored = await this.#storedMap();
      const content = next(stored?.map ?? { supernodes: [], revoked: [] });
      if (stored?.signer === this.key.peerId && isSame(stored.map, content)) {
        return undefined;
      }
      // Never below the time: hosts ignore a lower epoch, and a state restored from a backup must not be ignored.
      const epoch = Math.max((stored?.map.epoch ?? 0) + 1, this.#now());
      const value = issueCellMap(this.key, { epoch, ...content });
      await this.#parts.state.commit([{ type: 'put', key: MAP_ROW, value }]);
      return value;
    });
    if (envelope === undefined) return;
    this.trust.applyCellMap(envelope, this.#now());
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

function isSame(map: CellMap, content: MapContent): boolean {
  const { supernodes, revoked } = map;
  return (
    JSON.stringify({ supernodes, revoked }) ===
    JSON.stringify({
      supernodes: content.supernodes,
      revoked: content.revoked,
    })
  );
}

function isPeerId(text: string): boolean {
  try {
    return publicKeyOf(text).length === 32;
  } catch {
    return false;
  }
}
