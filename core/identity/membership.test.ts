import test from 'ava';
import { openEnvelope, seal } from './envelope.ts';
import { HostKey } from './host-key.ts';
import { isIdc, issueRecord, parseRecord } from './membership.ts';

const supernode = HostKey.generate();
const { peerId } = HostKey.generate();

test('issueRecord() states the member for 24 hours, signed by the supernode', (t) => {
  const envelope = issueRecord(supernode, {
    peerId,
    role: 'seed',
    idc: 'north',
    location: 'hall 1|row 2',
    now: 1000,
  });
  const { body, signer } = openEnvelope(envelope, 'record');
  t.is(signer, supernode.peerId);
  t.deepEqual(parseRecord(body), {
    peerId,
    role: 'seed',
    idc: 'north',
    location: 'hall 1|row 2',
    issued: 1000,
    expires: 1000 + 24 * 3_600_000,
  });
});

test('issueRecord() signs nothing that readers would refuse', (t) => {
  const member = { peerId, role: 'host' as const, idc: 'north', now: 1000 };
  const wrong = [{ peerId: 'x' }, { idc: '' }, { location: '' }, { now: Number.NaN }];
  for (const part of wrong) {
    t.throws(() => issueRecord(supernode, { ...member, ...part }), { code: 'ERR_SIGNATURE' });
  }
});

test('parseRecord() names the wrong field, and ignores fields it does not know', (t) => {
  const body = { v: 1, peerId, role: 'host', idc: 'north', issued: 1, expires: 2 };
  t.deepEqual(parseRecord({ ...body, later: { added: true } }), {
    peerId,
    role: 'host',
    idc: 'north',
    issued: 1,
    expires: 2,
  });
  const wrong: Record<string, unknown[]> = {
    v: [undefined, 2, '1'],
    peerId: [undefined, 7, 'me', `${peerId}x`],
    role: [undefined, 'root', ['host'], 'toString'],
    idc: [undefined, '', 'a b', 'a|b', 'x'.repeat(65), 'a\u0000'],
    location: [null, '', 5, 'x'.repeat(257), 'a\nb'],
    issued: [undefined, -1, 0.5, '1', Number.MAX_VALUE],
    expires: [undefined, null, Number.NaN],
  };
  for (const [field, values] of Object.entries(wrong)) {
    for (const value of values) {
      t.throws(
        () => parseRecord({ ...body, [field]: value }),
        { code: 'ERR_SIGNATURE', message: `the record has a wrong field "${field}"` },
        String(value),
      );
    }
  }
});

test('parseRecord() reads own fields only', (t) => {
  const body: Record<string, unknown> = JSON.parse(
    `{"v":1,"__proto__":{"peerId":"${peerId}"},"role":"host","idc":"a","issued":1,"expires":2}`,
  );
  t.throws(() => parseRecord(openEnvelope(seal('record', body, supernode), 'record').body), {
    message: /peerId/,
  });
});

test('isIdc() takes names in any script, and nothing that could break a line or a list', (t) => {
  for (const name of ['a', 'eu-west.1', '北京_1']) t.true(isIdc(name), name);
  for (const name of ['', ' ', 'a b', 'a|b', 'a\n', 'x'.repeat(65)]) t.false(isIdc(name), name);
});
