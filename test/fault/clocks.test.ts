import test from 'ava';
import { contentDigest } from '../../bench/origin/content.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { frameTypes } from '../../core/net/link/frame.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { Rogue } from '../support/rogue.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const JUMPS = [-2 * DAY_MS, 5 * HOUR_MS, -5 * HOUR_MS, 2 * DAY_MS, 100 * DAY_MS, -400 * DAY_MS];

/** A machine whose wall time somebody sets. */
class SetClock extends SystemClock {
  aheadMs = 0;

  override now(): number {
    return super.now() + this.aheadMs;
  }
}

/** One host fetches new content, then the other does: true when both are right and the origin sent it once. */
async function passOn(
  swarm: TestSwarm,
  hosts: { readonly first: Engine; readonly second: Engine; readonly seed: number },
): Promise<boolean> {
  const { first, second, seed } = hosts;
  const content = { seed, length: MIB };
  const path = `/content-${seed}`;
  swarm.origin.set(path, { content });
  const url = swarm.origin.url(path);
  const digest = await contentDigest(content);
  const one = doneOf(await swarm.download(first, { url }));
  const other = doneOf(await swarm.download(second, { url }));
  const isOnce = swarm.origin.stats(path).bodyBytes === content.length;
  const opened = await opens(swarm, [first.pool.linkPort, second.pool.linkPort], one);
  // The digest of the whole comes with the last batch, which may be a moment later than the last piece.
  const digests = [one.digest ?? digest, other.digest ?? digest];
  return isOnce && digests.every((each) => each === digest) && opened;
}

/** True when these links and the seed's take a fresh record and a fresh ticket. */
async function opens(
  swarm: TestSwarm,
  ports: readonly (number | undefined)[],
  about: { readonly task: string; readonly version: string },
): Promise<boolean> {
  const { authority, linkPort } = swarm.supernode;
  await using child = await Rogue.member(swarm.supernode);
  const { task, version } = about;
  const ticket = authority.ticket({ task, version, scope: task, child: child.peerId });
  for (const port of [...ports, linkPort]) {
    const link = await child.link(port ?? 0);
    link.open({ task, version, ticket });
    const answer = await link.next(frameTypes.opened, frameTypes.refused);
    if (answer?.header.type !== frameTypes.opened) return false;
  }
  return true;
}

test('jumps of the wall clock of the supernode change nothing for its hosts', async (t) => {
  const clock = new SetClock();
  await using swarm = await TestSwarm.start({ supernode: { clock } });
  const [first, second] = [await swarm.host('first'), await swarm.host('second')];
  for (const [index, jumpMs] of JUMPS.entries()) {
    clock.aheadMs = jumpMs;
    t.true(await passOn(swarm, { first, second, seed: 100 + index }), `${jumpMs / HOUR_MS} h`);
    const issued = first.member?.record?.issued;
    first.member?.client.send({ type: 'renew-record' });
    await until(() => first.member?.record?.issued !== issued);
    await using newcomer = await Rogue.member(swarm.supernode);
    const control = await newcomer.control(`127.0.0.1:${swarm.supernode.meshPort}`);
    t.true(await control.synced());
  }
  t.is(swarm.log.filter(({ message }) => message === 'supernode lost').length, 0);
});

test('jumps of the wall clock of a host change nothing for it', async (t) => {
  const clock = new SetClock();
  await using swarm = await TestSwarm.start();
  const [steady, jumping] = [await swarm.host('steady'), await swarm.host('jumping', { clock })];
  for (const [index, jumpMs] of JUMPS.entries()) {
    clock.aheadMs = jumpMs;
    const [one, other] = [steady, jumping];
    const title = `${jumpMs / HOUR_MS} h`;
    t.true(await passOn(swarm, { first: one, second: other, seed: 200 + index }), title);
    t.true(await passOn(swarm, { first: other, second: one, seed: 300 + index }), title);
    const swept = await jumping.store.sweep();
    t.is(swept.removed, 0, title);
  }
  t.is(swarm.log.filter(({ message }) => message === 'supernode lost').length, 0);
});

test('a host whose wall clock is set before it first reaches the supernode joins by the time it started with', async (t) => {
  const clock = new SetClock();
  await using swarm = await TestSwarm.start();
  const port = swarm.supernode.meshPort;
  await swarm.supernode[Symbol.asyncDispose]();
  const host = await swarm.host('host', { clock });
  await until(() => host.member?.client.lastError !== undefined);
  clock.aheadMs = 400 * DAY_MS;
  await swarm.startSupernode({ meshPort: port });
  await until(() => host.member?.client.isConnected === true);
  t.not(host.member?.record, undefined);
});

for (const jumpMs of [-2 * DAY_MS, 2 * DAY_MS]) {
  test(`a supernode that starts again with its clock at ${jumpMs / HOUR_MS} h has its hosts back`, async (t) => {
    const clock = new SetClock();
    await using swarm = await TestSwarm.start({ supernode: { clock } });
    const { authority, meshPort } = swarm.supernode;
    const joinToken = await authority.createToken({ ttlMs: 30 * DAY_MS, role: 'host', uses: 2 });
    const first = await swarm.host('first', { joinToken });
    const second = await swarm.host('second', { joinToken });
    t.true(await passOn(swarm, { first, second, seed: 1 }));
    await swarm.supernode[Symbol.asyncDispose]();
    clock.aheadMs = jumpMs;
    await swarm.startSupernode({ meshPort, clock });
    const { table } = swarm.supernode;
    const members = [first.member, second.member];
    await until(() => table.hosts.size === 2);
    await until(() => members.every((member) => member?.client.isConnected === true));
    t.true(await passOn(swarm, { first, second, seed: 2 }));
    // What it learned is what it goes by after its own restart too.
    await second[Symbol.asyncDispose]();
    const again = await swarm.host('second');
    t.true(await passOn(swarm, { first, second: again, seed: 3 }));
  });
}
