import { SeededRandom } from '../../core/base/random.ts';
import { pieceCount, pieceLengthFor, pieceRange } from '../../core/piece/piece-length.ts';
import { LEVEL_AFTER_MS, PeerGraph } from '../../supernode/schedule/peer-graph.ts';
import type { PeerLink } from '../../supernode/schedule/peer-graph.ts';
import { EventQueue } from './event-queue.ts';
import type { CardRates } from './sim-card.ts';
import { SimCard } from './sim-card.ts';
import { idcName } from './sim-case.ts';
import type { SimCase } from './sim-case.ts';
import { SimPipes } from './sim-pipe.ts';
import { SEED, SimHost } from './sim-host.ts';
import { SimSeed } from './sim-seed.ts';

/** Hosts come back to a supernode within so long, for each host and at least, as `core/swarm/supernode-client.ts` has it. */
const COMEBACK_MS = 2;
const LEAST_SPREAD_MS = 2_000;

/** All hosts, the seed and the scheduler of one case, and how far they are. */
export class SimWorld {
  readonly queue = new EventQueue();
  readonly pieces: number;
  readonly pieceLength: number;
  readonly delayMs: number;
  readonly idcs: number;
  readonly hosts: readonly SimHost[];
  /** Of hosts that stand in several idcs. */
  readonly pipes: SimPipes | undefined;
  seedCard: SimCard;
  seed: SimSeed;
  /** How many hosts have each piece. */
  readonly copies: Uint32Array;
  moves = 0;
  hedges = 0;
  killedAtMs: number | undefined;
  readonly #case: SimCase;
  readonly #byName: ReadonlyMap<string, SimHost>;
  readonly #random: SeededRandom;
  #graph: PeerGraph;
  /** When the scheduler last heard of a new host. */
  #enteredMs = 0;
  /** Nobody is there to tell anything. */
  #isLost = false;
  /** What seeds that are gone sent, and took of the origin. */
  readonly #before = { sent: 0, origin: 0 };
  #unfinished: number;
  #halfDone = 0;

  constructor(about: SimCase) {
    this.#case = about;
    this.delayMs = about.delayMs;
    this.idcs = about.idcs;
    this.pieceLength = pieceLengthFor(about.size);
    this.pieces = pieceCount(about.size, this.pieceLength);
    this.copies = new Uint32Array(this.pieces);
    const random = new SeededRandom(about.random);
    this.#random = random;
    this.#graph = new PeerGraph({ random });
    const { idcs, thin = Number.POSITIVE_INFINITY } = about;
    this.pipes = idcs > 1 ? new SimPipes({ idcs, bytesPerMs: thin / 1000 }) : undefined;
    this.seedCard = this.#newSeedCard();
    this.seed = new SimSeed(this);
    this.hosts = Array.from({ length: about.hosts }, (_item, at) => {
      const rates = { up: about.up / 1000, down: about.down / 1000 };
      const isSlow = at >= about.hosts - (about.slow?.hosts ?? 0);
      const factor = isSlow ? (about.slow?.factor ?? 1) : 1;
      return new SimHost(this, {
        name: `host${at}`,
        idc: at % about.idcs,
        rates: { up: rates.up * factor, down: rates.down * factor },
        random,
      });
    });
    this.#byName = new Map(this.hosts.map((host) => [host.name, host]));
    this.#unfinished = about.hosts;
  }

  /** Bytes that left the origin. */
  get originBytes(): number {
    return this.#before.origin + this.seed.originBytes;
  }

  /** Bytes that the seed sent. */
  get seedBytes(): number {
    return this.#before.sent + this.seedCard.sentBytes;
  }

  /** True while a living host of the idc has the piece. */
  isHeldIn(idc: string, piece: number): boolean {
    if (this.copies[piece] === 0) return false;
    if (this.idcs === 1) return true;
    return this.hosts.some(
      (host) => !host.isDown && host.have.has(piece) && idcName(host.idc) === idc,
    );
  }

  get isRunning(): boolean {
    return this.#unfinished > 0;
  }

  newCard(rates: CardRates, idc = 0): SimCard {
    const { blocks, maxActive, delayMs } = this.#case;
    const blockBytes = Math.ceil(this.pieceLength / blocks);
    const { pipes } = this;
    return new SimCard(this.queue, { rates, blockBytes, maxActive, delayMs, idc, pipes });
  }

  hostOf(name: string): SimHost | undefined {
    return this.#byName.get(name);
  }

  cardOf(parent: string): SimCard | undefined {
    return parent === SEED ? this.seedCard : this.#byName.get(parent)?.card;
  }

  bytesOf(piece: number): number {
    const { start, end } = pieceRange(piece, {
      length: this.#case.size,
      pieceLength: this.pieceLength,
    });
    return end - start;
  }

  /** Lets time pass until everybody is done or dead. */
  run(): void {
    const { hosts, originRate, joinOverMs, joinAtMs, lose } = this.#case;
    const everyMs = joinOverMs / Math.max(1, hosts - 1);
    for (const [at, host] of this.hosts.entries()) {
      const atMs = joinAtMs?.[at] ?? at * everyMs;
      if (atMs === 0) this.#join(host);
      else this.queue.call(atMs, () => this.#join(host));
    }
    this.seed.start(originRate / 1000);
    if (lose !== undefined) this.queue.call(lose.atMs, () => this.#loseSupernode(lose.backMs));
    while (this.#unfinished > 0 && this.queue.step());
  }

  onPiece(host: SimHost, piece: number): void {
    this.copies[piece] = (this.copies[piece] ?? 0) + 1;
    this.seed.report(host, piece);
    if (host.doneMs !== undefined) {
      this.#unfinished -= 1;
      this.queue.call(this.delayMs, () => this.seed.leave(host));
    }
    if (host.have.count === Math.ceil(this.pieces / 2)) this.#onHalf();
  }

  /** A host gets nothing: the scheduler gives it others. */
  onStuck(host: SimHost): void {
    if (this.#isLost) return;
    this.#link(this.#graph.more(host.name));
  }

  #join(host: SimHost): void {
    host.join();
    // Who comes meanwhile is known to nobody until it is back.
    if (this.#isLost) return;
    this.seed.join(host);
    this.#enter(host);
  }

  /** The scheduler hears of a host; when nobody has come for a while it levels the links. */
  #enter(host: SimHost): void {
    const graph = this.#graph;
    this.#link(graph.join(host.name, idcName(host.idc)));
    this.#enteredMs = this.queue.nowMs;
    this.queue.call(LEVEL_AFTER_MS, () => {
      const isLast = this.queue.nowMs - this.#enteredMs >= LEVEL_AFTER_MS;
      if (isLast && graph === this.#graph) this.#link(graph.level());
    });
  }

  #newSeedCard(): SimCard {
    return this.newCard({
      up: this.#case.seedUp / 1000,
      down: this.#case.originRate / 1000,
    });
  }

  /** Supernode and seed are gone: hosts have each other. What the seed had read stays on its disk. */
  #loseSupernode(backMs: number): void {
    this.#isLost = true;
    this.seed.stop();
    this.seedCard.cut();
    this.#before.sent += this.seedCard.sentBytes;
    this.#before.origin += this.seed.originBytes;
    this.seedCard = this.#newSeedCard();
    this.seedCard.cut();
    this.seed = new SimSeed(this, this.seed.read);
    this.queue.call(this.delayMs, () => {
      for (const host of this.hosts) host.loseSeed();
    });
    this.queue.call(backMs, () => this.#findSupernode());
  }

  /** It knows of nobody until hosts come back, each when chance has it. */
  #findSupernode(): void {
    this.#isLost = false;
    this.seedCard = this.#newSeedCard();
    this.#graph = new PeerGraph({ random: this.#random });
    this.seed.start(this.#case.originRate / 1000);
    const spreadMs = Math.max(LEAST_SPREAD_MS, this.hosts.length * COMEBACK_MS);
    for (const host of this.hosts) {
      if (!host.hasJoined) continue;
      this.queue.call(this.#random.next() * spreadMs, () => this.#comeBack(host));
    }
  }

  #comeBack(host: SimHost): void {
    if (host.isDown) return;
    host.findSeed();
    this.seed.comeBack(host);
    this.#enter(host);
  }

  #link(links: readonly PeerLink[]): void {
    for (const [one, other] of links) {
      const to = this.hostOf(other);
      if (to !== undefined) this.hostOf(one)?.link(to);
    }
  }

  #onHalf(): void {
    this.#halfDone += 1;
    const { hosts, kill } = this.#case;
    if (kill === 0 || this.killedAtMs !== undefined || this.#halfDone < hosts / 2) return;
    this.killedAtMs = this.queue.nowMs;
    for (const host of this.hosts.slice(hosts - Math.round(hosts * kill))) this.#kill(host);
  }

  #kill(host: SimHost): void {
    if (host.doneMs === undefined) this.#unfinished -= 1;
    host.card.cut();
    for (const piece of host.have.indexes()) this.copies[piece] = (this.copies[piece] ?? 0) - 1;
    this.queue.call(this.#case.noticeMs + this.delayMs, () => {
      for (const other of host.neighbours) other.unlink(host);
      this.seedCard.drop(host.card);
      this.seed.leave(host);
      this.seed.lost(host);
      this.#link(this.#graph.leave(host.name));
    });
  }
}
