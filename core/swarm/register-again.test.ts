import test from 'ava';
import { addressOf, startNode } from '../../test/support/mesh-nodes.ts';
import { SystemClock } from '../base/clock.ts';
import { silentLog } from '../base/log.ts';
import { SeededRandom } from '../base/random.ts';
import type { MeshSession } from '../net/mesh/mesh-node.ts';
import { protocols } from '../wire/messages.ts';
import type { Membership } from '../wire/messages.ts';
import { SupernodeClient } from './supernode-client.ts';

const task = 'a'.repeat(64);
const signal = new AbortController().signal;
const membership: Membership = { type: 'membership', record: 'r', certificates: [], now: 0 };
const ignore = (): void => undefined;

/** A supernode that answers registrations with these, the last one again and again; how many it got. */
async function answering(
  t: { teardown(fn: () => Promise<void>): void },
  answers: readonly object[],
): Promise<{ readonly client: SupernodeClient; readonly asked: () => number }> {
  const supernode = await startNode({ listens: true });
  const host = await startNode();
  let asked = 0;
  supernode.setAdmission(async () => ({ v: 1, membership }));
  const options = { open: 'members', maxSessionsPerPeer: 1 } as const;
  await supernode.handle(protocols.control, options, async (session: MeshSession) => {
    for await (const message of session.receive()) {
      const { id } = message as { id: number };
      session.send({ ...answers[Math.min(asked, answers.length - 1)], id });
      asked += 1;
    }
  });
  const client = new SupernodeClient({
    mesh: host,
    addresses: [addressOf(supernode)],
    clock: new SystemClock(),
    random: new SeededRandom(1),
    log: silentLog,
    listener: {
      onConnected: ignore,
      onDisconnected: ignore,
      onMembership: ignore,
      onNow: ignore,
      onUpdate: ignore,
      onCheck: ignore,
      onUnwanted: ignore,
    },
    hello: () => ({ v: 1, record: 'r', addresses: [] }),
    ensureMember: async () => undefined,
    verifySupernode: ignore,
    isDownloading: () => false,
    onRefused: ignore,
  });
  t.teardown(async () => {
    await client[Symbol.asyncDispose]();
    await host[Symbol.asyncDispose]();
    await supernode[Symbol.asyncDispose]();
  });
  client.start();
  await client.whenConnected(45_000, { signal });
  return { client, asked: () => asked };
}

function busy(detail: object): object {
  return { type: 'rejected', error: { code: 'ERR_BUSY', message: 'not now', detail } };
}

const registered = {
  type: 'registered',
  task,
  shape: { version: 'b'.repeat(16), pieceLength: 262_144, validators: {} },
  manifest: [],
  parents: [],
  ticket: 't',
};
const request = { task, spec: { url: 'http://origin/f' } };

test('a registration is made again when a busy supernode says after how long', async (t) => {
  const { client, asked } = await answering(t, [
    busy({ retryAfterMs: 1 }),
    busy({ retryAfterMs: 1 }),
    registered,
  ]);
  t.is((await client.register(request, { signal })).task, task);
  t.is(asked(), 3);
});

test('a registration is not made again for ever', async (t) => {
  const { client, asked } = await answering(t, [busy({ retryAfterMs: 1 })]);
  await t.throwsAsync(client.register(request, { signal }), { code: 'ERR_BUSY' });
  t.is(asked(), 4);
});

test('a registration is not made again when it is not said after how long', async (t) => {
  const { client, asked } = await answering(t, [busy({})]);
  await t.throwsAsync(client.register(request, { signal }), { code: 'ERR_BUSY' });
  t.is(asked(), 1);
});
