import { mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../core/base/clock.ts';
import { CodedError, systemCode } from '../core/base/error.ts';
import type { Downloader } from '../core/swarm/download-events.ts';

/** What the engine in this process is opened with. */
export interface EngineOptions {
  readonly dataDir: string;
  /** `host:port`; empty: straight to the origin. */
  readonly supernodes: readonly string[];
  readonly joinToken?: string;
  readonly idc?: string;
  readonly encryption?: 'tls' | 'none';
}

/** An engine, and whether what it fetches is kept for the next run. */
export interface OpenedEngine extends AsyncDisposable {
  readonly downloader: Downloader;
  readonly isPrivate: boolean;
}

/** Opens an engine over a data folder. */
export type OpenEngine = (options: EngineOptions) => Promise<Downloader>;

/** What was fetched is for resuming, and for asking again soon; no daemon is there to keep it in bounds. */
const KEEP_MS = 24 * 3_600_000;
/** A private store so old, whose process is gone, was left by a SIGKILL. */
const STALE_MS = 24 * 3_600_000;

/** The engine of core, loaded only now: libp2p, level and undici take half a second. */
export async function loadEngine(options: EngineOptions): Promise<Downloader> {
  const { openEngine } = await import('../core/swarm/engine.ts');
  const engine = await openEngine({ ...options, ttlMs: KEEP_MS, settleMs: 0 });
  // No run lasts long enough for the engine's own sweeps.
  await engine.store.sweep();
  return engine;
}

/**
 * Opens the engine over its data folder, or over a private one, removed afterwards, while another dfget
 * uses that.
 */
export async function openInProcess(
  options: EngineOptions,
  tools: { readonly openEngine: OpenEngine; readonly clock: Clock },
): Promise<OpenedEngine> {
  const { openEngine } = tools;
  await makeDataDir(options.dataDir);
  try {
    const downloader = await openEngine(options);
    return {
      downloader,
      isPrivate: false,
      [Symbol.asyncDispose]: () => downloader[Symbol.asyncDispose](),
    };
  } catch (error) {
    if (!(error instanceof CodedError) || error.code !== 'ERR_STORE_LOCKED') throw error;
  }
  await removeStale(options.dataDir, tools.clock);
  return openPrivate(options, openEngine);
}

async function openPrivate(options: EngineOptions, openEngine: OpenEngine): Promise<OpenedEngine> {
  const dataDir = await mkdtemp(`${privatePrefix(options.dataDir)}${process.pid}-`);
  try {
    const downloader = await openEngine({ ...options, dataDir });
    return {
      downloader,
      isPrivate: true,
      [Symbol.asyncDispose]: async () => {
        await downloader[Symbol.asyncDispose]();
        await rm(dataDir, { recursive: true, force: true });
      },
    };
  } catch (error) {
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
}

function privatePrefix(dataDir: string): string {
  return `${dataDir}-private-`;
}

async function removeStale(dataDir: string, clock: Clock): Promise<void> {
  const parent = dirname(dataDir);
  const prefix = basename(privatePrefix(dataDir));
  for (const name of await readdir(parent)) {
    const pid = /^(\d+)-/.exec(name.startsWith(prefix) ? name.slice(prefix.length) : '')?.[1];
    if (pid === undefined || isRunning(Number(pid))) continue;
    const path = join(parent, name);
    // By age too: the home folder may be shared with hosts whose processes cannot be seen from here.
    const stats = await stat(path).catch(() => undefined);
    if (stats === undefined || clock.now() - stats.mtimeMs < STALE_MS) continue;
    await rm(path, { recursive: true, force: true }).catch(() => undefined);
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return systemCode(error) !== 'ESRCH';
  }
}

async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dirname(dataDir), { recursive: true });
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    const message = `cannot make ${dataDir} (${systemCode(error) ?? 'unknown'}); use another --data-dir`;
    throw new CodedError('ERR_STORE_IO', message, { cause: error });
  }
}
