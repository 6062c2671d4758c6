import test from 'ava';
import { ManualClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import type { Demand, Share } from '../wire/messages.ts';
import type { CellShare, Passage } from './host-limits.ts';
import { PartLimits } from './part-limits.ts';
import { ShareKeeper } from './share-keeper.ts';

const LEASE_MS = 30_000;
const still: Passage = { passed: 0, held: 0, isHolding: false };

class Host {
  readonly clock = new ManualClock();
  readonly sent: Demand[] = [];
  readonly parts = new PartLimits([{ host: 'a', bytesPerSecond: 300 }], this.clock);
  share: CellShare = {};
  download = still;
  readonly keeper = new ShareKeeper({
    limits: this.#limits(),
    named: this.parts,
    send: (demand) => void this.sent.push(demand),
    clock: this.clock,
    log: silentLog,
  });

  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 500) this.clock.advance(500);
  }

  #limits(): ConstructorParameters<typeof ShareKeeper>[0]['limits'] {
    const shown = (): CellShare => this.share;
    return {
      alone: { download: 700, upload: 0, origin: 0 },
      get share() {
        return shown();
      },
      setShare: (share) => void (this.share = share),
      passage: (name) => (name === 'download' ? this.download : still),
    };
  }
}

function shareOf(seq: number, rate: number): Share {
  return { type: 'share', seq, leaseMs: LEASE_MS, download: { rate, after: 5 } };
}

test('ShareKeeper puts a share in force, answers it, and falls to the least once the lease is over', (t) => {
  const host = new Host();
  using keeper = host.keeper;
  keeper.take(shareOf(3, 100));
  t.is(host.share.download, 100);
  t.is(host.share.origin, undefined);
  t.like(host.sent[0], { seq: 3, download: { rate: 0, wantsMore: false, most: 700 } });
  host.pass(LEASE_MS - 1_000);
  t.is(host.share.download, 100);
  keeper.take(shareOf(4, 100));
  host.pass(LEASE_MS - 1_000);
  t.is(host.share.download, 100);
  host.pass(2_000);
  t.is(host.share.download, 5);
});

test('ShareKeeper tells at once when more is wanted, each second while bytes move, and seldom when none do', (t) => {
  const host = new Host();
  using keeper = host.keeper;
  keeper.take(shareOf(1, 100));
  const before = host.sent.length;
  host.pass(9_000);
  t.is(host.sent.length, before);
  host.download = { passed: 100, held: 50, isHolding: true };
  host.pass(500);
  t.true(host.sent.at(-1)?.download.wantsMore);
  for (let second = 0; second < 5; second += 1) {
    const { passed } = host.download;
    host.download = { passed: passed + 100, held: 50, isHolding: true };
    host.pass(1_000);
  }
  t.like(host.sent.at(-1)?.download, { rate: 100, wantsMore: true });
  t.is(host.sent.length, before + 6);
  host.download = { ...host.download, isHolding: false };
  host.pass(1_000);
  t.like(host.sent.at(-1)?.download, { rate: 0, wantsMore: false });
});

test('ShareKeeper tells at the next look that what wanted more has stopped', (t) => {
  const host = new Host();
  using keeper = host.keeper;
  keeper.take(shareOf(1, 100));
  host.download = { passed: 100, held: 50, isHolding: true };
  host.pass(1_500);
  host.download = { passed: 180, held: 60, isHolding: false };
  host.pass(500);
  const before = host.sent.length;
  host.pass(500);
  t.is(host.sent.length, before + 1);
  t.like(host.sent.at(-1)?.download, { rate: 0, wantsMore: false });
  host.pass(5_000);
  t.is(host.sent.length, before + 1, 'and once');
});

test('ShareKeeper tells a supernode that comes back what it holds, while the lease lasts', (t) => {
  const host = new Host();
  using keeper = host.keeper;
  keeper.onConnected();
  t.is(host.sent.length, 0);
  keeper.take(shareOf(1, 100));
  keeper.onConnected();
  t.deepEqual(host.sent.at(-1)?.holds, { download: 100 });
  const { length } = host.sent;
  host.pass(LEASE_MS);
  keeper.onConnected();
  t.false(host.sent.slice(length).some(({ holds }) => holds !== undefined));
});

test('ShareKeeper frees what has no budget any more', (t) => {
  const host = new Host();
  using keeper = host.keeper;
  keeper.take(shareOf(1, 100));
  keeper.take({ type: 'share', seq: 2, leaseMs: LEASE_MS });
  host.pass(2 * LEASE_MS);
  t.deepEqual(host.share, { download: undefined, origin: undefined });
});

test('ShareKeeper puts shares with names in force, tells what is moved of them, and lowers them after the lease', (t) => {
  const host = new Host();
  const { keeper, parts, clock } = host;
  const { originHosts, idcs } = parts;
  const named = {
    'origin:a': { rate: 200, after: 4 },
    'origin:b': { rate: 500, after: 5 },
    'between:east|west': { rate: 900, after: 9 },
    'later:kind': { rate: 1, after: 1 },
  };
  keeper.take({ type: 'share', seq: 7, leaseMs: LEASE_MS, named });
  t.deepEqual([originHosts.rateOf('a'), originHosts.rateOf('b')], [200, 500]);
  t.deepEqual([originHosts.rateOf('c'), idcs.rateOf('east'), idcs.rateOf('west')], [0, 900, 0]);
  t.like(host.sent[0]?.named, { 'origin:a': { rate: 0, wantsMore: false, most: 300 } });
  originHosts.limiter('b').reserve(400);
  originHosts.limiter('b').reserve(400);
  clock.advance(1_000);
  t.like(host.sent.at(-1)?.named, { 'origin:b': { wantsMore: true, most: 0 } });
  t.true((host.sent.at(-1)?.named?.['origin:b']?.rate ?? 0) >= 400);
  t.is(host.sent.at(-1)?.seq, 7);
  keeper.onConnected();
  t.like(host.sent.at(-1)?.holds, { named: { 'origin:a': 200, 'between:east|west': 900 } });
  host.pass(LEASE_MS + 1_000);
  t.deepEqual([originHosts.rateOf('a'), idcs.rateOf('east')], [4, 9]);
  keeper.take({ type: 'share', seq: 8, leaseMs: LEASE_MS });
  t.deepEqual([originHosts.rateOf('a'), originHosts.rateOf('b'), idcs.rateOf('east')], [300, 0, 0]);
  keeper[Symbol.dispose]();
});
