import test from 'ava';
import * as fc from 'fast-check';
import { CodedError } from '../base/error.ts';
import { HostKey } from './host-key.ts';
import { checkToken, createToken, parseToken } from './join-token.ts';
import type { TokenClaim } from './join-token.ts';

const cell = HostKey.generate().peerId;
const NOW = 1_700_000_000_000;
const HOUR = 3_600_000;

function make(options: Partial<Parameters<typeof createToken>[0]> = {}) {
  const made = createToken({ cell, now: NOW, ttlMs: HOUR, role: 'host', ...options });
  const { secret } = parseToken(made.token);
  const claim = (part: Partial<TokenClaim> = {}): TokenClaim => ({
    secret,
    address: '10.1.2.3',
    now: NOW,
    ...part,
  });
  return { ...made, secret, claim };
}

test('createToken() makes one printable word that parseToken() takes apart', (t) => {
  const { token, grant, secret } = make();
  t.regex(token, /^odt1_[\w-]+$/);
  t.deepEqual(parseToken(`  ${token}\n`), { cell, id: grant.id, secret });
});

test('createToken() stores a hash of the secret, and only the limits that were set', (t) => {
  const { grant, secret } = make();
  t.deepEqual(Object.keys(grant).toSorted(), ['expires', 'id', 'role', 'secretHash']);
  t.false(JSON.stringify(grant).includes(secret));
  const full = make({ uses: 3, cidr: '10.0.0.0/8', role: 'seed', idc: 'north' }).grant;
  t.like(full, { usesLeft: 3, cidr: '10.0.0.0/8', role: 'seed', idc: 'north' });
  t.is(full.expires, NOW + HOUR);
});

test('createToken() refuses options that cannot hold', (t) => {
  const wrong = [
    { ttlMs: 0 },
    { ttlMs: Number.NaN },
    { uses: 0 },
    { uses: 1.5 },
    { cidr: '10.0.0.0/33' },
    { cidr: 'everywhere' },
    { idc: '' },
    { idc: 'a b' },
  ];
  for (const part of wrong) t.throws(() => make(part), { code: 'ERR_USAGE' }, JSON.stringify(part));
});

test('checkToken() gives the granted role and idc to who asks for none', (t) => {
  const { grant, claim } = make({ role: 'seed', idc: 'north' });
  t.deepEqual(checkToken(grant, claim()), { role: 'seed', idc: 'north' });
  const asked = claim({ askedRole: 'seed', askedIdc: 'north' });
  t.deepEqual(checkToken(grant, asked), { role: 'seed', idc: 'north' });
});

test('checkToken() refuses a role or idc that is not granted', (t) => {
  const { grant, claim } = make({ idc: 'north' });
  for (const askedRole of ['seed', 'supernode', '', 'toString']) {
    t.throws(() => checkToken(grant, claim({ askedRole })), { code: 'ERR_TOKEN_GRANT' });
  }
  t.throws(() => checkToken(grant, claim({ askedIdc: 'south' })), { code: 'ERR_TOKEN_GRANT' });
});

test('checkToken() lets the host name its idc when the token has none', (t) => {
  const { grant, claim } = make();
  t.deepEqual(checkToken(grant, claim({ askedIdc: 'south' })), { role: 'host', idc: 'south' });
  t.deepEqual(checkToken(grant, claim()), { role: 'host', idc: 'default' });
  t.throws(() => checkToken(grant, claim({ askedIdc: 'a|b' })), { code: 'ERR_TOKEN_GRANT' });
});

test('checkToken() says the same of an unknown token and of a wrong secret', (t) => {
  const { grant, claim } = make();
  const wrongSecret = claim({ secret: make().secret });
  const [unknown, wrong] = [
    t.throws(() => checkToken(undefined, claim())),
    t.throws(() => checkToken(grant, wrongSecret)),
  ];
  t.is(unknown.message, wrong.message);
  t.like(unknown, { code: 'ERR_TOKEN' });
  t.throws(() => checkToken(undefined, claim({ secret: '' })), { code: 'ERR_TOKEN' });
  const spoilt = { ...grant, secretHash: 'é'.repeat(64) };
  t.throws(() => checkToken(spoilt, claim()), { code: 'ERR_TOKEN' });
});

test('checkToken() refuses a token that is expired, used up, or for another network', (t) => {
  const { grant, claim } = make({ uses: 1, cidr: '10.0.0.0/8' });
  t.notThrows(() => checkToken(grant, claim({ now: NOW + HOUR - 1 })));
  t.notThrows(() => checkToken(grant, claim({ address: '::ffff:10.9.9.9' })));
  t.throws(() => checkToken(grant, claim({ now: NOW + HOUR })), { message: /expired/ });
  t.throws(() => checkToken({ ...grant, usesLeft: 0 }, claim()), { message: /used up/ });
  for (const address of ['11.0.0.1', '::1', 'nowhere']) {
    const error = t.throws(() => checkToken(grant, claim({ address })), { code: 'ERR_TOKEN' });
    t.is(error.message, 'the join token is for hosts in 10.0.0.0/8 only');
  }
});

test('no refusal of a token shows its secret', (t) => {
  const { token, grant, secret, claim } = make({ uses: 1, cidr: '10.0.0.0/8', idc: 'north' });
  const failures = [
    () => parseToken(token.slice(1)),
    () => parseToken(token.slice(0, -3)),
    () => parseToken(token + token.slice(5)),
    () => parseToken(token.repeat(9)),
    () => checkToken(undefined, claim()),
    () => checkToken(grant, claim({ now: NOW + HOUR })),
    () => checkToken(grant, claim({ address: '11.0.0.1' })),
    () => checkToken(grant, claim({ askedRole: 'seed' })),
  ];
  for (const fail of failures) {
    const error = t.throws(fail, { instanceOf: CodedError });
    const shown = JSON.stringify(error.toObject()) + String(error.stack);
    t.false(shown.includes(secret.slice(0, 12)));
    t.false(shown.includes(token.slice(-40)));
  }
});

test('parseToken() and checkToken() let no changed token in', (t) => {
  const { token, grant } = make();
  const position = fc.nat({ max: token.length - 1 });
  const put = fc.oneof(fc.constantFrom(...Array.from('-_=.AaBb019')), fc.string());
  fc.assert(
    fc.property(position, fc.nat({ max: 3 }), put, (at, removed, text) => {
      const changed = token.slice(0, at) + text + token.slice(at + removed);
      if (changed.trim() === token) return true;
      try {
        const parsed = parseToken(changed);
        if (parsed.cell !== cell) return true;
        const stored = parsed.id === grant.id ? grant : undefined;
        checkToken(stored, { secret: parsed.secret, address: '10.0.0.1', now: NOW });
        return false;
      } catch (error) {
        return error instanceof CodedError && error.code === 'ERR_TOKEN';
      }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

test('parseToken() refuses any other text with ERR_TOKEN', (t) => {
  const encoded = fc
    .oneof(fc.json(), fc.string({ unit: 'binary' }))
    .map((text) => `odt1_${Buffer.from(text).toString('base64url')}`);
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), encoded), (text) => {
      try {
        parseToken(text);
        return false;
      } catch (error) {
        return error instanceof CodedError && error.code === 'ERR_TOKEN';
      }
    }),
    { numRuns: 500 },
  );
  t.pass();
});
