import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../base/error.ts';
import { defaultMaxEnvelopeBytes, openEnvelope, seal } from './envelope.ts';
import { HostKey } from './host-key.ts';

const key = HostKey.generate();

/** An envelope whose signature is right, around any text as its body. */
function sealText(kind: string, payload: string): string {
  const signed = `v1.${kind}.${payload}.${key.peerId}`;
  return `${signed}.${Buffer.from(key.sign(Buffer.from(signed))).toString('base64url')}`;
}

/** True when the envelope is refused as it must be; a text that opens, or another error, is false. */
function isRefused(text: string): boolean {
  try {
    openEnvelope(text, 'ticket');
    return false;
  } catch (error) {
    return error instanceof CodedError && error.code === 'ERR_SIGNATURE';
  }
}

test('openEnvelope() gives back what seal() signed, and who did', (t) => {
  const body = { v: 1, name: 'blå', list: [1, { deep: null }] };
  const text = seal('ticket', body, key);
  t.regex(text, /^v1\.ticket\.[\w-]+\.12D3KooW\w+\.[\w-]{86}$/);
  t.deepEqual(openEnvelope(text, 'ticket'), { body, signer: key.peerId });
});

test('openEnvelope() gives back any JSON body', (t) => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (body) => {
      const opened = openEnvelope(seal('ticket', body, key), 'ticket').body;
      return JSON.stringify(opened) === JSON.stringify(body);
    }),
    { numRuns: 50 },
  );
  t.pass();
});

test('openEnvelope() refuses an envelope of another kind: a ticket is no record', (t) => {
  const text = seal('ticket', { v: 1 }, key);
  t.throws(() => openEnvelope(text, 'record'), { code: 'ERR_SIGNATURE', message: /another kind/ });
  const renamed = text.replace('.ticket.', '.record.');
  t.throws(() => openEnvelope(renamed, 'record'), { code: 'ERR_SIGNATURE', message: /wrong sig/ });
});

test('openEnvelope() refuses a signature of somebody else', (t) => {
  const text = seal('ticket', { v: 1 }, key);
  const claimed = text.replace(key.peerId, HostKey.generate().peerId);
  t.throws(() => openEnvelope(claimed, 'ticket'), { code: 'ERR_SIGNATURE', message: /wrong sig/ });
});

test('openEnvelope() bounds the size before it looks further', (t) => {
  const text = seal('ticket', { v: 1, filler: 'x'.repeat(defaultMaxEnvelopeBytes) }, key);
  t.throws(() => openEnvelope(text, 'ticket'), { code: 'ERR_SIGNATURE', message: /longer than/ });
  t.is(openEnvelope(text, 'ticket', { maxBytes: 100_000 }).signer, key.peerId);
  const small = seal('ticket', { v: 1 }, key);
  t.throws(() => openEnvelope(small, 'ticket', { maxBytes: 100 }), { message: /longer than 100/ });
});

test('openEnvelope() refuses a body that is not a JSON object, though signed', (t) => {
  const payloads = ['', '[]', 'null', '"text"', '7', '{"v":1', '{"v":1}{}', '['.repeat(20_000)];
  for (const payload of payloads) {
    const text = sealText('ticket', Buffer.from(payload).toString('base64url'));
    t.throws(() => openEnvelope(text, 'ticket'), { code: 'ERR_SIGNATURE', message: /JSON/ });
  }
  const notUtf8 = Buffer.concat([
    Buffer.from('{"v":"'),
    Buffer.from([0xff]),
    Buffer.from('"}'),
  ]).toString('base64url');
  t.true(isRefused(sealText('ticket', notUtf8)));
  t.true(isRefused(sealText('ticket', `${Buffer.from('{}').toString('base64url')}=`)));
});

test('openEnvelope() refuses every changed envelope', (t) => {
  const text = seal('ticket', { v: 1, task: 'a'.repeat(64) }, key);
  const position = fc.nat({ max: text.length - 1 });
  const character = fc.oneof(
    fc.constantFrom(...Array.from('.-_=+/ \nAaBb019\u0000é')),
    fc.string(),
  );
  fc.assert(
    fc.property(position, fc.nat({ max: 3 }), character, (at, removed, put) => {
      const changed = text.slice(0, at) + put + text.slice(at + removed);
      return changed === text || isRefused(changed);
    }),
    { numRuns: 1000 },
  );
  // The last digit of the signature carries four bits that mean nothing; they must be zero.
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const openings = Array.from(last).filter((digit) => !isRefused(text.slice(0, -1) + digit));
  t.is(openings.length, 1);
});

test('openEnvelope() refuses any text with ERR_SIGNATURE and nothing else', (t) => {
  const part = fc.oneof(
    fc.string(),
    fc.constantFrom('v1', 'ticket', key.peerId, 'A'.repeat(86), 'e30'),
  );
  const joined = fc.array(part, { maxLength: 7 }).map((parts) => parts.join('.'));
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), joined), (text) => isRefused(text)),
    { numRuns: 500 },
  );
  t.pass();
});

test('seal() takes no kind that could blur the parts', (t) => {
  for (const kind of ['', 'a.b', 'A', 'x'.repeat(40)]) {
    t.throws(() => seal(kind, {}, key), { instanceOf: TypeError });
  }
});
