import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Clock, Timer } from '../base/clock.ts';
import { formatHostPort } from '../base/addresses.ts';
import { CodedError } from '../base/error.ts';
import type { Log } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { CellTime } from '../identity/cell-time.ts';
import type { HostKey } from '../identity/host-key.ts';
import { parseToken } from '../identity/join-token.ts';
import type { JoinToken } from '../identity/join-token.ts';
import type { MemberRecord } from '../identity/membership.ts';
import { RevocationAge } from '../identity/revocation-age.ts';
import type { StampedList } from '../identity/revocation-age.ts';
import { CellTrust } from '../identity/trust.ts';
import { MeshNode } from '../net/mesh/mesh-node.ts';
import type { Check, FromHost, Hello, Membership, Update } from '../wire/messages.ts';
import type { Downloader } from './download-events.ts';
import { readHostFacts } from './host-facts.ts';
import { joinCell } from './join-cell.ts';
import { MembershipFile } from './membership-file.ts';
import type { KnownCell } from './membership-file.ts';
import { ShareKeeper } from './share-keeper.ts';
import type { ShareKeeperParts } from './share-keeper.ts';
import { SupernodeClient } from './supernode-client.ts';
import type { TransferPool } from './transfer-pool.ts';
import type { CallTaker, CallWay } from './call-taker.ts';
import { ValueTeller } from './value-teller.ts';
import type { ReadValues } from './value-teller.ts';
import { WarmOrders } from './warm-orders.ts';

export interface CellMemberOptions {
  readonly dataDir: string;
  readonly supernodes: readonly string[];
  readonly joinToken?: string;
  readonly idc?: string;
  readonly location?: string;
  readonly wantsSeed?: boolean;
  /** Without port. */
  readonly advertise?: readonly string[];
}

interface Parts {
  readonly key: HostKey;
  readonly pool: Pick<TransferPool, 'linkPort' | 'setTrust'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Who acts on what the supernode says about tasks. */
export interface TaskListener {
  /** Downloads that are running. */
  readonly active: number;
  onConnected(): void;
  onUpdate(update: Update): void;
  onCheck(check: Check): void;
  /** The supernode counts this host among those that download the version. */
  onUnwanted(task: string, version: string): void;
}

const RENEWAL_CHECK_MS = 60_000;
/** Of those that a `Membership` has room for, the newest. */
const MAX_CERTIFICATES = 64;
/** Workers are told of the cell time when theirs is so far off: a machine that slept, for one. */
const TIME_SLACK_MS = 1_000;

/** This host as a member of its cell: its record, whom it trusts, and its connection to the supernode. */
export class CellMember implements AsyncDisposable {
  readonly client: SupernodeClient;
  readonly #options: CellMemberOptions;
  readonly #parts: Parts;
  readonly #mesh: MeshNode;
  readonly #file: MembershipFile;
  readonly #token: JoinToken | undefined;
  readonly #time: CellTime;
  #membership: Membership | undefined;
  #trust: CellTrust | undefined;
  #age: RevocationAge | undefined;
  #record: MemberRecord | undefined;
  /** Why what an earlier run was granted does not hold any more. */
  #lapse: CodedError | undefined;
  /** Why the supernode did not take the record, when that was the last thing it said: then this host joins anew. */
  #refusal: CodedError | undefined;
  #listener: TaskListener | undefined;
  /** Set on a host that stays, and so is of use to others: it takes orders to fetch. */
  #orders: WarmOrders | undefined;
  #calls: CallTaker | undefined;
  /** Set on a host that says how it is when it is asked. */
  #values: ValueTeller | undefined;
  /** Keeps to this host's part of the cell's budgets. */
  #share: ShareKeeper | undefined;
  #renewal: Timer | undefined;
  /** What was heard last is being written down, after all that was heard before. */
  #adopting: Promise<void> = Promise.resolve();

  private constructor(
    options: CellMemberOptions,
    parts: Parts,
    state: { readonly mesh: MeshNode; readonly token: JoinToken | undefined },
  ) {
    this.#options = options;
    this.#parts = parts;
    this.#mesh = state.mesh;
    this.#token = state.token;
    this.#file = new MembershipFile(join(options.dataDir, 'identity', 'membership.json'));
    this.#time = new CellTime(parts.clock);
    const { clock, random, log } = parts;
    this.client = new SupernodeClient({
      mesh: state.mesh,
      addresses: options.supernodes,
      clock,
      random,
      log,
      hello: () => this.#hello(),
      ensureMember: async (address, signal) => this.#ensureMember(address, signal),
      verifySupernode: (peer) => this.verifySupernode(peer),
      isDownloading: () => (this.#listener?.active ?? 0) > 0,
      onRefused: (error) => (this.#refusal = error),
      listener: {
        onConnected: () => {
          this.#shareTrust();
          this.#share?.onConnected();
          this.#listener?.onConnected();
          this.#calls?.onConnected();
        },
        onDisconnected: (error) => {
          log.warn({ code: error?.code, reason: error?.message }, 'supernode lost');
          this.#shareTrust();
        },
        onMembership: (membership) => this.#adopt(membership),
        onRevocations: ({ list }) => this.#renewAge(list),
        onNow: (now) => this.#observe(now),
        onUpdate: (update) => this.#listener?.onUpdate(update),
        onCheck: (check) => this.#listener?.onCheck(check),
        onShare: (share) => this.#share?.take(share),
        onOrder: (order) => this.#orders?.take(order),
        onCall: (message) => this.#calls?.take(message),
        onQuery: (query) => this.#values?.take(query),
        onUnwanted: ({ task, shape }) => this.#listener?.onUnwanted(task, shape.version),
      },
    });
  }

  /** Loads what an earlier run learned and starts the mesh node; connects to nobody yet. */
  static async open(options: CellMemberOptions, parts: Parts): Promise<CellMember> {
    const token = options.joinToken === undefined ? undefined : parseToken(options.joinToken);
    const { key, clock, random, log } = parts;
    const mesh = await MeshNode.start({
      privateKeyProtobuf: key.libp2pPrivateKey(),
      clock,
      random,
      log,
    });
    const member = new CellMember(options, parts, { mesh, token });
    try {
      const known = await member.#file.read();
      // A token of another cell means the host moves: what it knew of the old one is dropped.
      if (known !== undefined && (token === undefined || token.cell === known.cell)) {
        await member.#recall(known);
      } else if (token === undefined) {
        throw new CodedError(
          'ERR_TOKEN',
          'this host is no member of a cell yet: give --join-token',
        );
      }
      return member;
    } catch (error) {
      await member[Symbol.asyncDispose]();
      throw error;
    }
  }

  get peerId(): string {
    return this.#parts.key.peerId;
  }

  /** Role, idc and expiry that the cell granted; undefined before the first join, and once they do not hold. */
  get record(): MemberRecord | undefined {
    return this.#record;
  }

  /** True for a member, and for a host that was one and has to join again. */
  get hasJoined(): boolean {
    return this.#membership !== undefined;
  }

  /** Cell time, milliseconds since the epoch. */
  now(): number {
    return this.#time.now();
  }

  /** Throws when the peer is not a certified supernode of the cell. */
  verifySupernode(peer: string): void {
    if (this.#trust === undefined) throw new CodedError('ERR_NOT_MEMBER', 'not joined yet');
    this.#trust.verifySupernode(peer, this.now());
  }

  /** What somebody who takes calls has of the cell. */
  callWay(): CallWay {
    const cell = (): string | undefined => this.#trust?.cell;
    return {
      key: this.#parts.key,
      get cell() {
        return cell();
      },
      now: () => this.now(),
      isRevoked: (peer) => this.#trust?.isRevoked(peer) === true,
      staleness: (limit) => this.#age?.problem(limit),
      send: (message) => this.client.send(message),
      sendInTurn: async (message) => this.client.sendInTurn(message),
    };
  }

  /** Calls for this host go to `taker` from now on; before `start()`. */
  takeCalls(taker: CallTaker): void {
    this.#calls = taker;
  }

  /** This host says from now on how it is when the supernode asks; before `start()`. */
  tellValues(read: ReadValues): void {
    const send = (message: FromHost): void => this.client.send(message);
    this.#values = new ValueTeller({ read, send, clock: this.#parts.clock });
  }

  /** Begins to connect; what the supernode orders to be fetched is fetched by `downloader`, if there is one. */
  start(
    listener: TaskListener,
    traffic?: Pick<ShareKeeperParts, 'limits' | 'named'>,
    downloader?: Pick<Downloader, 'download'>,
  ): void {
    this.#listener = listener;
    const { clock, log } = this.#parts;
    const send = (message: FromHost): void => this.client.send(message);
    if (traffic !== undefined) this.#share = new ShareKeeper({ ...traffic, send, clock, log });
    if (downloader !== undefined) {
      this.#orders = new WarmOrders({ downloader, send, clock, log });
    }
    this.#renewal = this.#parts.clock.every(RENEWAL_CHECK_MS, () => this.#renewWhenDue());
    this.client.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#renewal?.cancel();
    this.#share?.[Symbol.dispose]();
    await this.#orders?.[Symbol.asyncDispose]();
    await this.#calls?.[Symbol.asyncDispose]();
    await this.client[Symbol.asyncDispose]();
    await this.#mesh[Symbol.asyncDispose]();
    await this.#adopting;
  }

  #hello(): Hello {
    const { location, advertise = [] } = this.#options;
    const port = this.#parts.pool.linkPort;
    return {
      v: 1,
      record: this.#membership?.record ?? '',
      addresses: port === undefined ? [] : advertise.map((host) => formatHostPort({ host, port })),
      hostname: hostname(),
      ...(port === undefined ? {} : { linkPort: port }),
      ...(location === undefined ? {} : { location }),
      facts: { ...readHostFacts(), ...this.#calls?.facts },
      features: [
        ...(this.#orders === undefined ? [] : ['warm']),
        ...(this.#calls === undefined ? [] : ['calls', 'revocations']),
        ...(this.#values === undefined ? [] : ['query']),
        ...(this.#share === undefined ? [] : ['limits', 'limits-named']),
      ],
    };
  }

  async #ensureMember(address: string, signal: AbortSignal): Promise<void> {
    const refusal = this.#refusal;
    this.#refusal = undefined;
    const holds = this.#record !== undefined && this.#record.expires > this.now();
    const token = this.#token;
    if (holds && (refusal === undefined || token === undefined)) return;
    if (token === undefined) {
      const why = this.#lapse?.message ?? 'the membership record has expired';
      throw new CodedError('ERR_TOKEN', `${why}: give --join-token, this host has to join again`);
    }
    try {
      await this.#join(address, token, signal);
    } catch (error) {
      // A host that was a member is told why it is one no more, and not that its old token has expired.
      throw holds ? refusal : error;
    }
  }

  async #join(address: string, token: JoinToken, signal: AbortSignal): Promise<void> {
    const { idc, wantsSeed } = this.#options;
    const wants = {
      ...(idc === undefined ? {} : { idc }),
      ...(wantsSeed === true ? { role: 'seed' as const } : {}),
    };
    const about = { token, wants, now: this.now(), clock: this.#parts.clock, signal };
    const membership = await joinCell(this.#mesh, address, about);
    this.#time.observe(membership.now);
    await this.#use(token.cell, membership);
    await this.#keep();
    this.#parts.log.info(
      { peer: this.peerId, role: this.#record?.role, idc: this.#record?.idc },
      'joined',
    );
  }

  /** Takes the cell time that the supernode told; the workers have a copy of it. */
  #observe(cellNowMs: number): void {
    const before = this.now();
    this.#time.observe(cellNowMs);
    if (Math.abs(this.now() - before) > TIME_SLACK_MS) this.#shareTrust();
  }

  /** Takes a newer record or newer certificates from the supernode. */
  #adopt(membership: Membership): void {
    const cell = this.#trust?.cell;
    if (cell === undefined) return;
    this.#time.observe(membership.now);
    this.#adopting = this.#use(cell, membership)
      .then(async () => this.#keep())
      .catch((error: unknown) => this.#parts.log.warn({ err: error }, 'membership not taken over'));
  }

  /** Takes what an earlier run learned: whom to trust in any case, and the record as long as it holds. */
  async #recall({ cell, membership }: KnownCell): Promise<void> {
    const { certificates, map, revocations } = membership;
    // All this was judged when it was taken: its signers may have retired since.
    const trust = CellTrust.fromData({ cell, certificates, ...(map === undefined ? {} : { map }) });
    const age = new RevocationAge(trust);
    if (revocations !== undefined) age.recall(revocations);
    try {
      this.#record = this.#recordIn(trust, membership);
    } catch (error) {
      // What is kept here is served all the same, and a supernode or another token may put it right.
      this.#lapse = CodedError.from(error);
      const { code, message } = this.#lapse;
      this.#parts.log.warn({ code, reason: message }, 'this host has to join its cell again');
    }
    await this.#believe({ trust, age }, membership);
  }

  /** Takes what a supernode granted; throws, and leaves everything as it was, when that does not hold. */
  async #use(cell: string, membership: Membership): Promise<void> {
    const known = this.#trust?.cell === cell ? this.#trust : undefined;
    const trust = known ?? new CellTrust(cell);
    for (const certificate of membership.certificates) trust.addCertificate(certificate);
    if (membership.map !== undefined) trust.applyCellMap(membership.map, membership.now);
    const age = (known === undefined ? undefined : this.#age) ?? new RevocationAge(trust);
    if (membership.revocations !== undefined) this.#date(age, membership.revocations);
    this.#record = this.#recordIn(trust, membership);
    this.#lapse = undefined;
    await this.#believe({ trust, age }, membership);
  }

  #recordIn(trust: CellTrust, { record }: Membership): MemberRecord {
    return trust.verifyRecord(record, { peerId: this.peerId, now: this.now() });
  }

  async #believe(
    { trust, age }: { readonly trust: CellTrust; readonly age: RevocationAge },
    membership: Membership,
  ): Promise<void> {
    this.#membership = membership;
    this.#trust = trust;
    this.#age = age;
    await this.#tellWorkers();
  }

  /** A date that nobody may give is as good as none, and no reason to do without the rest. */
  #date(age: RevocationAge, list: StampedList): boolean {
    try {
      return age.take(list, this.now());
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      this.#parts.log.warn({ code, reason }, 'date of the revocations not taken over');
      return false;
    }
  }

  /** Takes a newer date of the revocations that this host has. */
  #renewAge(list: StampedList): void {
    if (this.#age === undefined || !this.#date(this.#age, list)) return;
    this.#adopting = this.#keep().catch((error: unknown) =>
      this.#parts.log.warn({ err: error }, 'date of the revocations not kept'),
    );
  }

  /**
   * Writes down what the next run is to know: the newest map and the newest date of it that were verified, whatever the
   * last supernode said. Nobody makes this host forget a revocation by a restart.
   */
  async #keep(): Promise<void> {
    const [trust, age, membership] = [this.#trust, this.#age, this.#membership];
    if (trust === undefined || membership === undefined) return;
    const { type, record, now } = membership;
    const { cell, map } = trust.toData();
    const revocations = age?.toData();
    await this.#file.write({
      cell,
      membership: {
        type,
        record,
        certificates: trust.certificates().slice(-MAX_CERTIFICATES),
        ...(map === undefined ? {} : { map }),
        ...(revocations === undefined ? {} : { revocations }),
        now,
      },
    });
  }

  #shareTrust(): void {
    this.#tellWorkers().catch((error: unknown) => {
      this.#parts.log.debug({ err: error }, 'workers not told of the cell');
    });
  }

  async #tellWorkers(): Promise<void> {
    const [trust, membership] = [this.#trust, this.#membership];
    if (trust === undefined || membership === undefined) return;
    const isSupervised = this.client.isConnected;
    const { record } = membership;
    await this.#parts.pool.setTrust({
      cell: trust.toData(),
      record,
      now: this.now(),
      isSupervised,
    });
  }

  #renewWhenDue(): void {
    const record = this.#record;
    if (record === undefined) return;
    const half = record.issued + (record.expires - record.issued) / 2;
    if (this.now() > half) this.client.send({ type: 'renew-record' });
  }
}
