import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { parseToken } from '../../core/identity/join-token.ts';
import { Authority } from '../membership/authority.ts';
import { AdminClient } from './admin-client.ts';
import { adminSocketPath } from './admin-socket-path.ts';
import { AdminSocket } from './admin-socket.ts';

async function openAuthority(
  t: ExecutionContext,
): Promise<{ dataDir: string; actions: Authority }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'admin-'));
  const clock = new SystemClock();
  const actions = await Authority.open({ dataDir, clock, log: silentLog, addresses: [] });
  t.teardown(async () => {
    await actions[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true });
  });
  return { dataDir, actions };
}

test('AdminSocket serves tokens and revocation to its own user, and leaves no file', async (t) => {
  const { dataDir, actions } = await openAuthority(t);
  const path = adminSocketPath(dataDir);
  t.is(await AdminClient.connect(path), undefined);
  {
    await using _socket = await AdminSocket.open({ dataDir, actions, log: silentLog });
    t.is((await stat(path)).mode & 0o777, 0o600);
    const client = await AdminClient.connect(path);
    if (client === undefined) throw new Error('nobody answers');
    const token = await client.createToken({ ttlMs: 60_000, role: 'seed', uses: 1, idc: 'east' });
    const { id, secret } = parseToken(token);
    t.like((await client.tokens())[0], { id, role: 'seed', usesLeft: 1, idc: 'east' });
    const { peerId } = HostKey.generate();
    const claim = { id, secret, peerId, address: '127.0.0.1' };
    t.like(await actions.redeem(claim), { role: 'seed' });
    t.true(await client.deleteToken(id));
    t.false(await client.deleteToken(id));
    await client.revoke(peerId);
    t.true(actions.isRevoked(peerId));
    await t.throwsAsync(client.revoke(actions.key.peerId), { code: 'ERR_REQUEST' });
    const bad = { ttlMs: 60_000, role: 'host', cidr: 'x' } as const;
    await t.throwsAsync(client.createToken(bad), { code: 'ERR_USAGE', message: /network/ });
  }
  t.false(existsSync(path));
});

test('AdminSocket.open() replaces the socket of a killed supernode, not that of a running one', async (t) => {
  const { dataDir, actions } = await openAuthority(t);
  const path = adminSocketPath(dataDir);
  const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script]);
  t.true(existsSync(path));
  await using _socket = await AdminSocket.open({ dataDir, actions, log: silentLog });
  await t.throwsAsync(AdminSocket.open({ dataDir, actions, log: silentLog }), {
    code: 'ERR_STORE_LOCKED',
  });
  const client = await AdminClient.connect(path);
  t.deepEqual(await client?.tokens(), []);
});

test('AdminSocket.open() names the flag when the path is too long for a socket', async (t) => {
  const { actions } = await openAuthority(t);
  const dataDir = `/tmp/${'x'.repeat(100)}`;
  await t.throwsAsync(AdminSocket.open({ dataDir, actions, log: silentLog }), {
    code: 'ERR_CONFIG',
    message: /--data-dir/,
  });
});
