import test from 'ava';
import { CodedError } from '../../core/base/error.ts';
import { selectHosts } from './host-selector.ts';
import type { HostInventory, SelectableHost } from './host-selector.ts';

const traits: Readonly<Record<string, NonNullable<ReturnType<HostInventory['traitsOf']>>>> = {
  p1: { labels: { env: 'prod', group: 'web' }, facts: { arch: 'x64', cpus: 4 } },
  p2: { labels: { env: 'test', group: 'web' }, facts: { arch: 'arm64', cpus: 4 } },
  p3: { labels: { group: 'db', zone: 'a:b' }, facts: { arch: 'x64', cpus: 64 } },
  p4: { labels: {}, facts: {} },
};
const connected: readonly SelectableHost[] = [
  { peer: 'p3', hostname: 'db-1', idc: 'hz' },
  { peer: 'p1', hostname: 'web-1', idc: 'hz' },
  { peer: 'p2', hostname: 'web-2', idc: 'sh' },
  { peer: 'p4', hostname: 'odd' },
];
const away: SelectableHost = { peer: 'p9', hostname: 'web-9', idc: 'sz' };

/** The names of the hosts that a text means, or how it is refused. */
function select(text: string, isOffered: (host: SelectableHost) => boolean = () => true): string {
  const inventory: HostInventory = {
    traitsOf: (peer) => (peer === 'p9' ? { labels: { old: 'yes' }, facts: {} } : traits[peer]),
    all: () => [...connected, away],
  };
  const hosts = new Map(connected.map((host) => [host.peer, host]));
  try {
    const chosen = selectHosts(text, { hosts, inventory, isOffered, none: 'nobody' });
    return chosen.map(({ hostname }) => hostname).join(' ');
  } catch (error) {
    const { code, message } = CodedError.from(error);
    return `${code} ${message}`;
  }
}

test('each word adds hosts, in the order of their ids', (t) => {
  t.is(select('all'), 'web-1 web-2 db-1 odd');
  t.is(select('idc=hz'), 'web-1 db-1');
  t.is(select('host=web-2'), 'web-2');
  t.is(select('host=p2,host=web-1'), 'web-1 web-2');
  t.is(select('label=group:web'), 'web-1 web-2');
  t.is(select('label=zone:a:b'), 'db-1', 'a value may have colons');
  t.is(select('fact=arch:x64'), 'web-1 db-1');
  t.is(select('fact=cpus:4'), 'web-1 web-2', 'numbers as they are written');
  t.is(select('label=group:db,fact=arch:arm64'), 'web-2 db-1');
});

test('a word with a dash takes hosts away, wherever it stands', (t) => {
  t.is(select('all,-label=env:prod'), 'web-2 db-1 odd');
  t.is(select('-host=web-1,label=group:web'), 'web-2');
  t.is(select('all,-fact=arch:x64,-host=p4'), 'web-2');
  t.is(select('all,-idc=hz,idc=hz'), 'web-2 odd');
});

test('what would take away a host that is not here takes away none; one that nobody knows is an error', (t) => {
  for (const word of ['host=web-9', 'host=p9', 'idc=sz', 'label=old:yes']) {
    t.is(select(`all,-${word}`), 'web-1 web-2 db-1 odd');
  }
  for (const word of ['host=wbe-1', 'idc=hk', 'label=env:prd', 'fact=arch:mips', 'host=p8']) {
    t.regex(select(`all,-${word}`), new RegExp(`^ERR_NOT_FOUND on: .*-${word}$`));
  }
});

function offered({ peer }: SelectableHost): boolean {
  return peer !== 'p1';
}

test('hosts that are not offered are chosen by nothing, not even by name', (t) => {
  t.is(select('all', offered), 'web-2 db-1 odd');
  t.is(select('label=group:web', offered), 'web-2');
  t.is(select('host=web-1', offered), 'ERR_NOT_FOUND on: nobody for host=web-1');
  t.is(select('host=p1,all', offered), 'ERR_NOT_FOUND on: nobody for host=p1');
  t.is(select('idc=hz,-host=db-1', offered), 'ERR_NOT_FOUND on: no host is left');
});

test('what is no selector is refused by its word, whatever its length', (t) => {
  const words = [
    ['', '""'],
    ['all,', '""'],
    ['all,lable=env:prod', '"lable=env:prod"'],
    ['label=env', '"label=env"'],
    ['label=:x', '"label=:x"'],
    ['fact=cpus:', '"fact=cpus:"'],
    ['web-*', '"web-*"'],
    ['-all', '"-all"'],
    ['--host=web-1', '"--host=web-1"'],
    ['all, host=web-1', '" host=web-1"'],
    ['host=a=b', '"host=a=b"'],
    ['x'.repeat(8_000), `"${'x'.repeat(100)}"`],
  ] as const;
  for (const [text, word] of words) {
    t.true(select(text).startsWith(`ERR_REQUEST on: ${word} is no selector`), select(text));
  }
  t.regex(select('-host=web-1'), /^ERR_REQUEST on: "-host=web-1" takes hosts away from none/);
  t.regex(select('label=constructor:x'), /^ERR_NOT_FOUND/);
  t.regex(select('label=env:staging'), /^ERR_NOT_FOUND on: nobody for label=env:staging$/);
});
