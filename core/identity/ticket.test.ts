import test from 'ava';
import { openEnvelope } from './envelope.ts';
import { HostKey } from './host-key.ts';
import { issueTicket, parseTicket } from './ticket.ts';

const supernode = HostKey.generate();
const grant = {
  task: 'ab'.repeat(32),
  version: '0123456789abcdef',
  scope: 'registry.example/library/base',
  child: HostKey.generate().peerId,
};

test('issueTicket() grants for 15 minutes, signed by the supernode', (t) => {
  const { body, signer } = openEnvelope(issueTicket(supernode, { ...grant, now: 1000 }), 'ticket');
  t.is(signer, supernode.peerId);
  t.deepEqual(parseTicket(body), { ...grant, issued: 1000, expires: 1000 + 15 * 60_000 });
});

test('issueTicket() signs nothing that readers would refuse', (t) => {
  const wrong = [
    { task: 'ab' },
    { task: 'AB'.repeat(32) },
    { version: '' },
    { scope: 'x'.repeat(1025) },
    { scope: 'a\nb' },
    { child: 'me' },
    { now: -1 },
  ];
  for (const part of wrong) {
    t.throws(() => issueTicket(supernode, { ...grant, now: 1000, ...part }), {
      code: 'ERR_SIGNATURE',
    });
  }
});

test('the largest scope still makes a ticket that is read', (t) => {
  const scope = '界'.repeat(1024);
  const envelope = issueTicket(supernode, { ...grant, scope, now: 1000 });
  t.true(envelope.length < 8192);
  t.is(parseTicket(openEnvelope(envelope, 'ticket').body).scope, scope);
});
