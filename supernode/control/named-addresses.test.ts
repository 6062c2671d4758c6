import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { Rogue, waitFor } from '../../test/support/rogue.ts';
import { TestSwarm } from '../../test/support/swarm.ts';

/** Listens on 127.0.0.1, and counts who comes. */
async function listening(
  t: ExecutionContext,
): Promise<{ readonly port: number; connections: number }> {
  const server = createServer((socket) => {
    seen.connections += 1;
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const seen = { port: (server.address() as AddressInfo).port, connections: 0 };
  return seen;
}

test('a host cannot have the supernode connect to a name', async (t) => {
  // Found by a name, since all that this machine could be called by number is what the host connects from.
  const victim = await listening(t);
  const link = await listening(t);
  await using swarm = await TestSwarm.start();
  const { meshPort, table } = swarm.supernode;
  await using rogue = await Rogue.member(swarm.supernode);
  const addresses = [`localhost:${victim.port}`];
  const talk = await rogue.control(`127.0.0.1:${meshPort}`, { addresses, linkPort: link.port });
  t.true(await talk.synced());
  await waitFor('a connection', () => link.connections + victim.connections || undefined);
  t.is(victim.connections, 0);
  t.deepEqual(table.hosts.get(rogue.peerId)?.addresses, [`127.0.0.1:${link.port}`]);
});
