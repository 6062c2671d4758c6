// `dfdaemon keep` and its routes, over a real socket and a real store.
import test from 'ava';
import { startOrigin } from '../bench/origin/fault-origin.ts';
import { newProgram, runProgram } from '../core/base/command-line.ts';
import { SystemClock } from '../core/base/clock.ts';
import { silentLog } from '../core/base/log.ts';
import { openEngine } from '../core/swarm/engine.ts';
import { temporaryFolder } from '../test/support/temporary-folder.ts';
import { EngineHost } from './engine-host.ts';
import { addKeepCommand } from './keep-command.ts';
import type { TaskSummary } from './local-api/served-host.ts';
import { ask, askDownload, openApi } from './local-api/memory-host.contract.ts';

const MIB = 2 ** 20;
const QUOTA = 5 * MIB;

interface Daemon extends AsyncDisposable {
  readonly socket: string;
  /** Downloads content of that length, and answers with its task. */
  download(seed: number, length: number): Promise<string>;
  sweep(): Promise<void>;
}

/** A daemon with room for 5 MiB; the same folder is the same daemon. */
async function daemon(dataDir: string): Promise<Daemon> {
  const stack = new AsyncDisposableStack();
  const clock = new SystemClock();
  const origin = stack.use(await startOrigin());
  const options = {
    dataDir,
    supernodes: [],
    originAllow: ['127.0.0.0/8'],
    workers: 1,
    quota: QUOTA,
  };
  const engine = stack.use(await openEngine({ ...options, clock }));
  const host = stack.use(new EngineHost(engine, { clock, log: silentLog, quotaBytes: QUOTA }));
  const api = stack.use(await openApi(host));
  return {
    socket: api.path,
    download: async (seed, length) => {
      origin.set(`/${seed}`, { content: { seed, length } });
      const events = await askDownload(api.path, { url: origin.url(`/${seed}`) });
      const done = events.at(-1);
      if (done?.type !== 'done') throw new Error(JSON.stringify(done));
      return done.task;
    },
    sweep: async () => void (await engine.store.sweep()),
    [Symbol.asyncDispose]: async () => stack.disposeAsync(),
  };
}

/** Runs `dfdaemon keep WORDS`; what it prints. */
async function keep(socket: string, ...words: readonly string[]): Promise<string> {
  let text = '';
  const print = (more: string): void => void (text += more);
  const program = newProgram({ name: 'dfdaemon', description: '', print });
  const user = { uid: 0, home: '/nowhere', runtimeDir: undefined };
  addKeepCommand(program, { env: { ODONATA_SOCKET: socket }, user, print });
  await runProgram(program, ['keep', ...words]);
  return text;
}

async function listed(socket: string): Promise<Map<string, TaskSummary>> {
  const { text } = await ask(socket, { path: '/v1/tasks' });
  const { tasks } = JSON.parse(text) as { tasks: TaskSummary[] };
  return new Map(tasks.map((task) => [task.task, task]));
}

test('dfdaemon keep: what it names outlives what is newer, and restarts, until it is let go', async (t) => {
  const dataDir = temporaryFolder('dfd');
  let kept = '';
  {
    await using it = await daemon(dataDir);
    kept = await it.download(1, 2 * MIB);
    const line = await keep(it.socket, kept, '--for', '1h');
    t.regex(
      line,
      new RegExp(`^${kept} [0-9a-f]{16} \\d{4}-\\d\\d-\\d\\dT\\S+Z 2\\.0 MiB http://\\S+\n$`),
    );
    t.is(await keep(it.socket), line);
  }
  await using it = await daemon(dataDir);
  for (const seed of [2, 3, 4]) await it.download(seed, 2 * MIB);
  await it.sweep();
  const tasks = await listed(it.socket);
  t.true((tasks.get(kept)?.keptUntilMs ?? 0) > 0);
  t.true(tasks.size < 4, 'something else gave way');
  const { text } = await ask(it.socket, { path: '/v1/status' });
  t.like(JSON.parse(text), { storage: { keptBytes: 2 * MIB, repairs: [] }, store: { repairs: 0 } });

  const refused = await ask(it.socket, { method: 'DELETE', path: `/v1/tasks/${kept}` });
  t.is(refused.status, 409);
  t.regex(refused.text, /ERR_TASK_IN_USE.*dfdaemon keep/);
  t.is(await keep(it.socket, kept, '--end'), `${kept} is kept no longer\n`);
  t.is(await keep(it.socket, kept, '--end'), `${kept} was not kept\n`);
  t.is(await keep(it.socket), '');
  t.is((await ask(it.socket, { method: 'DELETE', path: `/v1/tasks/${kept}` })).status, 200);
});

test('dfdaemon keep: no more than half of the quota, and what is wrong is named', async (t) => {
  await using it = await daemon(temporaryFolder('dfd'));
  const [first, second] = [await it.download(1, 2 * MIB), await it.download(2, MIB)];
  const shown: unknown = JSON.parse(await keep(it.socket, first, '--json'));
  t.like(shown, { task: first, isComplete: true });
  await t.throwsAsync(keep(it.socket, second), { code: 'ERR_NO_SPACE', message: /2621440/ });
  const nobody = 'f'.repeat(64);
  await t.throwsAsync(keep(it.socket, nobody), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(keep(it.socket, nobody, '--end'), { code: 'ERR_NOT_FOUND' });
  await t.throwsAsync(keep(it.socket, first, '--version', '0'.repeat(16)), {
    code: 'ERR_NOT_FOUND',
  });
  await t.throwsAsync(keep(it.socket, first, '--for', '9000h'), {
    code: 'ERR_REQUEST',
    message: /forMs/,
  });
  const usage = { code: 'ERR_USAGE' };
  await t.throwsAsync(keep(it.socket, 'short'), { ...usage, message: /TASK/ });
  await t.throwsAsync(keep(it.socket, '--end'), { ...usage, message: /TASK/ });
  await t.throwsAsync(keep(it.socket, first, '--end', '--for', '1h'), {
    ...usage,
    message: /--end/,
  });
  await t.throwsAsync(keep(it.socket, first, '--version', 'x'), { ...usage, message: /--version/ });
  await t.throwsAsync(keep('/nowhere/sock'), { code: 'ERR_DAEMON_UNAVAILABLE' });
});
