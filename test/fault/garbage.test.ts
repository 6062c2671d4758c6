import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import test from 'ava';
import {
  array,
  assert,
  asyncProperty,
  boolean,
  constantFrom,
  nat,
  oneof,
  option,
  record,
  uint8Array,
} from 'fast-check';
import { contentDigest } from '../../bench/origin/content.ts';
import { FLAG_OPTIONAL, encodeFrame, frameTypes, writeHeader } from '../../core/net/link/frame.ts';
import type { Engine } from '../../core/swarm/engine.ts';
import { Rogue } from '../support/rogue.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';

const MIB = 1024 * 1024;
const PIECE = 256 * 1024;
const content = { seed: 12, length: 2 * MIB } as const;

interface Victims {
  readonly swarm: TestSwarm;
  readonly host: Engine;
  readonly task: string;
  readonly version: string;
  readonly ports: readonly number[];
}

/** A supernode and a host with content, both to be bothered. */
async function victims(swarm: TestSwarm): Promise<Victims> {
  swarm.origin.set('/f', { content });
  const host = await swarm.host('host');
  const { task, version } = doneOf(await swarm.download(host, { url: swarm.origin.url('/f') }));
  const ports = [host.pool.linkPort ?? 0, swarm.supernode.linkPort];
  return { swarm, host, task, version, ports };
}

/** Whoever was bothered still serves: a newcomer joins and gets the content, none of it from the origin. */
async function stillServes({ swarm }: Victims): Promise<boolean> {
  const sent = swarm.origin.stats('/f').bodyBytes;
  const child = await swarm.host('newcomer');
  const done = doneOf(await swarm.download(child, { url: swarm.origin.url('/f') }));
  return (
    done.digest === (await contentDigest(content)) && swarm.origin.stats('/f').bodyBytes === sent
  );
}

/** Writes everything and waits until the other side has closed, or has had a moment to do so. */
async function pour(socket: Socket, chunks: readonly Uint8Array[]): Promise<void> {
  socket.on('error', () => undefined).resume();
  for (const chunk of chunks) if (socket.writable) socket.write(chunk);
  const closed = new Promise((resolve) => {
    if (socket.destroyed) resolve(undefined);
    else socket.once('close', resolve);
  });
  socket.end();
  await closed;
}

const someBytes = array(uint8Array({ maxLength: 2000 }), { maxLength: 4 });

test('random bytes on the piece link, in the clear and inside TLS, end nothing but themselves', async (t) => {
  await using swarm = await TestSwarm.start();
  const bothered = await victims(swarm);
  await using stranger = await Rogue.start();
  const { keyPem: key, certificatePem: cert } = stranger.identity;
  const shapes = constantFrom('clear', 'tls', 'tls without a certificate');
  await assert(
    asyncProperty(someBytes, shapes, constantFrom(0, 1), async (chunks, shape, which) => {
      const address = { host: '127.0.0.1', port: bothered.ports[which] ?? 0 };
      const secure = { ...address, rejectUnauthorized: false };
      const sockets = {
        clear: () => connectTcp(address),
        tls: () => connectTls({ ...secure, key, cert }),
        'tls without a certificate': () => connectTls(secure),
      };
      await pour(sockets[shape](), chunks);
    }),
    { numRuns: 60 },
  );
  t.true(await stillServes(bothered));
});

test('garbled and oversized frames of a member end nothing but its own link', async (t) => {
  await using swarm = await TestSwarm.start();
  const bothered = await victims(swarm);
  const { task, version, ports } = bothered;
  await using rogue = await Rogue.member(swarm.supernode);
  const statement = { task, version, scope: task, child: rogue.peerId };
  const ticket = swarm.supernode.authority.ticket(statement);
  const types = oneof(constantFrom(...Object.values(frameTypes)), nat(255));
  const number = oneof(nat(8), constantFrom(PIECE, 0x7fff_ffff, 0xffff_ffff), nat());
  const text = constantFrom(
    JSON.stringify({ task, version, ticket }),
    JSON.stringify({ task: '../..', version, ticket }),
    JSON.stringify({ task, version, ticket: 'x'.repeat(16_000) }),
    '{"__proto__":{}}',
    'ERR_INTERNAL',
    'ERR_NO_SUCH_CODE\n',
    `v1.manifest.${'A'.repeat(500)}`,
  );
  const frame = record({
    type: types,
    flags: constantFrom(0, 1, FLAG_OPTIONAL, 0xff),
    channel: oneof(nat(4), nat(65_535)),
    a: number,
    b: number,
    payload: oneof(uint8Array({ maxLength: 400 }), text),
    claimed: option(constantFrom(0, 1, 300_000, 2 * MIB, 0xffff_ffff), { nil: undefined }),
  }).map(({ payload, claimed, ...fields }) => {
    const bytes = encodeFrame(fields, payload);
    // Says another length than it has.
    if (claimed !== undefined) writeHeader(bytes, fields, claimed);
    return bytes;
  });
  const frames = array(frame, { maxLength: 10 });
  await assert(
    asyncProperty(frames, boolean(), constantFrom(0, 1), async (given, opens, which) => {
      const link = await rogue.link(ports[which] ?? 0);
      if (opens) {
        link.open({ task, version, ticket });
        link.send({ type: frameTypes.request, channel: 1, a: 0, b: PIECE });
      }
      await pour(link.socket, given);
    }),
    { numRuns: 60 },
  );
  t.true(await stillServes(bothered));
  const defects = swarm.log.filter(
    ({ level, message }) => level === 'error' || message.includes('not handled'),
  );
  t.deepEqual(defects, []);
});

test('a member that opens every channel it may and floods them with requests leaves room for others', async (t) => {
  await using swarm = await TestSwarm.start();
  const bothered = await victims(swarm);
  const { task, version, ports, host } = bothered;
  await using rogue = await Rogue.member(swarm.supernode);
  const statement = { task, version, scope: task, child: rogue.peerId };
  const ticket = swarm.supernode.authority.ticket(statement);
  for (const port of ports) {
    const links = await Promise.all(Array.from({ length: 8 }, async () => rogue.link(port)));
    for (const link of links) {
      // Takes nothing of what it asks for.
      link.socket.pause();
      for (let channel = 1; channel < 512; channel += 2) {
        link.open({ task, version, ticket, channel });
        for (let piece = 0; piece < 8; piece += 1) {
          link.send({ type: frameTypes.request, channel, a: piece, b: PIECE });
        }
      }
    }
    t.false((await rogue.link(port)).isReady, 'a ninth link of one peer');
  }
  t.true(await stillServes(bothered));
  const { queuedBytes } = await host.pool.stats();
  t.true(queuedBytes < 24 * MIB, `${queuedBytes} bytes wait for a reader that never reads`);
});
