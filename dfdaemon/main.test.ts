import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import test from 'ava';
import { startOrigin } from '../bench/origin/fault-origin.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { ask, send } from './local-api/memory-host.contract.ts';

/** A dfdaemon as a process of its own. */
class Daemon implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly log: string[] = [];
  readonly exited: Promise<number>;
  readonly #lines = new EventEmitter();

  constructor(argv: readonly string[]) {
    const { PATH } = process.env;
    this.child = spawn(process.execPath, [join(import.meta.dirname, 'main.ts'), ...argv], {
      env: { PATH },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { stdout, stderr } = this.child;
    for (const stream of [stdout, stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        this.log.push(line);
        this.#lines.emit('line');
      });
    }
    this.exited = once(this.child, 'close').then(([code]) => {
      this.#lines.emit('error', new Error(`dfdaemon ended with ${code}: ${this.text}`));
      return Number(code);
    });
    this.#lines.on('error', () => undefined);
  }

  get text(): string {
    return this.log.join('\n');
  }

  /** Resolves when it has logged `message`. */
  async said(message: string): Promise<void> {
    while (!this.text.includes(`"${message}"`)) await once(this.#lines, 'line');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exited;
  }
}

function folder(): string {
  return temporaryFolder('dfd');
}

function flags(at: string): string[] {
  const ports = ['--link-port', '0', '--proxy-port', '0', '--origin-allow', '127.0.0.0/8'];
  return ['--data-dir', join(at, 'data'), '--socket', join(at, 'd.sock'), ...ports];
}

const download = (url: string): Parameters<typeof send>[1] => ({
  method: 'POST',
  path: '/v1/downloads',
  body: JSON.stringify({ url }),
});

test('dfdaemon starts, serves, stops at SIGTERM, and starts again where it was', async (t) => {
  await using origin = await startOrigin({ routes: { '/x': { content: { seed: 1, length: 9 } } } });
  const at = folder();
  const socket = join(at, 'd.sock');
  await using daemon = new Daemon(flags(at));
  await daemon.said('dfdaemon ready');
  t.like(JSON.parse((await ask(socket, { path: '/healthz' })).text), { status: 'ok' });
  t.regex((await ask(socket, download(origin.url('/x')))).text, /"type":"done".*"fromOrigin":9/);

  await using other = new Daemon(flags(at));
  t.is(await other.exited, 1, other.text);
  t.regex(other.text, /^dfdaemon: ERR_ADDRESS_IN_USE: --socket: a dfdaemon answers on .*d\.sock/m);
  await using third = new Daemon([...flags(at), '--socket', join(at, 'e.sock')]);
  t.is(await third.exited, 10, third.text);
  t.regex(third.text, /^dfdaemon: ERR_STORE_LOCKED: --data-dir: another process uses/m);

  daemon.child.kill('SIGTERM');
  t.is(await daemon.exited, 0, daemon.text);
  t.false(existsSync(socket));
  t.regex(daemon.text, /"dfdaemon stopped"/);

  await using again = new Daemon(flags(at));
  await again.said('dfdaemon ready');
  t.regex((await ask(socket, download(origin.url('/x')))).text, /"type":"done".*"fromCache":9/);
});

test('dfdaemon gives downloads a moment at SIGTERM, then interrupts them, within 10 s', async (t) => {
  const hang = { content: { seed: 1, length: 99 }, stall: { afterBytes: 9 } };
  await using origin = await startOrigin({ routes: { '/x': hang } });
  const at = folder();
  await using daemon = new Daemon(flags(at));
  await daemon.said('dfdaemon ready');
  const { response } = await send(join(at, 'd.sock'), download(origin.url('/x')));
  const startedMs = performance.now();
  daemon.child.kill('SIGTERM');
  const text = (await response.setEncoding('utf8').toArray()).join('');
  t.regex(text, /"type":"failed","code":"ERR_INTERRUPTED"/);
  t.is(await daemon.exited, 0, daemon.text);
  t.true(performance.now() - startedMs < 10_000);
});

test('dfdaemon ends at once at a second signal', async (t) => {
  const hang = { content: { seed: 1, length: 99 }, stall: { afterBytes: 9 } };
  await using origin = await startOrigin({ routes: { '/x': hang } });
  const at = folder();
  await using daemon = new Daemon(flags(at));
  await daemon.said('dfdaemon ready');
  const { request, response } = await send(join(at, 'd.sock'), download(origin.url('/x')));
  request.on('error', () => undefined);
  response.on('error', () => undefined).resume();
  daemon.child.kill('SIGTERM');
  await daemon.said('dfdaemon stopping');
  daemon.child.kill('SIGTERM');
  t.is(await daemon.exited, 143);
  t.false(daemon.text.includes('"dfdaemon stopped"'));
});

test('dfdaemon says what prevents its start, and ends with the exit code of that', async (t) => {
  const cases: [string[], number, RegExp][] = [
    [['--help'], 0, /--supernode <HOST:PORT>/],
    [['--print-config'], 0, /^proxy-port: 65001 # default$/m],
    [['--nonsense'], 1, /^dfdaemon: ERR_USAGE: unknown option/m],
    [['--data-dir', '/dev/null/x'], 10, /^dfdaemon: ERR_STORE_IO: --data-dir: cannot make/m],
    [[...flags(folder()), '--supernode', '127.0.0.1:1'], 1, /^dfdaemon: ERR_TOKEN: --join-token/m],
    [
      [...flags(folder()), '--supernode', '127.0.0.1:1', '--join-token', 'odt1_s3cret'],
      1,
      /^dfdaemon: ERR_TOKEN: --join-token: the join token is cut off/m,
    ],
    [[...flags(folder()), '--listen', '192.0.2.1'], 1, /^dfdaemon: ERR_USAGE: --listen/m],
  ];
  await Promise.all(
    cases.map(async ([argv, code, text]) => {
      await using daemon = new Daemon(argv);
      t.is(await daemon.exited, code, daemon.text);
      t.regex(daemon.text, text);
      t.false(daemon.text.includes('s3cret'));
    }),
  );
});
