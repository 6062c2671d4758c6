/** One direction of a line on which our connections meet a flow of somebody else, in steps of virtual time. */
import type { Random } from '../../core/base/random.ts';
import type { LineSample } from './line-window.ts';

/** How somebody else uses the line: bytes per second at most, Infinity for all it can get, 0 for nothing. */
export interface OtherFlow {
  wants: number;
}

/** What the line is like. */
export interface SimulatedLineOptions {
  /** Bytes per second. */
  readonly capacity: number;
  /** Ours, against one of the other flow. */
  readonly connections: number;
  /** The most that others can bring us, as a swarm of slow hosts; default no limit. */
  readonly supply?: number;
  /** By how much of itself the other flow may grow in a second; default tenfold. */
  readonly growth?: number;
  /** Our own bytes are counted up to so much too late; default 20 ms. */
  readonly lagMs?: number;
  readonly random: Random;
}

const STEP_MS = 50;
const LOOK_MS = 250;
/** A flow of which hardly anything is left comes back from here, as a part of the line. */
const SPARK = 0.01;

/** Steps through time; each look is 250 ms. */
export class SimulatedLine {
  readonly other: OtherFlow = { wants: 0 };
  /** As the policy set it; 0 is none. */
  ceiling = 0;
  /** True while we have something to move. */
  isOurs = true;
  capacity: number;
  /** Of all time, bytes. */
  ours = 0;
  others = 0;
  readonly #options: SimulatedLineOptions;
  #otherRate = 0;
  #counted = 0;

  constructor(options: SimulatedLineOptions) {
    this.#options = options;
    this.capacity = options.capacity;
  }

  /** Lets time pass up to the next look. */
  look(): LineSample {
    const [ours, others, counted] = [this.ours, this.others, this.#counted];
    let ownRate = 0;
    for (let ms = 0; ms < LOOK_MS; ms += STEP_MS) ownRate = this.#step();
    const lagMs = (this.#options.lagMs ?? 20) * this.#options.random.next();
    // Never back: what was counted was there.
    this.#counted = Math.max(counted, this.ours - (ownRate * lagMs) / 1_000);
    const total = this.ours - ours + (this.others - others);
    return { ms: LOOK_MS, total, own: this.#counted - counted };
  }

  #step(): number {
    const { connections, supply = Infinity, growth = 10 } = this.#options;
    const { capacity } = this;
    const limit = this.ceiling === 0 ? Infinity : this.ceiling;
    const ownWants = this.isOurs ? Math.min(limit, supply) : 0;
    const grown = Math.max(SPARK * capacity, this.#otherRate * growth ** (STEP_MS / 1_000));
    const otherWants = Math.min(this.other.wants, grown);
    // Each connection gets as much as another, and what one does not want goes to those that do.
    const fairOther = capacity / (connections + 1);
    const other = Math.min(otherWants, Math.max(fairOther, capacity - ownWants));
    const own = Math.min(ownWants, capacity - other);
    this.#otherRate = other;
    this.ours += (own * STEP_MS) / 1_000;
    this.others += (other * STEP_MS) / 1_000;
    return own;
  }
}
