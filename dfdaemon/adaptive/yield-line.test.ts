import test from 'ava';
import { SeededRandom } from '../../core/base/random.ts';
import { SimulatedLine } from './simulated-line.contract.ts';
import type { SimulatedLineOptions } from './simulated-line.contract.ts';
import { freshLine, lookAtLine, restOfLine } from './yield-line.ts';
import type { LineMemory } from './yield-line.ts';

const MB = 1e6;
const SEEDS = [1, 2, 3, 4, 5];

/** A host that downloads, its line, and what others do on it. */
class Host {
  readonly line: SimulatedLine;
  memory: LineMemory = freshLine;
  /** Looks with a ceiling. */
  yielded = 0;

  constructor(options: Partial<SimulatedLineOptions> & { readonly seed: number }) {
    const { seed, ...rest } = options;
    const random = new SeededRandom(seed);
    this.line = new SimulatedLine({ capacity: 12.5 * MB, connections: 8, random, ...rest });
  }

  /** Payload a second of ours and of others while so many seconds pass. */
  pass(seconds: number): { readonly own: number; readonly others: number } {
    const { line } = this;
    const [ours, others] = [line.ours, line.others];
    for (let look = 0; look < seconds * 4; look += 1) {
      this.memory = lookAtLine(this.memory, line.look());
      line.ceiling = this.memory.decision.ceiling;
      if (line.ceiling > 0) this.yielded += 1;
    }
    return { own: (line.ours - ours) / seconds, others: (line.others - others) / seconds };
  }
}

for (const [name, options] of Object.entries({
  'in the rack': {},
  'on a fast line': { capacity: 1_250 * MB, connections: 16 },
  'of slow growth': { growth: 2.5 },
  'against many connections': { connections: 16 },
})) {
  test(`yield-line: a flow that wants the whole line has 90 % of it: ${name}`, (t) => {
    for (const seed of SEEDS) {
      const host = new Host({ seed, ...options });
      const { capacity } = host.line;
      t.true(host.pass(10).own > 0.99 * capacity);
      host.line.other.wants = Infinity;
      const { others } = host.pass(30);
      const alone = new Host({ seed, ...options });
      alone.line.isOurs = false;
      alone.line.other.wants = Infinity;
      const kept = others / alone.pass(30).others;
      t.true(kept >= 0.88, `${kept} with the seed ${seed}`);
      const settled = host.pass(30);
      t.true(settled.others >= 0.9 * capacity, `${settled.others} with the seed ${seed}`);
      t.true(settled.own > 0.01 * capacity, 'nothing stands still');
      t.regex(host.memory.decision.reason, /other programs of this machine use it.*they move/);
    }
  });
}

test('yield-line: when others stop this host has 95 % of the line within 5 s', (t) => {
  for (const seed of SEEDS) {
    const host = new Host({ seed });
    host.pass(10);
    host.line.other.wants = Infinity;
    host.pass(20);
    host.line.other.wants = 0;
    host.pass(4);
    t.true(host.pass(1).own > 0.93 * host.line.capacity, `seed ${seed}`);
    t.is(host.memory.decision.cause, 'alone');
  }
});

test('yield-line: a host alone loses nothing, however late it counts its own bytes', (t) => {
  for (const seed of SEEDS) {
    for (const lagMs of [0, 100, 250]) {
      const host = new Host({ seed, lagMs });
      host.pass(60);
      t.is(host.yielded, 0, `seed ${seed}, ${lagMs} ms`);
    }
  }
});

test('yield-line: what others do not want this host takes', (t) => {
  for (const seed of SEEDS) {
    const host = new Host({ seed });
    host.pass(10);
    host.line.other.wants = 5 * MB;
    host.pass(10);
    const { own, others } = host.pass(20);
    t.true(others > 0.95 * 5 * MB, `${others}`);
    t.true(own > 5.5 * MB, `${own} of 7.5 MB/s with the seed ${seed}`);
  }
});

test('yield-line: a little of others, below what matters, costs a few per cent at most', (t) => {
  for (const seed of SEEDS) {
    const host = new Host({ seed });
    host.line.other.wants = 0.02 * host.line.capacity;
    const { own } = host.pass(60);
    t.true(own > 0.93 * host.line.capacity, `${own} with the seed ${seed}`);
  }
});

test('yield-line: a line that becomes slower is learned while others use it', (t) => {
  for (const seed of SEEDS) {
    const host = new Host({ seed });
    host.pass(10);
    host.line.capacity /= 2;
    host.line.other.wants = Infinity;
    host.pass(50);
    t.true(host.pass(20).others > 0.85 * host.line.capacity, `seed ${seed}`);
  }
});

test('yield-line: a line that carries more than was seen is found out by trying', (t) => {
  for (const seed of SEEDS) {
    const host = new Host({ seed });
    // All that was there to take was a tenth of the line.
    host.line.capacity /= 10;
    host.pass(10);
    host.line.capacity *= 10;
    host.line.other.wants = 1 * MB;
    host.pass(40);
    const { own } = host.pass(10);
    t.true(own > 8 * MB, `${own} of 11.5 MB/s with the seed ${seed}`);
  }
});

test('yield-line: after a rest what the line carries is still known, and who uses it is not', (t) => {
  const host = new Host({ seed: 1 });
  host.pass(10);
  host.line.other.wants = Infinity;
  host.pass(5);
  t.true(host.memory.decision.ceiling > 0);
  const rested = restOfLine(host.memory);
  t.is(rested.decision.ceiling, 0);
  t.deepEqual(rested.peak, host.memory.peak);
});
