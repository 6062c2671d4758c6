import test from 'ava';
import { addressOf, startNode } from '../../../test/support/mesh-nodes.ts';
import type { MeshSession } from './mesh-node.ts';

const PUSH = '/test/push/1';
const signal = new AbortController().signal;
const COUNT = 40;
/** Almost as large as a frame may be: as the manifest of a large task is. */
const LENGTH = 900_000;

test('MeshSession carries large frames one after the other', async (t) => {
  await using supernode = await startNode({ listens: true });
  await using host = await startNode();
  supernode.setAdmission(async () => null);
  const accepted = Promise.withResolvers<MeshSession>();
  await supernode.handle(PUSH, { open: 'members', maxSessionsPerPeer: 1 }, (session) =>
    accepted.resolve(session),
  );
  const sender = await host.dial(addressOf(supernode), PUSH, { hello: {}, signal });
  const reader = await accepted.promise;
  const sending = (async () => {
    for (let index = 0; index < COUNT; index += 1) {
      await sender.drained({ signal });
      sender.send(`${index}`.padEnd(LENGTH, 'x'));
    }
  })();
  let received = 0;
  for await (const message of reader.receive()) {
    t.is(message, `${received}`.padEnd(LENGTH, 'x'));
    received += 1;
    if (received === COUNT) break;
  }
  await sending;
});
