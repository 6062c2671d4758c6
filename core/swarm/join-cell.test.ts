import test from 'ava';
import { addressOf, startNode } from '../../test/support/mesh-nodes.ts';
import { ManualClock } from '../base/clock.ts';
import { HostKey } from '../identity/host-key.ts';
import { createToken, parseToken } from '../identity/join-token.ts';
import type { JoinToken } from '../identity/join-token.ts';
import { protocols } from '../wire/messages.ts';
import { joinCell } from './join-cell.ts';

const wants = {};

function tokenFor(cell: string): JoinToken {
  return parseToken(createToken({ cell, now: 0, ttlMs: 60_000, role: 'host' }).token);
}

test.serial(
  'joinCell() gives up when the supernode lets it in and then says nothing',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    const opened = Promise.withResolvers<void>();
    await supernode.handle(protocols.join, { open: 'anyone', maxSessionsPerPeer: 1 }, () =>
      opened.resolve(),
    );
    const clock = new ManualClock();
    const { signal } = new AbortController();
    const token = tokenFor(HostKey.generate().peerId);
    const joining = joinCell(host, addressOf(supernode), { token, wants, now: 0, clock, signal });
    await opened.promise;
    clock.advance(10_000);
    await t.throwsAsync(joining, { code: 'ERR_MESH_UNAVAILABLE', message: /within 10 s/ });
  },
);

test.serial(
  'joinCell() says its secret to nobody who shows no certificate of the cell',
  async (t) => {
    await using supernode = await startNode({ listens: true });
    await using host = await startNode();
    const cell = HostKey.generate().peerId;
    const heard: unknown[] = [];
    await supernode.handle(
      protocols.join,
      { open: 'anyone', maxSessionsPerPeer: 1 },
      async (session) => {
        session.send({ type: 'credentials', cell, certificates: [] });
        for await (const message of session.receive()) heard.push(message);
      },
    );
    const { signal } = new AbortController();
    const about = { token: tokenFor(cell), wants, now: 0, clock: new ManualClock(), signal };
    await t.throwsAsync(joinCell(host, addressOf(supernode), about));
    t.deepEqual(heard, []);
  },
);
