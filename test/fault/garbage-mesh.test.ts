import { connect } from 'node:net';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { privateKeyFromProtobuf } from '@libp2p/crypto/keys';
import type { Libp2p } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { multiaddr } from '@multiformats/multiaddr';
import test from 'ava';
import {
  array,
  assert,
  asyncProperty,
  boolean,
  constant,
  constantFrom,
  jsonValue,
  nat,
  oneof,
  tuple,
  uint8Array,
} from 'fast-check';
import type { Arbitrary } from 'fast-check';
import { createLibp2p } from 'libp2p';
import { contentDigest } from '../../bench/origin/content.ts';
import { SystemClock } from '../../core/base/clock.ts';
import type { HostKey } from '../../core/identity/host-key.ts';
import { frameKinds } from '../../core/net/mesh/frame-codec.ts';
import { protocols } from '../../core/wire/messages.ts';
import { Rogue } from '../support/rogue.ts';
import { TestSwarm, doneOf } from '../support/swarm.ts';

const clock = new SystemClock();
const MIB = 1024 * 1024;
const PIECE = 256 * 1024;
const content = { seed: 13, length: 2 * MIB } as const;

/** Whoever was bothered still works: a newcomer joins and gets the content through it. */
async function stillWorks(swarm: TestSwarm): Promise<boolean> {
  swarm.origin.set('/after', { content });
  const host = await swarm.host('newcomer');
  const done = doneOf(await swarm.download(host, { url: swarm.origin.url('/after') }));
  return done.fromOrigin === 0 && done.digest === (await contentDigest(content));
}

/** A node of libp2p's own with the key of a rogue, to misbehave with below our frames. */
async function rawNode(key: HostKey): Promise<Libp2p & AsyncDisposable> {
  const node = await createLibp2p({
    privateKey: privateKeyFromProtobuf(key.libp2pPrivateKey()),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
  return Object.assign(node, { [Symbol.asyncDispose]: async () => node.stop() });
}

test('random bytes on the mesh port end nothing but themselves', async (t) => {
  await using swarm = await TestSwarm.start();
  const { meshPort } = swarm.supernode;
  const begin = constantFrom(
    '',
    '\u0013/multistream/1.0.0\n',
    '\u0013/multistream/1.0.0\n\u0007/noise\n',
  );
  const chunks = array(uint8Array({ maxLength: 2000 }), { minLength: 1, maxLength: 4 });
  await assert(
    asyncProperty(begin, chunks, async (start, bytes) => {
      const socket = connect({ host: '127.0.0.1', port: meshPort });
      socket.on('error', () => undefined).resume();
      socket.write(start, 'latin1');
      for (const chunk of bytes) if (socket.writable) socket.write(chunk);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.end();
      await closed;
    }),
    { numRuns: 50 },
  );
  t.true(await stillWorks(swarm));
});

test('garbled and oversized frames on both protocols end nothing but their session', async (t) => {
  await using swarm = await TestSwarm.start();
  await using rogue = await Rogue.member(swarm.supernode);
  const address = multiaddr(`/ip4/127.0.0.1/tcp/${swarm.supernode.meshPort}`);
  const hello = JSON.stringify({ v: 1, record: rogue.record, addresses: [] });
  const texts = oneof(
    constantFrom('', '{', 'null', hello, '{"type":"sync","id":1}', `"${'x'.repeat(70_000)}"`),
    jsonValue().map((value) => JSON.stringify(value)),
  );
  const bodies = oneof(
    texts.map((text) => Buffer.from(text)),
    uint8Array({ maxLength: 300 }),
  );
  const lengths = oneof(constant(undefined), constantFrom(0, 1, 65_537, 0x10_00_01, 0xff_ff_ff));
  const kinds = oneof(constantFrom(...Object.values(frameKinds)), nat(255));
  const frame = tuple(kinds, bodies, lengths).map(([kind, body, length]) => {
    const header = Buffer.alloc(4);
    header.writeUInt8(kind, 0);
    header.writeUIntBE(Math.min(length ?? body.length, 0xff_ff_ff), 1, 3);
    return Buffer.concat([header, body]);
  });
  const greeting = Buffer.alloc(4);
  greeting.writeUInt32BE(frameKinds.hello * 0x1_00_00_00 + hello.length, 0);
  const good = Buffer.concat([greeting, Buffer.from(hello)]);
  const protocol = constantFrom(protocols.join, protocols.control);
  const property = asyncProperty(
    array(frame, { maxLength: 8 }),
    boolean(),
    protocol,
    async (frames, isGreeting, name) => {
      await using raw = await rawNode(rogue.key);
      const connection = await raw.dial(address);
      const stream = await connection.newStream(name);
      try {
        if (isGreeting && name === protocols.control) stream.send(good);
        for (const bytes of frames) stream.send(bytes);
        using deadline = clock.deadline(2_000);
        await stream.close(deadline);
      } catch {
        // The other side was faster to close.
      }
    },
  );
  await assert(property, { numRuns: 40 });
  t.true(await stillWorks(swarm));
  t.deepEqual(
    swarm.log.filter(({ level }) => level === 'error'),
    [],
  );
});

const ODD: readonly unknown[] = [
  null,
  '',
  -1,
  0,
  0.5,
  1e308,
  2 ** 53 - 1,
  4_294_967_296,
  [],
  {},
  'x'.repeat(5000),
  'f'.repeat(64),
  'e'.repeat(16),
  'http://',
  'file:///etc/passwd',
  'http://[',
  '\u0000',
  JSON.parse('{"__proto__":null,"constructor":1}'),
  'AAAA',
  '"'.repeat(100),
];

/** Values that fit no schema, or fit one and no purpose. */
const wild: Arbitrary<unknown> = oneof(jsonValue(), constantFrom<unknown>(...ODD));

/** `message` with the value at one of its places replaced. */
function mutated(message: object): Arbitrary<object> {
  const places: (readonly string[])[] = [];
  const visit = (value: unknown, path: readonly string[]): void => {
    if (path.length > 0) places.push(path);
    if (typeof value !== 'object' || value === null) return;
    for (const [key, item] of Object.entries(value)) visit(item, [...path, key]);
  };
  visit(message, []);
  return tuple(constantFrom(...places), wild).map(([path, value]) => {
    const copy = structuredClone(message) as Record<string, unknown>;
    let at = copy;
    for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
    at[path.at(-1) ?? ''] = value;
    return copy;
  });
}

test('messages of a member that make no sense cost nobody but itself anything', async (t) => {
  t.timeout(300_000);
  await using swarm = await TestSwarm.start();
  swarm.origin.set('/f', { content });
  const url = swarm.origin.url('/f');
  const host = await swarm.host('host');
  const { task, version } = doneOf(await swarm.download(host, { url }));
  await using rogue = await Rogue.member(swarm.supernode);
  const address = `127.0.0.1:${swarm.supernode.meshPort}`;
  const shape = {
    version,
    pieceLength: PIECE,
    length: content.length,
    validators: { etag: '"x"' },
    isPrivate: false,
  };
  const failure = { parent: host.key.peerId, piece: 0, code: 'ERR_LINK' };
  const had = { had: [0, 7, 16_777_215], lost: [3], complete: true, active: true, gone: true };
  const templates = [
    { type: 'register', id: 1, task, spec: { url, range: { start: 0, end: 5 }, tag: 'x' } },
    { type: 'register', id: 1, task, spec: { url }, holding: { version, pieces: '/w==' } },
    { type: 'report', tasks: [{ task, version, ...had, failures: [failure], fromPeers: 1 }] },
    { type: 'announce', task, shape, holding: { version }, manifest: ['x'], active: false },
    {
      type: 'announce',
      task,
      shape,
      holding: { version, pieces: '////' },
      manifest: [],
      active: true,
      spec: { url },
      provisional: ['v1.provisional.e30.x.y'],
      digest: 'sha256:aabbccdd',
    },
    { type: 'more-parents', task, version, reason: 'because' },
    { type: 'renew-ticket', task, version },
    { type: 'ask-source', id: 1, task, reason: 'because' },
    { type: 'sync', id: 1 },
    { type: 'renew-record' },
  ];
  const hello = { v: 1, record: rogue.record, addresses: ['127.0.0.1:1'], linkPort: 9 };
  const greetings = oneof(
    constant<object>(hello),
    mutated({ ...hello, hostname: 'h', location: 'a|b' }).map((given) => ({
      ...given,
      record: rogue.record,
    })),
    constantFrom(
      ...['no-port', ':1', '[::1]', '127.0.0.1:99999', '[::ffff:0:0]:1', 'a b:1', '%:0'].map(
        (text) => ({ ...hello, addresses: [text, text] }),
      ),
    ),
  );
  const messages = oneof(jsonValue(), ...templates.map((template) => mutated(template)));
  await assert(
    asyncProperty(greetings, array(messages, { maxLength: 12 }), async (greeting, given) => {
      const control = await rogue.control(address, greeting).catch(() => undefined);
      for (const message of given) {
        if (control === undefined || control.isOver) break;
        control.session.send(message);
      }
      // A session that was not ended for it has taken it all in.
      if (control?.isOver === false) await control.synced().catch(() => undefined);
      await rogue.mesh.disconnect(swarm.supernode.authority.key.peerId);
    }),
    { numRuns: 120 },
  );
  t.true(await stillWorks(swarm));
  t.true(host.member?.client.isConnected);
  t.deepEqual(
    swarm.log.filter(({ level, who }) => level === 'error' && who === 'supernode'),
    [],
  );
});

test('a shape that would take the memory of the supernode is refused', async (t) => {
  await using swarm = await TestSwarm.start();
  await using rogue = await Rogue.member(swarm.supernode);
  const control = await rogue.control(`127.0.0.1:${swarm.supernode.meshPort}`);
  const before = process.memoryUsage().arrayBuffers;
  const lengths = [2 ** 53 - 1, 2 ** 45, 2 ** 41];
  const pieceLengths = [1024, PIECE, 16 * MIB, 64 * MIB];
  for (const [index, length] of lengths.entries()) {
    for (const pieceLength of pieceLengths) {
      const version = `${index}`.repeat(16);
      control.say({
        type: 'announce',
        task: 'a'.repeat(64),
        shape: { version, pieceLength, length, validators: {} },
        holding: { version },
        manifest: [],
        active: false,
      });
    }
  }
  t.true(await control.synced());
  t.true(process.memoryUsage().arrayBuffers - before < 32 * MIB);
  t.true(await stillWorks(swarm));
});
