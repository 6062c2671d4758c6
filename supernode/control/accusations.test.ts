import test from 'ava';
import { ManualClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { SwarmTable } from '../swarm-table/swarm-table.ts';
import type { HostEntry } from '../swarm-table/swarm-table.ts';
import { Accusations } from './accusations.ts';
import type { Accusation } from './accusations.ts';

const MINUTE = 60_000;
const task = 'a'.repeat(64);
const version = 'b'.repeat(16);

function hostOf(peer: string): HostEntry {
  return {
    peer,
    addresses: ['10.0.0.1:65002'],
    idc: undefined,
    location: undefined,
    hostname: undefined,
    role: 'host',
    isReachable: true,
    isConnected: true,
    lastSeenMs: 0,
    accusers: new Map(),
    quarantinedUntilMs: 0,
    withheldUntilMs: 0,
  };
}

/** A cell with one host that is accused, and others that may accuse. */
function begin(): {
  readonly clock: ManualClock;
  readonly table: SwarmTable;
  readonly accused: HostEntry;
  readonly accusations: Accusations;
  /** What the accusation says; true: it is worth hashing the version again. */
  readonly accuse: (accuser: string, rest?: Partial<Accusation>) => boolean;
} {
  const clock = new ManualClock();
  const table = new SwarmTable();
  const accusations = new Accusations({ table, clock, log: silentLog });
  const accused = hostOf(HostKey.generate().peerId);
  table.hosts.set(accused.peer, accused);
  const accuse = (accuser: string, rest: Partial<Accusation> = {}): boolean =>
    accusations.add({ accuser, accused: accused.peer, task, version, piece: 1, ...rest });
  return { clock, table, accused, accusations, accuse };
}

test('one accuser quarantines nobody, two do, for ten minutes', (t) => {
  const { clock, accused, accuse } = begin();
  for (let times = 0; times < 5; times += 1) accuse('one');
  t.is(accused.quarantinedUntilMs, 0);
  accuse('other');
  t.is(accused.quarantinedUntilMs, clock.monotonic() + 10 * MINUTE);
});

test('a host cannot accuse itself', (t) => {
  const { accused, accuse } = begin();
  t.false(accuse(accused.peer));
  accuse('one');
  t.is(accused.accusers.size, 1);
  t.is(accused.quarantinedUntilMs, 0);
});

test('a version is hashed again once for an accuser, whatever pieces it names and how often', (t) => {
  const { clock, accuse } = begin();
  t.true(accuse('one'));
  for (let piece = 0; piece < 100; piece += 1) {
    clock.advance(5_000);
    t.false(accuse('one', { piece }));
  }
  clock.advance(10 * MINUTE);
  t.true(accuse('one'), 'it may be wrong again by now');
});

test('a version is hashed again once a minute, however many accuse', (t) => {
  const { clock, accuse } = begin();
  t.true(accuse('one'));
  t.false(accuse('two'));
  t.true(accuse('three', { version: 'c'.repeat(16) }), 'another version');
  clock.advance(MINUTE);
  t.true(accuse('four'));
  clock.advance(MINUTE);
  t.true(accuse('two'), 'its first word was not followed');
});

test('one accuser has few versions hashed within ten minutes', (t) => {
  const { clock, accuse } = begin();
  let hashed = 0;
  for (let number = 0; number < 1_000; number += 1) {
    if (accuse('one', { version: number.toString(16).padStart(16, '0') })) hashed += 1;
    clock.advance(500);
  }
  t.is(hashed, 8);
  t.true(accuse('other', { version: 'd'.repeat(16) }));
});

test('the seed, which is no host, is hashed again as seldom', (t) => {
  const { accuse } = begin();
  t.true(accuse('one', { accused: 'the seed' }));
  t.false(accuse('one', { accused: 'the seed', piece: 2 }));
});

test('accusations are forgotten after half an hour', (t) => {
  const { clock, accused, accusations, accuse } = begin();
  accuse('one');
  clock.advance(31 * MINUTE);
  accusations.decay();
  t.is(accused.accusers.size, 0);
  accuse('other');
  t.is(accused.quarantinedUntilMs, 0);
});

test('coming back clears nobody', (t) => {
  const { clock, table, accused, accusations, accuse } = begin();
  accuse('one');
  accuse('other');
  table.removeHost(accused.peer);
  const again = hostOf(accused.peer);
  accusations.recall(again);
  t.is(again.quarantinedUntilMs, accused.quarantinedUntilMs);
  t.deepEqual([...again.accusers.keys()], ['one', 'other']);
  clock.advance(11 * MINUTE);
  table.hosts.set(again.peer, again);
  accuse('third');
  t.true(again.quarantinedUntilMs > clock.monotonic(), 'it is accused anew');
});

test('of one host 64 accusers are remembered', (t) => {
  const { accused, accuse } = begin();
  for (let accuser = 0; accuser < 100; accuser += 1) accuse(`accuser ${accuser}`);
  t.is(accused.accusers.size, 64);
});
