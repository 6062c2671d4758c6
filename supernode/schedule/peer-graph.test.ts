import test from 'ava';
import { assert, constantFrom, integer, nat, array, property, record } from 'fast-check';
import { SeededRandom } from '../../core/base/random.ts';
import { PeerGraph } from './peer-graph.ts';
import type { PeerLink } from './peer-graph.ts';

/** A graph, and beside it the links that it said are to be made. */
class Linked {
  readonly graph: PeerGraph;
  readonly links = new Map<string, Set<string>>();

  constructor(seed: number) {
    this.graph = new PeerGraph({ random: new SeededRandom(seed) });
  }

  join(peer: string, idc?: string): void {
    this.links.set(peer, new Set());
    this.#make(this.graph.join(peer, idc));
  }

  leave(peer: string): void {
    const made = this.graph.leave(peer);
    for (const other of this.links.get(peer) ?? []) this.links.get(other)?.delete(peer);
    this.links.delete(peer);
    this.#make(made);
  }

  more(peer: string, avoid?: ReadonlySet<string>): readonly PeerLink[] {
    const made = this.graph.more(peer, avoid);
    this.#make(made);
    return made;
  }

  level(): readonly PeerLink[] {
    const made = this.graph.level();
    this.#make(made);
    return made;
  }

  degrees(): number[] {
    return [...this.links.values()].map(({ size }) => size);
  }

  /** How many are reached from the first. */
  reached(): number {
    const [first] = this.links.keys();
    const seen = new Set(first === undefined ? [] : [first]);
    for (const peer of seen) for (const other of this.links.get(peer) ?? []) seen.add(other);
    return seen.size;
  }

  /** True when the graph's own picture is what it told. */
  isTrue(): boolean {
    return [...this.links].every(([peer, others]) => {
      const known = this.graph.linksOf(peer);
      return known.length === others.size && known.every((other) => others.has(other));
    });
  }

  #make(made: readonly PeerLink[]): void {
    for (const [one, other] of made) {
      if (one === other) throw new TypeError(`${one} is linked with itself`);
      if (this.links.get(one)?.has(other) === true) throw new TypeError(`${one} ${other} again`);
      this.links.get(one)?.add(other);
      this.links.get(other)?.add(one);
    }
  }
}

function joined(hosts: number, idcs = 1, seed = 1): Linked {
  const linked = new Linked(seed);
  for (let host = 0; host < hosts; host += 1) linked.join(`h${host}`, `idc${host % idcs}`);
  return linked;
}

test('few hosts are linked all with all', (t) => {
  for (const hosts of [2, 3, 16, 21]) {
    const linked = joined(hosts);
    t.true(linked.degrees().every((degree) => degree === hosts - 1));
  }
});

test('any number of hosts is connected, and nobody has many links more than others', (t) => {
  for (const hosts of [2, 5, 22, 23, 40, 100, 300, 1000, 2000]) {
    const linked = joined(hosts);
    t.is(linked.reached(), hosts);
    t.true(linked.isTrue());
    const degrees = linked.degrees();
    t.true(Math.min(...degrees) >= Math.min(14, hosts - 1), `${hosts} hosts`);
    t.true(Math.max(...degrees) <= 36, `${hosts} hosts`);
  }
});

test('a thousand hosts have about 28 links each', (t) => {
  const degrees = joined(1000).degrees();
  const mean = degrees.reduce((sum, degree) => sum + degree, 0) / degrees.length;
  t.true(mean > 27 && mean < 29, `${mean}`);
});

test('idcs are no islands, and few links go between them', (t) => {
  for (const [hosts, idcs] of [
    [2, 2],
    [6, 6],
    [40, 2],
    [400, 4],
    [501, 500],
  ] as const) {
    const linked = joined(hosts, idcs);
    t.is(linked.reached(), hosts);
    t.true(linked.isTrue());
  }
  const linked = joined(400, 2);
  const across = [...linked.links].map(
    ([peer, others]) =>
      [...others].filter((other) => Number(other.slice(1)) % 2 !== Number(peer.slice(1)) % 2)
        .length,
  );
  t.true(across.every((links) => links >= 2 && links <= 7));
});

test('those that lost many links are given others', (t) => {
  const linked = joined(300);
  for (let host = 0; host < 270; host += 1) linked.leave(`h${host}`);
  t.is(linked.reached(), 30);
  t.true(Math.min(...linked.degrees()) >= 8);
  t.true(linked.isTrue());
});

test('a host that is stuck is given others than it has and than it names', (t) => {
  const linked = joined(100);
  const before = new Set(linked.links.get('h7'));
  const avoid = new Set(['h1', 'h2', 'h3'].filter((peer) => !before.has(peer)));
  const made = linked.more('h7', avoid);
  t.true(made.length > 0);
  t.true(made.every(([one, other]) => one === 'h7' && !before.has(other) && !avoid.has(other)));
  for (let times = 0; times < 50; times += 1) linked.more('h7');
  t.true((linked.links.get('h7')?.size ?? 0) <= 46);
});

test('nobody is linked twice by joining twice, or after leaving', (t) => {
  const linked = joined(5);
  t.deepEqual(linked.graph.join('h2', 'idc0'), []);
  linked.leave('h2');
  t.deepEqual(linked.graph.leave('h2'), []);
  t.deepEqual(linked.graph.linksOf('h2'), []);
  t.deepEqual(linked.graph.more('h2'), []);
  t.is(linked.graph.size, 4);
});

test('whoever comes and goes, all that are there are connected', (t) => {
  const step = record({
    host: nat(60),
    idc: integer({ min: 0, max: 4 }),
    what: constantFrom('toggle', 'toggle', 'more'),
  });
  assert(
    property(nat(), array(step, { minLength: 20, maxLength: 200 }), (seed, steps) => {
      const linked = new Linked(seed);
      for (const { host, idc, what } of steps) {
        const peer = `h${host}`;
        if (what === 'more') linked.more(peer);
        else if (linked.graph.has(peer)) linked.leave(peer);
        else linked.join(peer, `idc${idc}`);
        if (linked.reached() !== linked.links.size || !linked.isTrue()) return false;
      }
      return true;
    }),
  );
  t.pass();
});

test('PeerGraph.level() gives the last to come about as many links as the others have', (t) => {
  const linked = new Linked(7);
  for (let host = 0; host < 300; host += 1) linked.join(`h${host}`);
  const few = linked.degrees().filter((degree) => degree < 20).length;
  t.true(few > 20, `${few}`);
  const made = linked.level();
  t.true(made.length < 3 * few, `${made.length} links for ${few} hosts`);
  t.true(linked.degrees().filter((degree) => degree < 20).length <= 4);
  t.true(linked.isTrue());
  t.deepEqual(linked.level(), []);
  for (let host = 300; host < 320; host += 1) linked.join(`h${host}`);
  t.true(linked.level().length > 0);
  t.true(Math.max(...linked.degrees()) <= 36);
});

test('PeerGraph.level() makes links within an idc only, and none where all are linked', (t) => {
  const linked = new Linked(8);
  for (let host = 0; host < 40; host += 1) linked.join(`a${host}`, 'a');
  for (let host = 0; host < 10; host += 1) linked.join(`b${host}`, 'b');
  const made = linked.level();
  t.true(made.length > 0);
  t.true(made.every(([one, other]) => one.startsWith('a') && other.startsWith('a')));
});
