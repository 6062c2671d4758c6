import test from 'ava';
import type { ExecutionContext } from 'ava';
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { hash } from 'node:crypto';
import { readdirSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { once } from 'node:events';
import { chmod, chown, lstat, mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { doneEvent, inlineDone, LocalApi } from '../../../core/local-api/local-api.contract.ts';
import type { Script } from '../../../core/local-api/local-api.contract.ts';
import { until } from '../../../test/support/until.ts';
import { findUser, ownUser } from '../local-user.ts';
import type { LocalUser } from '../local-user.ts';
import type { ToolRules } from './tool-rules.ts';

const isRoot = process.getuid?.() === 0;

async function runTool(
  rules: ToolRules,
  args: readonly string[],
): Promise<{ readonly exitCode: number; readonly stdout: string; readonly stderr: string }> {
  const child = startTool(rules, args);
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number]>,
  ]);
  return { exitCode, stdout, stderr };
}

function startTool(
  rules: ToolRules,
  args: readonly string[],
): ChildProcessByStdio<null, Readable, Readable> {
  const words = [join(import.meta.dirname, 'main.ts'), JSON.stringify(rules), ...args];
  return spawn(process.execPath, words, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: '/',
    env: {},
  });
}

/** A folder of the user as whom the tool works; as root that is somebody who may not use the socket. */
async function place(t: ExecutionContext): Promise<{ folder: string; user: LocalUser }> {
  const user = isRoot ? await findUser('nobody') : ownUser();
  const folder = await mkdtemp(join(tmpdir(), 'odonata-tool-'));
  t.teardown(async () => rm(folder, { recursive: true, force: true }));
  if (isRoot) await chown(folder, user.uid, user.gid);
  return { folder, user };
}

async function localApi(t: ExecutionContext, script: Script): Promise<LocalApi> {
  const api = await LocalApi.open(script);
  await chmod(api.socketPath, 0o600);
  t.teardown(async () => {
    await api[Symbol.asyncDispose]();
    await rm(dirname(api.socketPath), { recursive: true, force: true });
  });
  return api;
}

test('file.put fetches as the user of the daemon, and writes as the user of the rules', async (t) => {
  const { folder, user } = await place(t);
  const content = Buffer.alloc(300_000, 'content');
  const digest = `sha256:${hash('sha256', content)}`;
  const api = await localApi(t, (_request, { send }) => send(doneEvent(content.length)));
  api.content = content;
  const { socketPath: socket } = api;
  const rules: ToolRules = { tool: 'file.put', user: user.name, folder, socket };
  const path = join(folder, 'f');
  const url = 'http://o/f';
  const put = await runTool(rules, [url, digest, path, '0600', '-']);
  t.deepEqual(put, {
    exitCode: 0,
    stdout: `${JSON.stringify({ path, digest, bytes: content.length })}\n`,
    stderr: '',
  });
  t.deepEqual(api.requests, [{ url, digest, priority: 'release', backToSource: false }]);
  t.deepEqual(await readFile(path), content);
  t.is((await lstat(path)).uid, user.uid);
  // The same size, and other bytes: the file of before stays.
  api.content = Buffer.alloc(content.length, 'forged');
  const forged = await runTool(rules, [url, digest, path, '0600', '-']);
  t.is(forged.stdout, '');
  t.not(forged.exitCode, 0);
  t.regex(forged.stderr, /^ERR_DIGEST_MISMATCH: /);
  t.deepEqual(await readFile(path), content);
  t.deepEqual(await readdir(folder), ['f']);
});

test('file.put says why the content cannot be had, and what of its arguments is wrong', async (t) => {
  const { folder, user } = await place(t);
  let asked = 0;
  const { socketPath: socket } = await localApi(t, (request, { send, response }) => {
    const isSmall = request.url.endsWith('/small');
    if (isSmall) asked += 1;
    if (!isSmall) {
      response.writeHead(502).end('{"error":{"code":"ERR_ORIGIN_REFUSED","message":"404"}}');
    } else if (asked === 1) {
      response.writeHead(503).end('{"error":{"code":"ERR_MESH_UNAVAILABLE","message":"away"}}');
    } else send(inlineDone('small'));
  });
  const rules: ToolRules = { tool: 'file.put', user: user.name, folder, socket };
  const path = join(folder, 'f');
  const digest = `sha256:${hash('sha256', 'small')}`;
  const refused = await runTool(rules, ['http://o/f', digest, path, '0600', '-']);
  t.regex(refused.stderr, /^ERR_ORIGIN_REFUSED: 404/);
  t.not(refused.exitCode, 0);
  const wrong = await runTool(rules, ['ftp://o/f', digest, path, '0600', '-']);
  t.regex(wrong.stderr, /^ERR_REQUEST: url: is no absolute http/);
  t.deepEqual(await readdir(folder), []);
  const small = await runTool(rules, ['http://o/small', digest, path, '0600', '-']);
  t.deepEqual([small.exitCode, asked], [0, 2], 'while the mesh is away it waits, and says so');
  t.regex(small.stderr, /^waiting: ERR_MESH_UNAVAILABLE: away\n$/);
  t.is(await readFile(path, 'utf8'), 'small');
});

test('file.put that is killed leaves the former file, and what is left of it goes with the next', async (t) => {
  const { folder, user } = await place(t);
  const content = Buffer.alloc(300_000, 'content');
  const digest = `sha256:${hash('sha256', content)}`;
  const api = await localApi(t, (_request, { send }) => send(doneEvent(content.length)));
  api.content = content;
  const path = join(folder, 'f');
  const url = 'http://o/f';
  const rules = { tool: 'file.put', user: user.name, folder } as const;
  await runTool({ ...rules, socket: api.socketPath }, [url, digest, path, '0600', '-']);
  // Sends the beginning, and the rest never.
  const socket = join(dirname(api.socketPath), 'stuck.sock');
  const stuck = createServer((request, response) => {
    request.resume();
    if (request.method === 'POST') response.end(`${JSON.stringify(doneEvent(content.length))}\n`);
    else response.writeHead(200, { 'content-length': content.length }).write('other');
  }).listen(socket);
  t.teardown(() => stuck.close());
  await once(stuck, 'listening');
  const child = startTool({ ...rules, socket }, [url, digest, path, '0600', '-']);
  const parts = (): string[] => readdirSync(folder).filter((name) => name.endsWith('.part'));
  await until(() => parts().some((name) => statSync(join(folder, name)).size > 0));
  child.kill('SIGKILL');
  await once(child, 'close');
  stuck.closeAllConnections();
  t.deepEqual(await readFile(path), content);
  t.is(parts().length, 1);
  const again = await runTool({ ...rules, socket: api.socketPath }, [
    url,
    digest,
    path,
    '0644',
    '-',
  ]);
  t.is(again.exitCode, 0, again.stderr);
  t.deepEqual(await readdir(folder), ['f']);
});

test('package.switch of what is not installed touches nothing', async (t) => {
  const { folder, user } = await place(t);
  const rules: ToolRules = { tool: 'package.switch', keep: 3, user: user.name, folder };
  const switched = await runTool(rules, ['web', '1.0', '1000']);
  t.is(switched.exitCode, 1);
  t.is(switched.stdout, '');
  t.regex(switched.stderr, /^ERR_NOT_FOUND: version 1\.0 is not installed on this host/);
  t.is((await lstat(join(folder, 'state'))).uid, user.uid);
});
