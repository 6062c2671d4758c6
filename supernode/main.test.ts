import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { SystemClock } from '../core/base/clock.ts';
import { silentLog } from '../core/base/log.ts';
import { SystemRandom } from '../core/base/random.ts';
import { HostKey } from '../core/identity/host-key.ts';
import { parseToken } from '../core/identity/join-token.ts';
import { protocols } from '../core/wire/messages.ts';
import { MeshNode } from '../core/net/mesh/mesh-node.ts';
import { joinCell } from '../core/swarm/join-cell.ts';

const main = join(import.meta.dirname, 'main.ts');
const ports = ['--mesh-port', '0', '--link-port', '0', '--http-port', '0'];

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(t: ExecutionContext, argv: readonly string[]): ChildProcess {
  const { PATH } = process.env;
  const child = spawn(process.execPath, [main, ...argv], { env: { PATH } });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

async function run(t: ExecutionContext, argv: readonly string[]): Promise<Ran> {
  const child = start(t, argv);
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr?.on('data', (chunk) => (stderr += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

interface Running {
  readonly child: ChildProcess;
  readonly ready: { readonly meshPort: number; readonly httpPort: number; readonly cell: string };
  readonly lines: string[];
}

/** A supernode that serves. */
async function startSupernode(t: ExecutionContext, dataDir: string): Promise<Running> {
  const child = start(t, ['--data-dir', dataDir, '--listen', '127.0.0.1', ...ports]);
  if (child.stderr === null) throw new Error('no standard error');
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    lines.push(line);
    if (!line.includes('supernode ready')) continue;
    child.stderr.on('data', (chunk) => lines.push(String(chunk)));
    child.stderr.resume();
    return { child, ready: JSON.parse(line) as Running['ready'], lines };
  }
  throw new Error(`it did not start: ${lines.join('\n')}`);
}

async function stop(
  { child }: Running,
  signal: NodeJS.Signals = 'SIGTERM',
): Promise<number | null> {
  const closed = once(child, 'close');
  child.kill(signal);
  const [code] = (await closed) as [number | null];
  return code;
}

async function folder(t: ExecutionContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'supernode-'));
  t.teardown(async () => rm(path, { recursive: true, force: true }));
  return path;
}

async function health(port: number): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}/healthz`)).status;
}

test.serial(
  'supernode serves, makes tokens meanwhile, lets a host in and puts it out, and stops',
  async (t) => {
    const dataDir = await folder(t);
    const running = await startSupernode(t, dataDir);
    const { meshPort, httpPort, cell } = running.ready;
    t.is(await health(httpPort), 200);
    const flags = ['--data-dir', dataDir];
    const made = await run(t, ['token', 'create', ...flags, '--uses', '1', '--role', 'seed']);
    t.like(made, { code: 0, stderr: '' });
    t.regex(made.stdout, /^odt1_[\w-]+\n$/);
    const token = parseToken(made.stdout);
    t.is(token.cell, cell);

    const key = HostKey.generate();
    const clock = new SystemClock();
    const parts = { clock, random: new SystemRandom(), log: silentLog };
    const host = await MeshNode.start({ privateKeyProtobuf: key.libp2pPrivateKey(), ...parts });
    t.teardown(async () => host.close());
    const { signal } = new AbortController();
    const address = `127.0.0.1:${meshPort}`;
    const enter = async () => {
      const options = { token, wants: {}, now: clock.now(), clock, signal };
      return joinCell(host, address, options);
    };
    const { record } = await enter();
    const hello = { v: 1, record, addresses: [], hostname: 'node-7' };
    const control = await host.dial(address, protocols.control, { hello, signal });
    // Handed over a moment after the welcome: answered by then.
    control.send({ type: 'renew-record' });
    await control.receive()[Symbol.asyncIterator]().next();
    const shown = await fetch(`http://127.0.0.1:${httpPort}/api/v1/hosts/${key.peerId}`);
    t.like(await shown.json(), { peer: key.peerId, role: 'seed', hostname: 'node-7' });
    const metrics = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text();
    t.regex(metrics, /^odonata_supernode_joins_total\{result="ok"\} 1$/m);
    // Again with the same key, which costs no use; but not once that is revoked.
    t.is((await enter()).type, 'membership');
    t.like(await run(t, ['host', 'revoke', ...flags, key.peerId]), { code: 0, stdout: '' });
    t.like(await control.closed, { code: 'ERR_NOT_MEMBER' });
    await t.throwsAsync(enter());
    const tokens = await run(t, ['token', 'list', ...flags, '--json']);
    t.like(JSON.parse(tokens.stdout), { id: token.id, role: 'seed', usesLeft: 0 });
    t.is(await stop(running), 0);
    t.false((await readdir(dataDir)).includes('admin.sock'));
    t.false(running.lines.join('').includes(token.secret));
  },
);

test.serial(
  'supernode starts again after a kill, and refuses a folder where another runs',
  async (t) => {
    const dataDir = await folder(t);
    const first = await startSupernode(t, dataDir);
    const argv = ['--data-dir', dataDir, '--listen', '127.0.0.1', ...ports];
    const second = await run(t, [...argv, '--log-level', 'error']);
    t.is(second.code, 10);
    t.regex(second.stderr, /^supernode: ERR_STORE_LOCKED: --data-dir: .*\n.*\n$/);
    const killed = once(first.child, 'close');
    first.child.kill('SIGKILL');
    await killed;
    t.true((await readdir(dataDir)).includes('admin.sock'));
    const again = await startSupernode(t, dataDir);
    t.is(again.ready.cell, first.ready.cell);
    t.is(await stop(again, 'SIGINT'), 0);
  },
);

test.serial('supernode names the flag that keeps it from starting, in two lines', async (t) => {
  const dataDir = await folder(t);
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const taken = String((other.address() as AddressInfo).port);
  const local = ['--data-dir', dataDir, '--listen', '127.0.0.1', '--log-level', 'error', ...ports];
  const cases: readonly [readonly string[], RegExp][] = [
    [[...local, '--mesh-port', taken], /^supernode: ERR_ADDRESS_IN_USE: --mesh-port: .*\n.*\n$/],
    [[...local, '--mesh-prot', '1'], /^supernode: ERR_USAGE: .*--mesh-port\?\)\n.*\n$/],
  ];
  for (const [argv, message] of cases) {
    const { code, stdout, stderr } = await run(t, argv);
    t.is(code, 1, argv.join(' '));
    t.is(stdout, '');
    t.regex(stderr, message);
  }
});
