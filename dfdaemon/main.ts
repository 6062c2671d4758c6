/**
 * dfdaemon: the engine of this host behind a Unix socket. From top to bottom: keep memory small, read the options,
 * open the parts, serve until a signal comes, and close them in reverse.
 */
import { setFlagsFromString } from 'node:v8';
import type { Log } from '../core/base/log.ts';
import type { Engine, EngineOptions } from '../core/swarm/engine.ts';
import type { DaemonPlan } from './config.ts';
import type { EngineHost } from './engine-host.ts';
import type { JoiningMember } from './first-join.ts';
import type { LoginFile } from './proxy/login-file.ts';
import type { ProxyServer } from './proxy/proxy-server.ts';

// Before anything else is loaded, so that it holds for all of it. Measured with one transfer worker, built JavaScript,
// MiB: idle RssAnon 57 instead of 88; at most 180 instead of 215 resident in a thousand downloads at a time; the same
// CPU time. --max-semi-space-size, set here, changed nothing that could be measured: this flag is enough.
setFlagsFromString('--optimize-for-size');
// Code that ran a minute ago is kept: thrown away, it was compiled anew with the next download, and slow again until V8
// had seen enough of it. 8 hosts took 8 % less CPU (33.2 and 30.4 CPU-s/GiB, one run each).
setFlagsFromString('--no-flush-bytecode');

const { networkInterfaces, homedir, totalmem } = await import('node:os');
const { bindCommand, errorLines, newProgram, runProgram } =
  await import('../core/base/command-line.ts');
const { SystemClock } = await import('../core/base/clock.ts');
const { CodedError } = await import('../core/base/error.ts');
const { stopOnSignals } = await import('../core/base/stop-signals.ts');
const { defaultDataDir, dfdaemonOptions, planDaemon } = await import('./config.ts');
const { addKeepCommand } = await import('./keep-command.ts');
const { addLimitsCommand } = await import('./limits-command.ts');
const { addProxyCommands } = await import('./proxy/proxy-command.ts');
const { addSetupCommand } = await import('./setup/setup-command.ts');

/** Time for downloads under way to end by themselves, and to end once aborted; the rest of 10 s is the engine's. */
const GRACE_MS = 4_000;
const ABORT_MS = 1_000;
const LAST_RESORT_MS = 9_500;

const clock = new SystemClock();
const stop = stopOnSignals();
try {
  const program = newProgram({
    name: 'dfdaemon',
    description: 'Downloads, keeps and passes on content for this host',
    print: (text) => process.stdout.write(text),
  });
  bindCommand(program, {
    table: dfdaemonOptions,
    env: process.env,
    action: async ({ options, warnings }) => {
      const plan = planDaemon(options, {
        user: {
          uid: process.getuid?.() ?? 0,
          home: homedir(),
          runtimeDir: process.env['XDG_RUNTIME_DIR'],
        },
        memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Infinity),
        hasIpv6: Object.values(networkInterfaces()).some((addresses) =>
          addresses?.some(({ family }) => family === 'IPv6'),
        ),
      });
      await serve({ ...plan, notes: [...warnings, ...plan.notes] });
    },
  });
  addSetupCommand(program, {
    env: process.env,
    uid: process.getuid?.() ?? 0,
    home: homedir(),
    print: (text) => process.stdout.write(text),
  });
  addKeepCommand(program, {
    env: process.env,
    user: {
      uid: process.getuid?.() ?? 0,
      home: homedir(),
      runtimeDir: process.env['XDG_RUNTIME_DIR'],
    },
    print: (text) => process.stdout.write(text),
  });
  addLimitsCommand(program, {
    env: process.env,
    user: {
      uid: process.getuid?.() ?? 0,
      home: homedir(),
      runtimeDir: process.env['XDG_RUNTIME_DIR'],
    },
    print: (text) => process.stdout.write(text),
  });
  addProxyCommands(program, {
    env: process.env,
    defaultDataDir: defaultDataDir({ uid: process.getuid?.() ?? 0, home: homedir() }),
    print: (text) => process.stdout.write(text),
  });
  await runProgram(program, process.argv.slice(2));
} catch (error) {
  const coded = CodedError.from(error);
  process.stderr.write(errorLines('dfdaemon', coded));
  if (coded.code === 'ERR_INTERNAL' && error instanceof Error) {
    process.stderr.write(`${error.stack ?? error.message}\n`);
  }
  process.exitCode = coded.facts.exit;
}
process.exit();

/** Opens everything, serves until told to stop, closes everything; throws what prevents it. */
async function serve(plan: DaemonPlan): Promise<void> {
  const { openLog } = await import('../core/base/json-log.ts');
  const { refuseLiveSocket } = await import('./local-api/socket-file.ts');
  const { openEngine } = await import('../core/swarm/engine.ts');
  const { EngineHost } = await import('./engine-host.ts');
  const { LocalApi } = await import('./local-api/local-api.ts');
  const { startFailure } = await import('./start-failure.ts');
  const { watchMachine } = await import('./adaptive/adaptive-io.ts');

  const log = openLog('dfdaemon', plan.logLevel);
  for (const note of plan.notes) log.warn({ note }, 'check the configuration');
  await prepareFolders(plan, log);
  await refuseLiveSocket(plan.socket.path);

  await using parts = new AsyncDisposableStack();
  const engine = parts.use(
    await openEngine({
      ...plan.engine,
      takesOrders: true,
      ...(plan.calls === undefined ? {} : { calls: callsOf(plan, plan.calls, log) }),
      clock,
      log,
    }).catch((error: unknown) => {
      throw startFailure(error, plan);
    }),
  );
  const { advertise, quota } = plan.engine;
  const watch = plan.isAdaptive ? watchMachine(plan.engine.storeDir) : undefined;
  const about = { clock, log, advertise, quotaBytes: quota, watch };
  const host = parts.use(new EngineHost(engine, about));
  const proxy = parts.use(await openProxyPort(plan, { host, engine, log }));
  await engine.pool.addOwnPorts([proxy.port]);
  const api = parts.use(await LocalApi.open({ host, socket: plan.socket, clock, log }));
  host.proxyPort = proxy.port;
  log.info(
    {
      socket: plan.socket.path,
      linkPort: engine.pool.linkPort,
      proxyPort: proxy.port,
      peer: engine.key.peerId,
      dataDir: plan.engine.dataDir,
    },
    'dfdaemon ready',
  );

  await untilStopped(engine.member, log);
  log.info({ downloads: host.slots.active }, 'dfdaemon stopping');
  clock.after(LAST_RESORT_MS, () => process.exit(1), { ref: false });
  const proxied = proxy.drain({ graceMs: GRACE_MS });
  await api.retire();
  await host.slots.drain({ clock, graceMs: GRACE_MS, abortMs: ABORT_MS });
  await proxied;
  await parts.disposeAsync();
  log.info({}, 'dfdaemon stopped');
}

/** Who runs what the cell calls for on this host. */
function callsOf(
  { engine, socket }: DaemonPlan,
  { commandsFile, maxRevocationAgeMs }: NonNullable<DaemonPlan['calls']>,
  log: Log,
): NonNullable<EngineOptions['calls']> {
  const { dataDir } = engine;
  const file = commandsFile === undefined ? {} : { commandsFile };
  return async (way) => {
    const { startCallAgent } = await import('../ops/agent/index.ts');
    const own = { dataDir, socket: socket.path, maxRevocationAgeMs, ...file };
    return startCallAgent({ way, ...own, clock, log });
  };
}

/** The proxy port, with forward proxy and registry mirror. */
async function openProxyPort(
  plan: DaemonPlan,
  parts: { readonly host: EngineHost; readonly engine: Engine; readonly log: Log },
): Promise<ProxyServer> {
  const { SystemRandom } = await import('../core/base/random.ts');
  const { BodyStreams } = await import('./proxy/body-stream.ts');
  const { openProxy } = await import('./proxy/open-proxy.ts');
  const { RegistryMirror } = await import('./proxy/registry-mirror.ts');
  const { host, engine, log } = parts;
  const { linkPort } = engine.pool;
  const { origin: limiter } = engine.limits.limiters;
  const bodies = new BodyStreams({ clock, random: new SystemRandom(), log, limiter });
  const common = { engine, bodies, clock, log };
  const { upstreams, loginFile } = plan.proxy;
  const logins = loginFile === undefined ? undefined : await openLogins(loginFile, log);
  const mirrored = { ...common, counts: host.registryCounts, upstreams, logins };
  return openProxy({
    ...common,
    plan: plan.proxy,
    host,
    counts: host.forwardCounts,
    originLimiter: limiter,
    mirror: (shared) => new RegistryMirror({ ...shared, ...mirrored }),
    ownPorts: linkPort === undefined ? [] : [linkPort],
    name: engine.key.peerId.slice(-12),
  });
}

async function openLogins(path: string, log: Log): Promise<LoginFile> {
  const { LoginFile: Logins } = await import('./proxy/login-file.ts');
  return Logins.open(path, { clock, log });
}

async function prepareFolders(plan: DaemonPlan, log: Log): Promise<void> {
  const { makeFolder, makeMemoryFolder } = await import('./data-folders.ts');
  await makeFolder(plan.engine.dataDir, '--data-dir');
  if (!plan.isInMemory) return;
  const { storeDir, quota: quotaBytes } = plan.engine;
  const notes = await makeMemoryFolder(storeDir, { uid: process.getuid?.() ?? 0, quotaBytes });
  for (const note of notes) log.warn({ directory: storeDir, note }, 'check --memory-dir');
}

/** Resolves at the first signal; throws when this host is refused by its cell before it ever belonged to one. */
async function untilStopped(member: JoiningMember | undefined, log: Log): Promise<void> {
  const { firstJoin } = await import('./first-join.ts');
  const stopped = Promise.withResolvers<void>();
  stop.addEventListener('abort', () => stopped.resolve(), { once: true });
  if (stop.aborted) return;
  if (member === undefined) return stopped.promise;
  await Promise.race([
    stopped.promise,
    firstJoin(member, { clock, log, signal: stop }).then(async () => stopped.promise),
  ]);
}
