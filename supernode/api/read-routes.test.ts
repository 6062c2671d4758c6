import test from 'ava';
import { CodedError } from '../../core/base/error.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { TASK, openBench } from '../../test/support/http-api-bench.ts';
import type { HostEntry } from '../swarm-table/swarm-table.ts';

const VERSION = 'b'.repeat(16);

function hostEntry(peer: string, more: Partial<HostEntry> = {}): HostEntry {
  return {
    peer,
    addresses: ['10.0.0.7:65002'],
    idc: 'east',
    location: undefined,
    hostname: 'node-7',
    role: 'host',
    isReachable: true,
    isConnected: true,
    lastSeenMs: 1_700_000_000_000,
    accusers: new Map(),
    quarantinedUntilMs: 0,
    withheldUntilMs: 0,
    ...more,
  };
}

const shape = { version: VERSION, pieceLength: 1024, length: 3000, validators: {} };

test('GET /api/v1/tasks/:task shows who has how much, and from where', async (t) => {
  const { call, table, seeds } = await openBench(t);
  const peers = [HostKey.generate().peerId, HostKey.generate().peerId].toSorted();
  const [one = '', other = ''] = peers;
  const accusers = new Map([[other, 0]]);
  table.hosts.set(one, hostEntry(one, { accusers, quarantinedUntilMs: 10 }));
  table.hosts.set(other, hostEntry(other, { hostname: undefined, idc: undefined }));
  const version = table.addVersion(TASK, shape);
  const first = version.peer(one);
  first.isActive = true;
  version.had(first, 0);
  Object.assign(first, { fromPeers: 10, fromSeed: 1014, failures: 1 });
  const second = version.peer(other);
  version.hasAll(second);
  Object.assign(second, { isActive: false, fromOrigin: 3000 });
  version.link(first, other);
  seeds.set(`${TASK}/${VERSION}`, {
    state: 'failed',
    stored: { pieces: { count: 2 } },
    originBytes: 2048,
    spec: { url: 'http://user:secret@origin:8080/file?sig=secret#x' },
    failure: new CodedError('ERR_ORIGIN_SHORT', 'short'),
  });
  const { status, json, text } = await call('GET', `/api/v1/tasks/${TASK}`);
  t.is(status, 200);
  t.false(text.includes('secret'));
  t.like(json.versions[0], {
    version: VERSION,
    pieceLength: 1024,
    length: 3000,
    pieces: 3,
    hosts: 2,
    activeHosts: 1,
    completeHosts: 1,
    fromPeers: 10,
    fromSeed: 1014,
    fromOrigin: 3000,
    seed: { state: 'failed', pieces: 2, originBytes: 2048, url: 'http://origin:8080/file' },
  });
  t.is(json.versions[0]?.seed.failure.code, 'ERR_ORIGIN_SHORT');
  const [oneRow, otherRow] = json.versions[0]?.peers.items ?? [];
  t.like(oneRow, {
    peer: one,
    hostname: 'node-7',
    idc: 'east',
    pieces: 1,
    isComplete: false,
    parents: [other],
    failures: 1,
    accusers: [other],
    fromSeed: 1014,
  });
  t.like(otherRow, { peer: other, pieces: 3, isComplete: true, isActive: false, children: 1 });
  const host = await call('GET', `/api/v1/hosts/${one}`);
  t.like(host.json, {
    peer: one,
    isQuarantined: true,
    accusers: [other],
    lastSeen: '2023-11-14T22:13:20.000Z',
  });
  t.deepEqual(host.json.tasks.items, [
    { task: TASK, version: VERSION, pieces: 1, isComplete: false, isActive: true },
  ]);
});

test('GET lists come in pages of bounded size, complete whatever the page', async (t) => {
  const { call, table } = await openBench(t);
  const peers = Array.from({ length: 7 }, () => HostKey.generate().peerId);
  for (const peer of peers) table.hosts.set(peer, hostEntry(peer));
  const seen: string[] = [];
  let after = '';
  for (let page = 0; page < 10; page += 1) {
    const { json } = await call('GET', `/api/v1/hosts?limit=3&after=${after}`);
    t.true(json.items.length <= 3);
    seen.push(...json.items.map(({ peer }) => peer));
    if (json.next === undefined) break;
    after = json.next;
  }
  t.deepEqual(seen, peers.toSorted());
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'limit=-1', 'other=1']) {
    const { status, json } = await call('GET', `/api/v1/hosts?${query}`);
    t.is(status, 400, query);
    t.regex(json.error.message, /^query\//);
  }
  for (let index = 0; index < 3; index += 1) {
    table.addVersion(index.toString(16).padStart(64, '0'), shape);
  }
  const tasks = await call('GET', '/api/v1/tasks?limit=2');
  t.is(tasks.json.items.length, 2);
  t.is(tasks.json.next, tasks.json.items[1]?.task);
});
