import { abortable } from '../core/base/clock.ts';
import type { Clock } from '../core/base/clock.ts';
import type { Downloader } from '../core/swarm/download-events.ts';
import type { EngineOptions, OpenEngine, OpenedEngine } from './in-process.ts';

/** What the engine of a run is opened with. */
interface OwnEngineTools {
  readonly openEngine: OpenEngine;
  readonly clock: Clock;
  readonly reporter: { note(text: string): void };
}

/** The engine in this process: opened when it is first needed, one for all files of a run, closed with it. */
export class OwnEngine implements AsyncDisposable {
  readonly #options: EngineOptions;
  readonly #tools: OwnEngineTools;
  #opening: Promise<OpenedEngine> | undefined;
  #opened: OpenedEngine | undefined;
  #isDisposed = false;

  constructor(options: EngineOptions, tools: OwnEngineTools) {
    this.#options = options;
    this.#tools = tools;
  }

  /** The engine, open. */
  async opened({ signal }: { readonly signal: AbortSignal }): Promise<Downloader> {
    this.#opening ??= this.#open();
    return (await abortable(this.#opening, signal)).downloader;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    // One that is still being opened closes itself: an interrupted run does not wait for it.
    await this.#opened?.[Symbol.asyncDispose]();
  }

  async #open(): Promise<OpenedEngine> {
    const { openInProcess } = await import('./in-process.ts');
    const opened = await openInProcess(this.#options, this.#tools);
    if (this.#isDisposed) await opened[Symbol.asyncDispose]();
    else this.#opened = opened;
    if (opened.isPrivate) {
      const where = this.#options.dataDir;
      this.#tools.reporter.note(`${where} is in use; this download cannot be resumed`);
    }
    return opened;
  }
}
