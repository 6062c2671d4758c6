import { SeededRandom } from '../../core/base/random.ts';
import { pieceCount, pieceLengthFor, pieceRange } from '../../core/piece/piece-length.ts';
import { PeerGraph } from '../../supernode/schedule/peer-graph.ts';
import type { PeerLink } from '../../supernode/schedule/peer-graph.ts';
import { EventQueue } from './event-queue.ts';
import type { CardRates } from './sim-card.ts';
import { SimCard } from './sim-card.ts';
import { idcName } from './sim-case.ts';
import type { SimCase } from './sim-case.ts';
import { SimPipes } from './sim-pipe.ts';
import { SEED, SimHost } from './sim-host.ts';
import { SimSeed } from './sim-seed.ts';

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
  readonly seedCard: SimCard;
  readonly seed: SimSeed;
  /** How many hosts have each piece. */
  readonly copies: Uint32Array;
  moves = 0;
  hedges = 0;
  killedAtMs: number | undefined;
  readonly #case: SimCase;
  readonly #byName: ReadonlyMap<string, SimHost>;
  readonly #graph: PeerGraph;
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
    this.#graph = new PeerGraph({ random });
    const { idcs, thin = Number.POSITIVE_INFINITY } = about;
    this.pipes = idcs > 1 ? new SimPipes({ idcs, bytesPerMs: thin / 1000 }) : undefined;
    this.seedCard = this.newCard({ up: about.seedUp / 1000, down: about.originRate / 1000 });
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
    return this.seed.originBytes;
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
    const { hosts, originRate, joinOverMs } = this.#case;
    const everyMs = joinOverMs / Math.max(1, hosts - 1);
    for (const [at, host] of this.hosts.entries()) {
      if (joinOverMs === 0) this.#join(host);
      else this.queue.call(at * everyMs, () => this.#join(host));
    }
    this.seed.start(originRate / 1000);
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
    this.#link(this.#graph.more(host.name));
  }

  #join(host: SimHost): void {
    host.join();
    this.seed.join(host);
    this.#link(this.#graph.join(host.name, idcName(host.idc)));
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
