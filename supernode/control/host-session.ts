import { connect } from 'node:net';
import type { Clock } from '../../core/base/clock.ts';
import { parseHostPort } from '../../core/base/addresses.ts';
import { CodedError } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { Standing } from '../../core/base/standing.ts';
import type { MemberRecord } from '../../core/identity/membership.ts';
import { FairLimiter } from '../../core/net/fair-limiter.ts';
import type { MeshSession } from '../../core/net/mesh/mesh-node.ts';
import { Serial } from '../../core/store/serial.ts';
import { FromHost } from '../../core/wire/messages.ts';
import type {
  Announce,
  Call,
  CallStop,
  CallsHeard,
  FromSupernode,
  Hello,
  HostFacts,
  Membership,
  Query,
  Register,
  Revocations,
  Share,
  Warm,
  WarmStop,
} from '../../core/wire/messages.ts';
import { parser } from '../../core/wire/parse-message.ts';
import type { CallHost, CallListener } from '../../ops/control/call-host.ts';
import type { HostListener, PresentHost } from '../../ops/control/host-record.ts';
import type { QueryHost, QueryListener } from '../../ops/control/query-host.ts';
import type { ControlCounts } from '../control-counts.ts';
import type { WarmHost, WarmListener } from '../warm-up/warm-host.ts';
import type { LimitListener, LimitedHost } from '../traffic/cell-limits.ts';
import type { HostEntry } from '../swarm-table/swarm-table.ts';
import type { HostAddresses } from './host-addresses.ts';
import type { SourceBudget } from './source-budget.ts';
import type { Swarm } from './swarm.ts';
import { UpdateBatcher } from './update-batcher.ts';
import { WaitingLimit } from './waiting-limit.ts';

const parseMessage = parser(FromHost);
/** Questions for one host at a time: a quarter of what the seed asks origins at a time, for others wait too. */
const MAX_REGISTERING = 64;
/** Registrations of one host that wait: as many as a dfdaemon has downloads. */
const HOST_WAITING = { max: 4_096, maxBytes: 16 * 1024 * 1024, retryAfterMs: 2_000 };
/** Those of all hosts. */
export const CELL_WAITING = { max: 32_768, maxBytes: 256 * 1024 * 1024, retryAfterMs: 5_000 };
const NOW_MS = 10_000;
const DIAL_BACK_MS = 3_000;

export interface HostSessionParts {
  readonly swarm: Swarm;
  readonly budget: SourceBudget;
  readonly clock: Clock;
  readonly log: Log;
  readonly counts: ControlCounts;
  /** Registrations of all hosts that wait. */
  readonly waiting: WaitingLimit;
  readonly warmUps: WarmListener;
  readonly limits: LimitListener;
  readonly calls: CallListener;
  readonly queries: QueryListener;
  readonly hosts: HostListener;
  /** Which of the addresses that a host names are used. */
  readonly addresses: HostAddresses;
  membershipFor(member: { peerId: string; role: 'host' | 'seed'; idc: string }): Membership;
}

/** One connected host: takes its messages in order, answers, and passes news to it. */
export class HostSession implements WarmHost, LimitedHost, CallHost, QueryHost, PresentHost {
  readonly peer: string;
  readonly updates: UpdateBatcher;
  readonly #session: MeshSession;
  readonly #parts: HostSessionParts;
  readonly #record: MemberRecord;
  readonly #hello: Hello;
  readonly #controller = new AbortController();
  readonly #turns = new Serial();
  readonly #waiting: WaitingLimit;
  readonly #registering = new FairLimiter({
    mayEnter: (_priority, { all }) => all < MAX_REGISTERING,
    maxWaiting: HOST_WAITING.max,
  });

  constructor(
    session: MeshSession,
    member: { readonly record: MemberRecord; readonly hello: Hello },
    parts: HostSessionParts,
  ) {
    this.peer = session.remotePeerId;
    this.#session = session;
    this.#record = member.record;
    this.#hello = member.hello;
    this.#parts = parts;
    this.#waiting = new WaitingLimit(HOST_WAITING, parts.waiting);
    this.updates = new UpdateBatcher(parts.clock, async (update) => this.#sendInTurn(update), {
      onFull: (error) => void session.close(error),
    });
  }

  get hostname(): string | undefined {
    return this.#hello.hostname;
  }

  get idc(): string | undefined {
    return this.#record.idc;
  }

  get location(): string | undefined {
    return this.#hello.location;
  }

  get facts(): HostFacts | undefined {
    return this.#hello.facts;
  }

  get role(): 'host' | 'seed' {
    return this.#record.role === 'seed' ? 'seed' : 'host';
  }

  get takesOrders(): boolean {
    return this.#hello.features?.includes('warm') === true;
  }

  get takesShares(): boolean {
    return this.#hello.features?.includes('limits') === true;
  }

  get takesNamedShares(): boolean {
    return this.#hello.features?.includes('limits-named') === true;
  }

  get takesCalls(): boolean {
    return this.#hello.features?.includes('calls') === true;
  }

  get answersQueries(): boolean {
    return this.#hello.features?.includes('query') === true;
  }

  call(message: Call | CallStop | CallsHeard): void {
    this.send(message);
  }

  query(message: Query): void {
    this.send(message);
  }

  share(message: Share): void {
    this.send(message);
  }

  order(message: Warm | WarmStop): void {
    this.send(message);
  }

  /** Runs until the host is gone. */
  async run(): Promise<void> {
    const { swarm, clock, log, warmUps, limits, hosts, calls, queries } = this.#parts;
    const host = this.#entry();
    swarm.connected(this, host);
    warmUps.connected(this);
    limits.connected(this);
    hosts.connected(this);
    calls.connected(this);
    queries.connected(this);
    void this.#dialBack(host);
    const { hosts: connected } = swarm.table;
    const timer = clock.every(NOW_MS, () =>
      this.send({ type: 'now', now: clock.now(), hosts: connected.size }),
    );
    try {
      for await (const frame of this.#session.receive()) {
        host.lastSeenMs = clock.now();
        this.#take(parseMessage(frame));
      }
    } catch (error) {
      const { code, message } = CodedError.from(error);
      log.warn({ peer: this.peer, code, reason: message }, 'host connection ended');
    } finally {
      timer.cancel();
      this.#controller.abort(new CodedError('ERR_INTERRUPTED', 'the host is gone'));
      this.updates.close();
      swarm.disconnected(this);
      warmUps.disconnected(this);
      limits.disconnected(this);
      calls.disconnected(this);
      queries.disconnected(this);
      hosts.disconnected(this);
      await this.#session.close();
    }
  }

  /** Sends a fresh record with the certificates and revocations of now; a host that may have none is put out. */
  tellMembership(): void {
    const member = { peerId: this.peer, role: this.role, idc: this.#record.idc };
    try {
      this.send(this.#parts.membershipFor(member));
    } catch (error) {
      void this.#session.close(CodedError.from(error));
    }
  }

  /** That the revocations are still what they were. */
  tellRevocations(list: Revocations['list']): void {
    if (this.#hello.features?.includes('revocations') === true) {
      this.send({ type: 'revocations', list });
    }
  }

  send(message: FromSupernode): void {
    try {
      this.#session.send(message);
    } catch (error) {
      // The session closes itself when its queue is full; the host comes back and announces itself.
      this.#parts.log.debug({ peer: this.peer, err: error }, 'message not sent');
    }
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  /** True when its piece link takes a connection at one of the addresses. */
  async isReached(addresses: readonly string[], withinMs: number): Promise<boolean> {
    const { clock } = this.#parts;
    const reached = await Promise.all(
      addresses.map(async (address) => canConnect(address, clock, withinMs)),
    );
    return reached.includes(true);
  }

  /** For what is large: sends when the host has taken most of what was sent before; rejects when it is gone. */
  async #sendInTurn(message: FromSupernode): Promise<void> {
    const { signal } = this.#controller;
    await this.#turns.run(async () => {
      await this.#session.drained({ signal });
      this.send(message);
    });
  }

  #entry(): HostEntry {
    const { remoteAddress } = this.#session;
    const { taken, refused } = this.#parts.addresses.choose(this.#hello, remoteAddress);
    if (refused.length > 0) {
      this.#parts.log.warn(
        { peer: this.peer, address: remoteAddress, addresses: taken, refused: refused.length },
        'it names addresses that it does not connect from, which --advertise-allow does not let it',
      );
    }
    return {
      peer: this.peer,
      addresses: taken,
      idc: this.#record.idc,
      location: this.location,
      hostname: this.hostname,
      role: this.role,
      isReachable: true,
      isConnected: true,
      lastSeenMs: this.#parts.clock.now(),
      accusers: new Map(),
      quarantinedUntilMs: 0,
      withheldUntilMs: 0,
    };
  }

  #take(message: FromHost): void {
    this.#parts.counts.received(message);
    const { swarm } = this.#parts;
    switch (message.type) {
      case 'register':
        void this.#register(message);
        break;
      case 'report':
        for (const report of message.tasks) this.#try(() => swarm.report(this, report), report);
        break;
      case 'announce':
        this.#onAnnounce(message);
        break;
      case 'more-parents':
        this.#parts.log.info(
          { peer: this.peer, task: message.task, reason: message.reason },
          'host asks for other parents',
        );
        this.#try(() => swarm.moreParents(this, message), message);
        break;
      case 'renew-ticket':
        swarm.renewTicket(this, message);
        break;
      case 'ask-source': {
        const answer = this.#parts.budget.ask(message.task);
        const { id, task, reason } = message;
        this.#parts.log.warn(
          { peer: this.peer, task, asked: reason, ...answer },
          'host asks for the source',
        );
        this.send({ type: 'source', id, granted: answer.granted, reason: answer.reason });
        break;
      }
      case 'sync':
        this.send({ type: 'synced', id: message.id });
        break;
      case 'renew-record':
        this.tellMembership();
        break;
      case 'warmed':
        this.#parts.warmUps.warmed(this, message.orders);
        break;
      case 'demand':
        this.#parts.limits.demanded(this, message);
        break;
      case 'call-output':
        this.#parts.calls.wrote(this, message);
        break;
      case 'call-states':
        this.#parts.calls.told(this, message);
        break;
      case 'values':
        this.#parts.queries.told(this, message);
        break;
    }
  }

  /** What cannot be taken in of a host that is known to have too much is left out; it says it again. */
  #try(work: () => void, { task, version }: { task: string; version: string }): void {
    try {
      work();
    } catch (error) {
      const { code, message: reason } = CodedError.from(error);
      if (code !== 'ERR_BUSY') throw error;
      this.#parts.log.warn({ peer: this.peer, task, version, code, reason }, 'not taken in');
    }
  }

  #onAnnounce(message: Announce): void {
    const { swarm } = this.#parts;
    try {
      swarm.announce(this, message);
      if (swarm.needsProof(this, message)) void this.#prove(message);
    } catch (error) {
      this.#refuseAnnounced(message, CodedError.from(error));
    }
  }

  async #prove(message: Announce): Promise<void> {
    const { signal } = this.#controller;
    const { task, shape, spec } = message;
    try {
      // The manifest of the message need not wait with it.
      await this.#inTurn({ task, shape, spec }, new Standing(), async (about) => {
        await this.#parts.swarm.prove(this, about, { signal });
      });
    } catch (error) {
      if (!signal.aborted) this.#refuseAnnounced(message, CodedError.from(error));
    }
  }

  /** Nothing of it is used; a host that waits for the rest is told that it waits in vain. */
  #refuseAnnounced({ task, shape, active }: Announce, error: CodedError): void {
    const { code, message: reason } = error;
    this.#parts.log.warn({ peer: this.peer, task, code, reason }, 'announced content refused');
    if (active) this.updates.more({ task, version: shape.version }, { failed: error.toObject() });
  }

  async #register(message: Register): Promise<void> {
    const { swarm, counts } = this.#parts;
    const { signal } = this.#controller;
    try {
      await this.#inTurn(message, new Standing(message.priority), async () => {
        await this.#sendInTurn(await swarm.register(this, message, { signal }));
      });
      counts.registered('ok');
    } catch (error) {
      const { code, message: text, detail } = CodedError.from(error);
      counts.registered(code);
      // Whoever is refused for being too many, here or at the seed, is told when to come again.
      const retry = code === 'ERR_BUSY' ? { retryAfterMs: HOST_WAITING.retryAfterMs } : {};
      const failure = { code, message: text, detail: { ...retry, ...detail } };
      this.send({ type: 'rejected', id: message.id, error: failure });
    }
  }

  /** Does what an origin is asked for when it is this host's turn; ERR_BUSY when too much waits already. */
  async #inTurn<T extends object>(
    about: T,
    standing: Standing,
    work: (about: T) => Promise<void>,
  ): Promise<void> {
    const { signal } = this.#controller;
    using _room = this.#waiting.take(JSON.stringify(about).length);
    using _slot = await this.#registering.acquire({ signal, standing });
    await work(about);
  }

  /** A host nobody can reach may still take; it is offered to nobody. */
  async #dialBack(host: HostEntry): Promise<void> {
    host.isReachable = await this.isReached(host.addresses, DIAL_BACK_MS);
    if (host.isReachable) return;
    this.#parts.log.warn(
      { peer: this.peer, addresses: host.addresses },
      'its piece link cannot be reached: it takes pieces but is offered to nobody',
    );
  }
}

async function canConnect(address: string, clock: Clock, withinMs: number): Promise<boolean> {
  const target = parseHostPort(address);
  if (target === undefined) return false;
  const socket = connect(target);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  const timer = clock.after(withinMs, () => resolve(false));
  try {
    return await promise;
  } finally {
    timer.cancel();
    socket.destroy();
  }
}
