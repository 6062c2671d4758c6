/**
 * supernode: seed, scheduler and membership of a cell. From top to bottom: keep memory small, read the options, open
 * the parts, serve until a signal comes, and close them in reverse.
 */
import { setFlagsFromString } from 'node:v8';
import type { SupernodePlan } from './config.ts';

// Before anything else is loaded, so that it holds for all of it: bounds the garbage that a burst of registrations may
// pile up. Idle it changes nothing: 122 to 130 MB of RssAnon with 1, 4 and 8 and without (2 cores, 1 worker).
setFlagsFromString('--max-semi-space-size=4');

const { bindCommand, errorLines, newProgram, runProgram } =
  await import('../core/base/command-line.ts');
const { SystemClock } = await import('../core/base/clock.ts');
const { CodedError } = await import('../core/base/error.ts');
const { stopOnSignals } = await import('../core/base/stop-signals.ts');
const { planSupernode, supernodeFlags } = await import('./config.ts');
const { addTokenCommands } = await import('./token-command.ts');

/** Stopping ends by itself long before; past this the process goes, whatever still holds it. */
const LAST_RESORT_MS = 9_500;

const clock = new SystemClock();
const { env, stdout, stderr } = process;
const print = (text: string): void => void stdout.write(text);
const complain = (text: string): void => void stderr.write(text);
// A reader that went away (`token list | head`) is no reason to fail.
stdout.on('error', () => undefined);
stderr.on('error', () => undefined);
try {
  const program = newProgram({
    name: 'supernode',
    description: 'Seed, scheduler and membership of a cell',
    print,
  });
  bindCommand(program, {
    table: supernodeFlags,
    env,
    action: async ({ options, warnings }) => serve(planSupernode(options), warnings),
  });
  addTokenCommands(program, { env, clock, uid: process.getuid?.() ?? 0, print, complain });
  await runProgram(program, process.argv.slice(2));
} catch (error) {
  const coded = CodedError.from(error);
  complain(errorLines('supernode', coded));
  if (coded.code === 'ERR_INTERNAL' && error instanceof Error) {
    complain(`${error.stack ?? error.message}\n`);
  }
  process.exitCode = coded.facts.exit;
}
await Promise.all([flushed(stdout), flushed(stderr)]);
process.exit();

/** Opens everything, serves until told to stop, closes everything; throws what prevents it. */
async function serve(plan: SupernodePlan, warnings: readonly string[]): Promise<void> {
  const stop = stopOnSignals();
  const { SystemRandom } = await import('../core/base/random.ts');
  const { openLog } = await import('../core/base/json-log.ts');
  const { ApiKeys } = await import('./api/api-keys.ts');
  const { HttpApi } = await import('./api/http-api.ts');
  const { AdminSocket } = await import('./api/admin-socket.ts');
  const { SupernodeMetrics } = await import('./metrics.ts');
  const { operatorParts } = await import('./operator-parts.ts');
  const { startFailure } = await import('./start-failure.ts');
  const { startSupernode } = await import('./index.ts');

  const log = openLog('supernode', plan.logLevel);
  for (const warning of warnings) log.warn({ warning }, 'check the configuration');
  const { keyFile, pushKeyFile } = plan.http;
  const keys = keyFile === undefined ? undefined : await ApiKeys.load(keyFile);
  const pushKeys =
    pushKeyFile === undefined ? undefined : await ApiKeys.load(pushKeyFile, '--push-key-file');

  await using parts = new AsyncDisposableStack();
  const metrics = parts.use(new SupernodeMetrics());
  // First, so that /healthz can tell that the rest is starting; and so last to go.
  const api = parts.use(await HttpApi.open({ ...plan.http, keys, pushKeys, log }));
  const options = { ...plan.supernode, httpPort: api.port, clock, random: new SystemRandom(), log };
  const supernode = parts.use(
    await startSupernode(options).catch((error: unknown) => {
      throw startFailure(error, plan);
    }),
  );
  const served = operatorParts(supernode, { clock, metrics });
  const { dataDir } = plan.supernode;
  parts.use(await AdminSocket.open({ dataDir, actions: served.actions, log }));
  api.serve(served);
  const { authority, meshPort, linkPort } = supernode;
  log.info(
    { peer: authority.key.peerId, cell: authority.cell, meshPort, linkPort, httpPort: api.port },
    'supernode ready',
  );

  if (!stop.aborted) {
    const { promise, resolve } = Promise.withResolvers<void>();
    stop.addEventListener('abort', () => resolve(), { once: true });
    await promise;
  }
  log.info({}, 'supernode stopping');
  clock.after(LAST_RESORT_MS, () => process.exit(1), { ref: false });
  api.retire();
  await parts.disposeAsync();
  log.info({}, 'supernode stopped');
}

/** Resolves when what was written to `stream` has left this process, or never will. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}
