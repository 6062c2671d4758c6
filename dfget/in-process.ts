import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
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

/** The engine of core, loaded only now: libp2p, level and undici take half a second. */
export async function loadEngine(options: EngineOptions): Promise<Downloader> {
  const { openEngine } = await import('../core/swarm/engine.ts');
  return openEngine({ ...options, supernodes: [...options.supernodes] });
}

/**
 * Opens the engine over its data folder, or over a private one, removed afterwards, while another dfget
 * uses that.
 */
export async function openInProcess(
  options: EngineOptions,
  openEngine: OpenEngine,
): Promise<OpenedEngine> {
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
  return openPrivate(options, openEngine);
}

async function openPrivate(options: EngineOptions, openEngine: OpenEngine): Promise<OpenedEngine> {
  const dataDir = await mkdtemp(`${options.dataDir}-private-`);
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

async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dirname(dataDir), { recursive: true });
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    const message = `cannot make ${dataDir} (${systemCode(error) ?? 'unknown'}); use another --data-dir`;
    throw new CodedError('ERR_STORE_IO', message, { cause: error });
  }
}
