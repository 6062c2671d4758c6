import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../../base/error.ts';
import { HELLO_MAGIC } from './frame.ts';
import {
  commonVersion,
  encodeIndexes,
  isSendableBatch,
  linkVersions,
  parseAuth,
  parseHello,
  parseIndexes,
  parseManifest,
  parseOpen,
  parseTicketPayload,
  remoteError,
  versionRange,
} from './messages.ts';

const parsers = {
  parseHello,
  parseAuth,
  parseOpen,
  parseTicketPayload,
  parseManifest,
  parseIndexes: (payload: Uint8Array) => parseIndexes(payload, 1000),
};

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function header(a: number, b: number): Parameters<typeof commonVersion>[0] {
  return { type: 1, flags: 0, channel: 0, length: 0, a, b };
}

test('every parser throws nothing but ERR_PROTOCOL at random bytes and at random JSON', (t) => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.json().map((text) => new Uint8Array(Buffer.from(text))),
  );
  for (const [name, parse] of Object.entries(parsers)) {
    fc.assert(
      fc.property(payload, (bytes) => {
        try {
          parse(bytes);
        } catch (error) {
          t.is(error instanceof CodedError ? error.code : 'thrown', 'ERR_PROTOCOL', name);
        }
      }),
    );
  }
});

test('parseOpen() takes what is well-formed, ignores unknown fields, and refuses the rest', (t) => {
  const open = { task: 'a'.repeat(64), version: 'b'.repeat(16), ticket: 'v1.ticket.x.y.z' };
  t.deepEqual(parseOpen(json({ ...open, later: true })), open);
  for (const field of ['task', 'version', 'ticket']) {
    for (const value of [undefined, 1, '', 'no spaces allowed', 'x'.repeat(20_000)]) {
      t.throws(() => parseOpen(json({ ...open, [field]: value })), { code: 'ERR_PROTOCOL' });
    }
  }
});

test('commonVersion() is the highest that both sides speak', (t) => {
  const { highest } = linkVersions;
  t.is(commonVersion(header(HELLO_MAGIC, versionRange())), highest);
  t.is(commonVersion(header(HELLO_MAGIC, 0x1_0000 + highest + 5)), highest);
  const newer = (highest + 1) * 0x1_0000 + highest + 2;
  t.throws(() => commonVersion(header(HELLO_MAGIC, newer)), { code: 'ERR_PROTOCOL' });
  t.throws(() => commonVersion(header(HELLO_MAGIC, 0)), { code: 'ERR_PROTOCOL' });
  t.throws(() => commonVersion(header(1, versionRange())), { code: 'ERR_PROTOCOL' });
});

test('parseIndexes() gives back what encodeIndexes() wrote, and refuses what is out of range', (t) => {
  const pieces = [0, 5, 999];
  t.deepEqual(parseIndexes(encodeIndexes(pieces), 1000), pieces);
  t.throws(() => parseIndexes(encodeIndexes(pieces), 999), { code: 'ERR_PROTOCOL' });
  t.throws(() => parseIndexes(Buffer.alloc(3), 1000), { code: 'ERR_PROTOCOL' });
});

test('parseManifest() refuses empty lines and strange characters', (t) => {
  t.deepEqual(parseManifest(Buffer.from('v1.a.b\nv1.c.d')), ['v1.a.b', 'v1.c.d']);
  for (const text of ['', 'a\n', 'a\n\nb', 'a b', 'a\u0000', 'ä']) {
    t.throws(() => parseManifest(Buffer.from(text)), { code: 'ERR_PROTOCOL' });
    t.false(isSendableBatch(text));
  }
});

test('remoteError() lets the other side choose only among codes that cannot mean our own failures', (t) => {
  t.is(remoteError(Buffer.from('ERR_TICKET'), 'says no', 'p').code, 'ERR_TICKET');
  const forged = remoteError(Buffer.from('ERR_PIECE_DIGEST'), 'says no', 'p');
  t.is(forged.code, 'ERR_LINK');
  t.is(forged.detail['remoteCode'], 'ERR_PIECE_DIGEST');
  const nonsense = remoteError(Buffer.from('toString\n\u001b[31m'), 'says no', 'p');
  t.is(nonsense.code, 'ERR_LINK');
  t.is(nonsense.detail['remoteCode'], 'unknown');
});
