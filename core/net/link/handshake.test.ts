import test from 'ava';
import { CodedError } from '../../base/error.ts';
import { TestTrust, newIdentity, recordOf } from '../../../test/support/link-hosts.ts';
import { encodeFrame, frameTypes } from './frame.ts';
import { FrameReader } from './frame-reader.ts';
import { Handshake } from './handshake.ts';
import type { Authenticated, HandshakeOptions } from './handshake.ts';
import type { LinkIdentity } from './link-identity.ts';

const [alice, bob, mallory] = [newIdentity(), newIdentity(), newIdentity()];

/** One side, whose words are kept until they are passed on. */
class Side {
  readonly said: Buffer[] = [];
  readonly handshake: Handshake;
  authenticated: Authenticated | undefined;
  error: CodedError | undefined;
  readonly #reader: FrameReader;

  constructor(identity: LinkIdentity, options: Partial<HandshakeOptions>) {
    this.handshake = new Handshake({
      side: 'dialler',
      encryption: 'none',
      identity,
      trust: new TestTrust(),
      record: recordOf(identity.peerId),
      send: (frame) => this.said.push(frame),
      admit: () => undefined,
      onDone: (authenticated) => (this.authenticated = authenticated),
      ...options,
    });
    this.#reader = new FrameReader(this.handshake);
    this.attempt(() => this.handshake.start());
  }

  hear(frame: Buffer): void {
    this.attempt(() => this.#reader.push(frame));
  }

  attempt(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.error = CodedError.from(error);
    }
  }
}

/** Passes words on until both are done or one has failed. */
function converse(one: Side, other: Side, change = (frame: Buffer): Buffer => frame): void {
  while (one.said.length + other.said.length > 0) {
    for (const frame of one.said.splice(0)) other.hear(change(frame));
    for (const frame of other.said.splice(0)) one.hear(change(frame));
    if (one.error !== undefined || other.error !== undefined) return;
  }
}

function dial(options: Partial<HandshakeOptions> = {}): Side {
  return new Side(alice, { side: 'dialler', expected: bob.peerId, ...options });
}

function listen(options: Partial<HandshakeOptions> = {}): Side {
  return new Side(bob, { side: 'listener', ...options });
}

const tls = { encryption: 'tls' } as const;

test('Handshake in the clear proves both peer ids and shows both records', (t) => {
  const [dialler, listener] = [dial(), listen()];
  converse(dialler, listener);
  t.is(dialler.authenticated?.peerId, bob.peerId);
  t.is(dialler.authenticated?.record, recordOf(bob.peerId));
  t.is(listener.authenticated?.peerId, alice.peerId);
  t.is(listener.authenticated?.version, 1);
});

test('Handshake over TLS takes the peer id from the certificate', (t) => {
  const dialler = dial({ ...tls, certified: bob.peerId });
  const listener = listen({ ...tls, certified: alice.peerId });
  converse(dialler, listener);
  t.is(dialler.authenticated?.peerId, bob.peerId);
  t.is(listener.authenticated?.peerId, alice.peerId);
});

test('Handshake says nothing to another peer than the one dialled', (t) => {
  const overTls = dial({ ...tls, certified: mallory.peerId });
  t.is(overTls.error?.code, 'ERR_NOT_MEMBER');
  t.deepEqual(overTls.said, []);
  const dialler = dial();
  converse(dialler, new Side(mallory, { side: 'listener' }));
  t.is(dialler.error?.code, 'ERR_NOT_MEMBER');
  t.is(dialler.authenticated, undefined);
});

test('Handshake needs a certificate over TLS', (t) => {
  const listener = listen(tls);
  t.is(listener.error?.code, 'ERR_PROTOCOL');
});

test('Handshake refuses a record of somebody else, and the listener keeps its own to itself', (t) => {
  for (const record of [recordOf(mallory.peerId), 'nonsense']) {
    const dialler = dial({ ...tls, certified: bob.peerId, record });
    const listener = listen({ ...tls, certified: alice.peerId });
    converse(dialler, listener);
    t.is(listener.error?.code, 'ERR_NOT_MEMBER');
    t.deepEqual(listener.said, []);
    const clear = dial({ record });
    const clearListener = listen();
    converse(clear, clearListener);
    t.is(clearListener.error?.code, 'ERR_NOT_MEMBER');
    t.is(clear.authenticated, undefined);
  }
});

test('Handshake refuses a peer id whose key the other side does not hold', (t) => {
  const impostor = { ...bob, sign: (bytes: Uint8Array) => mallory.sign(bytes) };
  const dialler = dial();
  converse(dialler, new Side(impostor, { side: 'listener' }));
  t.is(dialler.error?.code, 'ERR_NOT_MEMBER');
});

test('Handshake refuses signatures of another conversation or of the other side', (t) => {
  const [dialler, listener] = [dial(), listen()];
  const recorded: Buffer[] = [];
  converse(dialler, listener, (frame) => {
    recorded.push(frame);
    return frame;
  });
  const auth = recorded.find((frame) => frame.readUInt8(0) === frameTypes.auth);
  const victim = listen();
  for (const frame of [recorded[0], auth]) if (frame !== undefined) victim.hear(frame);
  t.is(victim.error?.code, 'ERR_NOT_MEMBER');
  // A mirror: everything the dialler says comes back to it.
  const lonely = dial({ expected: alice.peerId });
  for (const frame of lonely.said.splice(0)) lonely.hear(frame);
  t.is(lonely.error?.code, 'ERR_NOT_MEMBER');
});

test('Handshake notices a changed HELLO, so versions and features cannot be talked down', (t) => {
  const [dialler, listener] = [dial(), listen()];
  let isChanged = false;
  converse(dialler, listener, (frame) => {
    if (isChanged || frame.readUInt8(0) !== frameTypes.hello) return frame;
    isChanged = true;
    return Buffer.from(frame.toString('latin1').replace('"features":0', '"features":1'), 'latin1');
  });
  t.is(listener.error?.code, 'ERR_NOT_MEMBER');
});

test('Handshake refuses frames out of order', (t) => {
  const open = encodeFrame({ type: frameTypes.open, channel: 1 }, '{}');
  const data = encodeFrame({ type: frameTypes.data, channel: 1 }, 'x');
  const auth = encodeFrame({ type: frameTypes.auth }, '{}');
  for (const frame of [open, data, auth]) {
    const listener = listen();
    listener.hear(frame);
    t.is(listener.error?.code, 'ERR_PROTOCOL');
    t.deepEqual(listener.said, []);
  }
});

test('Handshake tells why the other side refused', (t) => {
  const dialler = dial();
  dialler.hear(encodeFrame({ type: frameTypes.goodbye }, 'ERR_BUSY'));
  t.is(dialler.error?.code, 'ERR_BUSY');
});

function noRoom(): never {
  throw new CodedError('ERR_BUSY', 'full');
}

test('Handshake ends when there is no room for the link', (t) => {
  const listener = listen({ ...tls, certified: alice.peerId, admit: noRoom });
  converse(dial({ ...tls, certified: bob.peerId }), listener);
  t.is(listener.error?.code, 'ERR_BUSY');
  t.is(listener.authenticated, undefined);
});
