import test from 'ava';
import type { Registered } from '../../core/wire/messages.ts';
import { taskIdOf } from '../../core/piece/task-id.ts';
import { Rogue } from '../../test/support/rogue.ts';
import type { Conversation } from '../../test/support/rogue.ts';
import { TestSwarm } from '../../test/support/swarm.ts';
import { until } from '../../test/support/until.ts';

const MIB = 1024 * 1024;

/** A member that has registered the task of `url`, and what it was told. */
async function registered(
  swarm: TestSwarm,
  url: string,
): Promise<{ rogue: Rogue; talk: Conversation; reply: Registered }> {
  const rogue = await Rogue.member(swarm.supernode);
  const talk = await rogue.control(`127.0.0.1:${swarm.supernode.meshPort}`);
  talk.say({ type: 'register', id: 1, task: taskIdOf({ url }), spec: { url } });
  // The schema is checked by the hosts of other tests.
  const reply = (await talk.next('registered')) as unknown as Registered;
  return { rogue, talk, reply };
}

test('a host that is accused over and over hashes its content once', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content: { seed: 1, length: 2 * MIB } });
  const accused = await registered(swarm, swarm.origin.url('/f'));
  const accuser = await registered(swarm, swarm.origin.url('/f'));
  const { task, shape } = accused.reply;
  const about = { task, version: shape.version };
  for (let piece = 0; piece < 50; piece += 1) {
    const failures = [{ parent: accused.rogue.peerId, piece, code: 'ERR_PIECE_DIGEST' }];
    accuser.talk.say({ type: 'report', tasks: [{ ...about, failures }] });
  }
  t.true(await accuser.talk.synced());
  t.true(await accused.talk.synced());
  const checks = accused.talk.heard.filter(({ type }) => type === 'check');
  t.deepEqual(checks, [{ type: 'check', ...about, piece: 0 }]);
  await accused.rogue[Symbol.asyncDispose]();
  await accuser.rogue[Symbol.asyncDispose]();
});

test('the seed that is accused over and over hashes its content once', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content: { seed: 1, length: 2 * MIB } });
  const { rogue, talk, reply } = await registered(swarm, swarm.origin.url('/f'));
  const { task, shape } = reply;
  const about = { task, version: shape.version };
  const stored = swarm.supernode.store.find(task, shape.version);
  await until(() => stored?.isComplete === true);
  let hashed = 0;
  const rehash = stored?.rehash.bind(stored);
  if (stored === undefined || rehash === undefined) return t.fail();
  stored.rehash = async (options) => {
    hashed += 1;
    return rehash(options);
  };
  const parent = swarm.supernode.authority.key.peerId;
  for (let piece = 0; piece < 20; piece += 1) {
    const failures = [{ parent, piece, code: 'ERR_PIECE_DIGEST' }];
    talk.say({ type: 'report', tasks: [{ ...about, failures }] });
    t.true(await talk.synced());
  }
  t.is(hashed, 1);
  await rogue[Symbol.asyncDispose]();
});

test('who never had a version cannot be accused of it', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content: { seed: 1, length: 2 * MIB } });
  swarm.origin.set('/other', { content: { seed: 2, length: 2 * MIB } });
  const bystander = await registered(swarm, swarm.origin.url('/other'));
  const accusers = [
    await registered(swarm, swarm.origin.url('/f')),
    await registered(swarm, swarm.origin.url('/f')),
  ];
  for (const { talk, reply, rogue } of accusers) {
    const { task, shape } = reply;
    const failures = [{ parent: bystander.rogue.peerId, piece: 0, code: 'ERR_PIECE_DIGEST' }];
    talk.say({ type: 'report', tasks: [{ task, version: shape.version, failures }] });
    t.true(await talk.synced());
    await rogue[Symbol.asyncDispose]();
  }
  t.is(swarm.supernode.table.hosts.get(bystander.rogue.peerId)?.quarantinedUntilMs, 0);
  await bystander.rogue[Symbol.asyncDispose]();
});

test('a host that two children lost is offered to nobody for a while, and one that one child lost is looked at', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content: { seed: 1, length: 2 * MIB } });
  const url = swarm.origin.url('/f');
  const lost = await registered(swarm, url);
  const { peerId } = lost.rogue;
  const host = swarm.supernode.table.hosts.get(peerId);
  if (host === undefined) return t.fail();
  // Somebody takes connections there.
  host.addresses = [`127.0.0.1:${swarm.supernode.linkPort}`];
  host.isReachable = true;
  const children = [await registered(swarm, url), await registered(swarm, url)];
  for (const [at, { talk, reply }] of children.entries()) {
    t.true(reply.parents.some(({ peer }) => peer === peerId));
    const failures = [{ parent: peerId, piece: 0, code: 'ERR_LINK' }];
    const { task, shape } = reply;
    talk.say({ type: 'report', tasks: [{ task, version: shape.version, failures }] });
    t.true(await talk.synced());
    t.is(host.withheldUntilMs > 0, at === 1, `after ${at + 1}`);
  }
  const newcomer = await registered(swarm, url);
  t.false(newcomer.reply.parents.some(({ peer }) => peer === peerId));
  host.withheldUntilMs = 0;
  host.addresses = ['127.0.0.1:1'];
  const failures = [{ parent: peerId, piece: 0, code: 'ERR_LINK' }];
  const { task, shape } = newcomer.reply;
  await until(() => {
    newcomer.talk.say({ type: 'report', tasks: [{ task, version: shape.version, failures }] });
    return host.withheldUntilMs > 0;
  });
  for (const { rogue } of [lost, ...children, newcomer]) await rogue[Symbol.asyncDispose]();
});

test('a host that asks for parents over and over is sent the manifest once, until it has another piece', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content: { seed: 1, length: 2 * MIB } });
  const { rogue, talk, reply } = await registered(swarm, swarm.origin.url('/f'));
  const { task, shape } = reply;
  const about = { task, version: shape.version };
  const asked = async (): Promise<boolean> => {
    talk.heard.length = 0;
    talk.say({ type: 'more-parents', ...about, reason: 'stuck' });
    const update = await talk.next('update');
    t.is(typeof update?.['ticket'], 'string', 'it is answered all the same');
    return update?.['manifest'] !== undefined;
  };
  // The seed has signed all of it.
  await until(() => swarm.supernode.seeds.find(task, shape.version)?.state === 'complete');
  t.true(await talk.synced());
  t.true(await asked());
  t.false(await asked());
  t.false(await asked());
  talk.say({ type: 'report', tasks: [{ ...about, had: [0] }] });
  t.true(await asked());
  await rogue[Symbol.asyncDispose]();
});

test('the last of many to come are told of each other when nobody has come for a moment', async (t) => {
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content: { seed: 1, length: 2 * MIB } });
  const url = swarm.origin.url('/f');
  const known: { rogue: Rogue; talk: Conversation; parents: () => number }[] = [];
  for (let count = 0; count < 32; count += 1) {
    const { rogue, talk, reply } = await registered(swarm, url);
    const host = swarm.supernode.table.hosts.get(rogue.peerId);
    if (host === undefined) return t.fail();
    host.addresses = [`127.0.0.1:${swarm.supernode.linkPort}`];
    host.isReachable = true;
    const told = new Set(reply.parents.map(({ peer }) => peer));
    const parents = (): number => {
      for (const { parents: more = [] } of talk.heard as { parents?: { peer: string }[] }[]) {
        for (const { peer } of more) told.add(peer);
      }
      return told.size;
    };
    known.push({ rogue, talk, parents });
  }
  // All that the others' coming brought.
  for (const { talk } of known) t.true(await talk.synced());
  const few = known.slice(21).filter(({ parents }) => parents() < 17);
  t.true(few.length >= 4, `${few.length}`);
  await until(() => few.some(({ parents }) => parents() >= 17));
  for (const { rogue } of known) await rogue[Symbol.asyncDispose]();
});
