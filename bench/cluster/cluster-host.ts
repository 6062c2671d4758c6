import { join } from 'node:path';
import type { DownloadEvent, DownloadRequest } from '../../core/swarm/download-events.ts';
import { startDfget } from './dfget-run.ts';
import type { DfgetResult, DfgetRun } from './dfget-run.ts';
import { askJson, downloadEvents } from './local-api.ts';
import type { Program } from './program.ts';
import type { Workplace } from './workplace.ts';

/** What a test or benchmark reads of `/v1/status`. */
export interface HostStatus {
  readonly peer: string;
  readonly supernode: { readonly state: string; readonly reason?: string };
  readonly downloads: { readonly active: number };
  readonly traffic: {
    readonly linkReceivedBytes: number;
    readonly linkSentBytes: number;
    readonly originReceivedBytes: number;
    readonly duplicateBytes: number;
  };
}

/** How one download by a dfget process is asked for. */
export interface DfgetOptions {
  /** Default: a file named after the host in its own folder, replaced if there. */
  readonly output?: string;
  readonly args?: readonly string[];
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: (event: DownloadEvent) => void;
}

/** One host of a cluster: its dfdaemon, and the dfgets started on it. */
export class ClusterHost {
  readonly name: string;
  readonly address: string;
  /** Everything of this host: data, socket, outputs. */
  readonly folder: string;
  readonly socket: string;
  readonly daemon: Program;
  readonly #workplace: Workplace;

  constructor(
    place: Pick<ClusterHost, 'name' | 'address' | 'folder' | 'socket'>,
    parts: { readonly daemon: Program; readonly workplace: Workplace },
  ) {
    this.name = place.name;
    this.address = place.address;
    this.folder = place.folder;
    this.socket = place.socket;
    this.daemon = parts.daemon;
    this.#workplace = parts.workplace;
  }

  /** Where `dfget()` puts the content unless told otherwise. */
  get output(): string {
    return join(this.folder, 'output');
  }

  /** Starts a dfget process on this host. */
  async startDfget(url: string, options: DfgetOptions = {}): Promise<DfgetRun> {
    const { output = this.output, args = [], signal, onEvent } = options;
    const { installation, guard, env } = this.#workplace;
    const words = [url, '-O', output, '--overwrite', '--socket', this.socket, ...args];
    return startDfget([...installation('dfget'), ...words], {
      guard,
      env,
      signal,
      ...(onEvent === undefined ? {} : { onEvent }),
    });
  }

  /** Runs dfget to its end, whatever that is. */
  async dfget(url: string, options: DfgetOptions = {}): Promise<DfgetResult> {
    return (await this.startDfget(url, options)).result;
  }

  /** The events of a download asked for at the socket itself. */
  download(
    request: DownloadRequest,
    options: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<DownloadEvent, void, undefined> {
    return downloadEvents(this.socket, request, options);
  }

  async status(): Promise<HostStatus> {
    return (await askJson({ socketPath: this.socket }, '/v1/status')) as HostStatus;
  }

  /** Ids of the tasks that are on this host, in part or whole. */
  async tasks(): Promise<string[]> {
    const listed = (await askJson({ socketPath: this.socket }, '/v1/tasks')) as {
      tasks: { task: string }[];
    };
    return [...new Set(listed.tasks.map(({ task }) => task))];
  }

  /** Removes a task from this host. */
  async forget(task: string): Promise<void> {
    await askJson({ socketPath: this.socket }, `/v1/tasks/${task}`, { method: 'DELETE' });
  }
}
