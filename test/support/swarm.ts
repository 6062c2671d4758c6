import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startOrigin } from '../../bench/origin/fault-origin.ts';
import type { FaultOrigin } from '../../bench/origin/fault-origin.ts';
import { SystemClock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import type { DownloadEvent, DownloadRequest } from '../../core/swarm/download-events.ts';
import { openEngine } from '../../core/swarm/engine.ts';
import type { Engine, EngineOptions } from '../../core/swarm/engine.ts';
import { startSupernode } from '../../supernode/index.ts';
import type { Supernode, SupernodeOptions } from '../../supernode/index.ts';

/** One line of a program's log, kept for the test to look at. */
export interface LogLine {
  readonly who: string;
  readonly level: string;
  readonly message: string;
  readonly facts: Record<string, unknown>;
}

type Done = Extract<DownloadEvent, { type: 'done' }>;
type Failed = Extract<DownloadEvent, { type: 'failed' }>;

/**
 * A supernode, an origin and hosts in the process of the test: real sockets, workers and files, but no
 * processes, so that a test can reach into a host. Dispose it to stop everything and remove the files.
 */
export class TestSwarm implements AsyncDisposable {
  readonly origin: FaultOrigin;
  readonly directory: string;
  readonly log: LogLine[] = [];
  readonly #stack = new AsyncDisposableStack();
  #supernode: Supernode | undefined;
  #token = '';

  private constructor(origin: FaultOrigin, directory: string) {
    this.origin = origin;
    this.directory = directory;
  }

  static async start(
    options: {
      readonly supernode?: Partial<SupernodeOptions>;
      readonly bytesPerSecond?: number;
    } = {},
  ): Promise<TestSwarm> {
    const { bytesPerSecond } = options;
    const origin = await startOrigin(bytesPerSecond === undefined ? {} : { bytesPerSecond });
    const directory = await mkdtemp(join(tmpdir(), 'odonata-swarm-'));
    const swarm = new TestSwarm(origin, directory);
    await swarm.startSupernode(options.supernode ?? {});
    return swarm;
  }

  get supernode(): Supernode {
    if (this.#supernode === undefined) throw new TypeError('no supernode is running');
    return this.#supernode;
  }

  async startSupernode(options: Partial<SupernodeOptions> = {}): Promise<void> {
    this.#supernode = await startSupernode({
      dataDir: join(this.directory, 'supernode'),
      listen: '127.0.0.1',
      advertise: [],
      meshPort: 0,
      linkPort: 0,
      httpPort: 0,
      originAllow: ['127.0.0.0/8'],
      originRate: 0,
      uploadRate: 0,
      encryption: 'tls',
      workers: 1,
      clock: new SystemClock(),
      random: new SystemRandom(),
      log: this.logOf('supernode'),
      ...options,
    });
    this.#token = await this.#supernode.authority.createToken({ ttlMs: 3_600_000, role: 'host' });
  }

  /** Starts a host named so; the same name later is the same host with what it kept. */
  async host(name: string, options: Partial<EngineOptions> = {}): Promise<Engine> {
    const engine = await openEngine({
      dataDir: join(this.directory, name),
      supernodes: [`127.0.0.1:${this.supernode.meshPort}`],
      joinToken: this.#token,
      listen: { host: '127.0.0.1', port: 0 },
      originAllow: ['127.0.0.0/8'],
      workers: 1,
      log: this.logOf(name),
      ...options,
    });
    this.#stack.use(engine);
    return engine;
  }

  /** Downloads and answers with the last event. */
  async download(
    engine: Engine,
    request: DownloadRequest,
    options: {
      readonly signal?: AbortSignal;
      readonly onEvent?: (event: DownloadEvent) => void;
    } = {},
  ): Promise<Done | Failed> {
    const signal = options.signal ?? new AbortController().signal;
    for await (const event of engine.download({ explain: true, ...request }, { signal })) {
      options.onEvent?.(event);
      if (event.type === 'done' || event.type === 'failed') return event;
    }
    throw new TypeError('the download ended without a last event');
  }

  logOf(who: string): Log {
    const add = (level: string) => (facts: object, message: string) => {
      this.log.push({ who, level, message, facts: { ...facts } });
    };
    const log: Log = {
      error: add('error'),
      warn: add('warn'),
      info: add('info'),
      debug: add('debug'),
      child: () => log,
    };
    return log;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    await this.#supernode?.[Symbol.asyncDispose]();
    await this.origin.close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** The bytes of `done` when it is done; fails loudly otherwise. */
export function doneOf(event: Done | Failed): Done {
  if (event.type === 'done') return event;
  throw new Error(`the download failed: ${event.code} ${event.message}`);
}
