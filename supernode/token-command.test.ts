import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { ManualClock, SystemClock } from '../core/base/clock.ts';
import type { Clock } from '../core/base/clock.ts';
import { newProgram, runProgram } from '../core/base/command-line.ts';
import { silentLog } from '../core/base/log.ts';
import { HostKey } from '../core/identity/host-key.ts';
import { parseToken } from '../core/identity/join-token.ts';
import { AdminSocket } from './api/admin-socket.ts';
import { Authority } from './membership/authority.ts';
import { LevelStateStore } from '../core/store/level-state-store.ts';
import { addTokenCommands } from './token-command.ts';

const uid = process.getuid?.() ?? 0;

async function folder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'token-'));
  t.teardown(async () => rm(path, { recursive: true, force: true }));
  return path;
}

/** Runs `supernode ARGV…`; returns what it printed. */
async function supernode(
  argv: readonly string[],
  tools: { clock?: Clock; uid?: number; env?: Record<string, string> } = {},
): Promise<{ stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  const print = (text: string): void => void (stdout += text);
  const complain = (text: string): void => void (stderr += text);
  const program = newProgram({ name: 'supernode', description: 'Test', print });
  const clock = new SystemClock();
  addTokenCommands(program, { env: {}, clock, uid, print, complain, ...tools });
  await runProgram(program, argv);
  return { stdout, stderr };
}

/** A clock whose `sleep()` returns after `onSleep`, the time having passed. */
class NappingClock extends ManualClock {
  readonly #onSleep: () => Promise<void>;

  constructor(onSleep: () => Promise<void> = async () => undefined) {
    super(Date.UTC(2030, 0));
    this.#onSleep = onSleep;
  }

  override async sleep(ms: number): Promise<void> {
    await this.#onSleep();
    this.advance(ms);
  }
}

test('supernode token create prints the token alone, before a supernode ever ran', async (t) => {
  const dataDir = join(await folder(t), 'new');
  const { stdout, stderr } = await supernode(['token', 'create', '--data-dir', dataDir]);
  t.regex(stdout, /^odt1_[\w-]+\n$/);
  t.regex(stderr, /no cell in .*; a new one was made/);
  const second = await supernode(['token', 'create', '--data-dir', dataDir, '--json']);
  t.is(second.stderr, '');
  const { token } = JSON.parse(second.stdout) as { token: string };
  const { cell, id, secret } = parseToken(token);
  t.is(cell, parseToken(stdout).cell);
  const clock = new SystemClock();
  await using authority = await Authority.open({ dataDir, clock, log: silentLog, addresses: [] });
  t.is(authority.cell, cell);
  const claim = { id, secret, peerId: HostKey.generate().peerId, address: '10.0.0.1' };
  t.like(await authority.redeem(claim), { role: 'host' });
});

test('supernode token and host commands reach the supernode that runs', async (t) => {
  const dataDir = await folder(t);
  const clock = new SystemClock();
  await using actions = await Authority.open({ dataDir, clock, log: silentLog, addresses: [] });
  await using _socket = await AdminSocket.open({ dataDir, actions, log: silentLog });
  const env = { ODONATA_DATA_DIR: dataDir };
  const grant = ['--ttl', '1h', '--uses', '3', '--cidr', '10.0.0.0/8', '--role', 'seed'];
  const made = await supernode(['token', 'create', ...grant, '--idc', 'east'], { env });
  t.is(made.stderr, '');
  const { id } = parseToken(made.stdout);
  const [stored] = await actions.tokens();
  t.like(stored, { id, role: 'seed', usesLeft: 3, cidr: '10.0.0.0/8', idc: 'east' });
  const leftMs = (stored?.expires ?? 0) - clock.now();
  t.true(leftMs > 3_000_000 && leftMs <= 3_600_000);
  const list = await supernode(['token', 'list'], { env });
  t.regex(list.stdout, new RegExp(`^ID .*\\n${id}  seed  east +3 +10\\.0\\.0\\.0/8 +20.*Z\\n$`));
  await supernode(['token', 'delete', id], { env });
  t.deepEqual(await actions.tokens(), []);
  t.is((await supernode(['token', 'list', '--json'], { env })).stdout, '');
  await t.throwsAsync(supernode(['token', 'delete', id], { env }), { code: 'ERR_NOT_FOUND' });
  const { peerId } = HostKey.generate();
  await supernode(['host', 'revoke', peerId], { env });
  t.true(actions.isRevoked(peerId));
});

test('supernode host revoke works with no supernode running', async (t) => {
  const dataDir = await folder(t);
  const { peerId } = HostKey.generate();
  await supernode(['host', 'revoke', peerId, '--data-dir', dataDir]);
  const clock = new SystemClock();
  const addresses = ['10.0.0.1:8002'];
  await using authority = await Authority.open({ dataDir, clock, log: silentLog, addresses });
  t.true(authority.isRevoked(peerId));
});

test('supernode token create waits for a supernode that is starting or stopping', async (t) => {
  const dataDir = await folder(t);
  const state = await LevelStateStore.open(join(dataDir, 'state'));
  const clock = new NappingClock(async () => state.close());
  const { stdout } = await supernode(['token', 'create', '--data-dir', dataDir], { clock });
  t.regex(stdout, /^odt1_/);
});

test('supernode token create gives up on a process that has the folder and does not answer', async (t) => {
  const dataDir = await folder(t);
  await using _state = await LevelStateStore.open(join(dataDir, 'state'));
  const clock = new NappingClock();
  const created = supernode(['token', 'create', '--data-dir', dataDir], { clock });
  await t.throwsAsync(created, { code: 'ERR_STORE_LOCKED', message: /admin\.sock/ });
});

test('supernode token create leaves no file in the folder of another user', async (t) => {
  const dataDir = await folder(t);
  const created = supernode(['token', 'create', '--data-dir', dataDir], { uid: uid + 1 });
  await t.throwsAsync(created, { code: 'ERR_CONFIG', message: /another user/ });
  t.deepEqual(await readdir(dataDir), []);
});

test('supernode token commands name what is wrong', async (t) => {
  const dataDir = await folder(t);
  const cases: readonly [readonly string[], RegExp][] = [
    [['token'], /create, list, delete/],
    [['host'], /revoke/],
    [['token', 'create'], /--data-dir is required/],
    [['token', 'create', '--data-dir', dataDir, '--ttl', '5'], /--ttl: /],
    [['token', 'create', '--data-dir', dataDir, '--ttl', '0'], /--ttl: /],
    [['token', 'create', '--data-dir', dataDir, '--uses', '0'], /--uses: /],
    [['token', 'create', '--data-dir', dataDir, '--role', 'king'], /--role: /],
    [['token', 'create', '--data-dir', dataDir, '--idc', 'a|b'], /idc/],
    [['token', 'make'], /too many arguments/],
    [['token', 'delete', '--data-dir', dataDir], /missing required argument/],
  ];
  for (const [argv, message] of cases) {
    await t.throwsAsync(supernode(argv), { code: 'ERR_USAGE', message }, argv.join(' '));
  }
  const revoked = supernode(['host', 'revoke', '--data-dir', dataDir, 'nobody']);
  await t.throwsAsync(revoked, { code: 'ERR_REQUEST' });
});
