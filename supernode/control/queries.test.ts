import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import test from 'ava';
import type { CallTaker } from '../../core/swarm/call-taker.ts';
import { planQuery, runQuery } from '../../ops/control/host-query.ts';
import { operator } from '../../ops/control/principal.ts';
import type { VerbInput } from '../../ops/control/verbs.ts';
import { Rogue, waitFor } from '../../test/support/rogue.ts';
import type { Conversation } from '../../test/support/rogue.ts';
import { TestSwarm } from '../../test/support/swarm.ts';

type Line = Readonly<Record<string, unknown>>;

/** The lines that answer a query of the operator. */
async function ask(
  { supernode: { ops } }: TestSwarm,
  input: VerbInput<'host.query'>,
): Promise<Line[]> {
  const caller = { principal: operator, source: 'test' };
  using plan = await planQuery(ops, { input, caller });
  const reader = new PassThrough();
  const [answer] = await Promise.all([text(reader), runQuery(plan, reader)]);
  const lines = answer.trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as Line);
}

/** A member that says it answers queries. */
async function asked(
  swarm: TestSwarm,
): Promise<{ readonly rogue: Rogue; readonly talk: Conversation }> {
  const rogue = await Rogue.member(swarm.supernode);
  const address = `127.0.0.1:${swarm.supernode.meshPort}`;
  const talk = await rogue.control(address, { features: ['query'], hostname: 'rogue' });
  await talk.synced();
  return { rogue, talk };
}

test('an engine says how it is, with how many calls and tasks it has', async (t) => {
  await using swarm = await TestSwarm.start();
  const calls: CallTaker = {
    active: 3,
    onConnected: () => undefined,
    take: () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const engine = await swarm.host('one', { calls: async () => calls });
  const { ops } = swarm.supernode;
  await waitFor('the host', () => ops.hosts.find(engine.key.peerId)?.isConnected || undefined);
  const where = 'calls = 3 and tasks = 0 and memoryUsedPercent <= 100% and rootFreeBytes >= 0';
  const [, host, end] = await ask(swarm, { where, columns: ['all'] });
  t.like(host, { type: 'host', peer: engine.key.peerId, matches: 'yes' });
  t.deepEqual(host?.['unknown'], ['location'], 'it was told no place, and knows all else');
  t.like(end, { type: 'ended', counts: { hosts: 1, answered: 1, matched: 1 } });
});

test('a host that says nothing of queries is not asked, and keeps its session', async (t) => {
  await using swarm = await TestSwarm.start();
  await using old = await Rogue.member(swarm.supernode);
  const talk = await old.control(`127.0.0.1:${swarm.supernode.meshPort}`);
  t.true(await talk.synced());
  const [, host] = await ask(swarm, {});
  t.like(host, { type: 'refused', peer: old.peerId, code: 'ERR_PROTOCOL' });
  t.true(await talk.synced());
  t.false(talk.heard.some((message) => message?.['type'] === 'query'));
});

test('what a host tells that is no value of its kind is not known, and nothing else is taken from it', async (t) => {
  await using swarm = await TestSwarm.start();
  const { rogue, talk } = await asked(swarm);
  await using _rogue = rogue;
  // Before anybody asked, and by other numbers than the question has.
  for (let id = 0; id < 50; id += 1) talk.say({ type: 'values', id, values: { load1: 99 } });
  t.true(await talk.synced());
  const where = 'load1 < 5 or tasks = 7 or memoryUsedPercent > 1%';
  const answer = ask(swarm, { where, columns: ['all'] });
  const question = await talk.next('query');
  talk.say({ type: 'values', id: Number(question?.['id']) + 1, values: { load1: 98 } });
  const values = {
    load1: 'high',
    tasks: 7,
    peer: 'somebody-else',
    hostname: 'web-1',
    memoryUsedPercent: 1,
    memoryAvailableBytes: 5,
    rootFreeBytes: 9,
    rootTotalBytes: 3,
    constructor: 'x',
    later: 1,
  };
  talk.say({ type: 'values', id: question?.['id'], values });
  talk.say({ type: 'values', id: question?.['id'], values: { load1: 1 } });
  const [, host, end] = await answer;
  t.like(host, { type: 'host', peer: rogue.peerId, hostname: 'rogue', matches: 'yes' });
  const shown = host?.['values'] as Line;
  t.like(shown, { peer: rogue.peerId, hostname: 'rogue', tasks: 7, rootFreeBytes: 9 });
  for (const name of ['load1', 'memoryUsedPercent', 'rootUsedPercent', 'later', 'constructor']) {
    t.false(Object.hasOwn(shown, name), name);
  }
  t.like(end, { counts: { hosts: 1, answered: 1, matched: 1 } });
  t.true(await talk.synced(), 'the session goes on');
});

test('a host that refuses is told of with a code that there is, and few words', async (t) => {
  await using swarm = await TestSwarm.start();
  const { rogue, talk } = await asked(swarm);
  await using _rogue = rogue;
  const answers = [
    [{ error: { code: 'ERR_STORE_IO', message: 'x'.repeat(4_000) } }, 'ERR_STORE_IO', 200],
    [{ error: { code: 'MADE_UP', message: 'no' } }, 'ERR_INTERNAL', 2],
    [{}, 'ERR_PROTOCOL', 39],
  ] as const;
  for (const [said, code, length] of answers) {
    const answer = ask(swarm, {});
    const question = await talk.next('query');
    talk.say({ type: 'values', id: question?.['id'], ...said });
    const [, host, end] = await answer;
    t.like(host, { type: 'refused', code });
    t.true(String(host?.['message']).length <= Math.max(length, 60));
    t.like(end, { counts: { hosts: 1, answered: 0, refused: 1, silent: 0 } });
  }
});

for (const [what, values] of [
  ['more values than there may be', Object.fromEntries(numbered(33))],
  ['a value without end', { bootId: 'x'.repeat(129) }],
  ['a number that is none', { load1: -1 }],
  ['a value that is a structure', { load1: { deep: [] } }],
] as const) {
  test(`a host that answers with ${what} loses its session, and is silent`, async (t) => {
    await using swarm = await TestSwarm.start();
    const { rogue, talk } = await asked(swarm);
    await using _rogue = rogue;
    const answer = ask(swarm, { timeoutMs: 10_000 });
    const question = await talk.next('query');
    talk.say({ type: 'values', id: question?.['id'], values });
    const [, host, end] = await answer;
    t.like(host, { type: 'silent', peer: rogue.peerId, reason: 'its connection ended' });
    t.like(end, { counts: { hosts: 1, answered: 0, refused: 0, silent: 1 } });
    t.false(await talk.synced());
  });
}

function numbered(count: number): [string, number][] {
  return Array.from({ length: count }, (_unused, at) => [`v${at}`, at]);
}
