import test from 'ava';
import { HostKey } from '../../core/identity/host-key.ts';
import { parseToken } from '../../core/identity/join-token.ts';
import { openBench } from '../../test/support/http-api-bench.ts';

test('POST /api/v1/tokens makes a token that joins, and DELETE ends it', async (t) => {
  const { call, authority } = await openBench(t);
  const body = { ttlMs: 60_000, uses: 2, cidr: '10.0.0.0/8', role: 'seed', idc: 'east' };
  const made = await call('POST', '/api/v1/tokens', { body });
  t.is(made.status, 201);
  t.is(made.headers['cache-control'], 'no-store');
  const { id, secret } = parseToken(made.json.token);
  const { peerId } = HostKey.generate();
  const claim = { id, secret, peerId, address: '10.0.0.7' };
  t.deepEqual(await authority.redeem(claim), { role: 'seed', idc: 'east' });
  const listed = await call('GET', '/api/v1/tokens');
  t.like(listed.json, { items: [{ id, role: 'seed', usesLeft: 1 }] });
  t.false(listed.text.includes(secret));
  t.is((await call('DELETE', `/api/v1/tokens/${id}`)).status, 204);
  t.is((await call('DELETE', `/api/v1/tokens/${id}`)).status, 404);
  await t.throwsAsync(authority.redeem(claim), { code: 'ERR_TOKEN' });
});

test('POST /api/v1/tokens refuses a bad body with the path of the wrong field', async (t) => {
  const { call } = await openBench(t);
  const bad = [
    [{ ttlMs: '60' }, /^body\/ttlMs/],
    [{ uses: 0 }, /^body\/uses/],
    [{ role: 'supernode' }, /^body\/role/],
    [{ hosts: 3 }, /^body\/hosts: is not known/],
    [{ cidr: '10.0.0.0/99' }, /network/],
    [[], /^body/],
    ['{', /JSON/],
    ['"x"'.padEnd(20_000), /too large/],
  ] as const;
  for (const [body, message] of bad) {
    const { status, json } = await call('POST', '/api/v1/tokens', { body });
    t.is(status, 400, String(message));
    t.regex(json.error.message, message);
    t.true(['ERR_REQUEST', 'ERR_USAGE'].includes(json.error.code));
  }
  t.is((await call('POST', '/api/v1/tokens')).status, 400);
});

test('DELETE /api/v1/hosts/:peer revokes', async (t) => {
  const { call, authority } = await openBench(t);
  const { peerId } = HostKey.generate();
  t.is((await call('DELETE', `/api/v1/hosts/${peerId}`)).status, 204);
  t.true(authority.isRevoked(peerId));
  t.like(await call('DELETE', '/api/v1/hosts/nobody'), {
    status: 400,
    json: { error: { code: 'ERR_REQUEST' } },
  });
  t.is((await call('DELETE', `/api/v1/hosts/${authority.key.peerId}`)).status, 400);
});
