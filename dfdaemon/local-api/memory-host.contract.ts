import { request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import type { DownloadEvent, DownloadRequest } from '../../core/swarm/download-events.ts';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { temporaryFolder } from '../../test/support/temporary-folder.ts';
import { DownloadSlots } from './download-slots.ts';
import { LocalApi } from './local-api.ts';
import type {
  HostHealth,
  HostStatus,
  LimitChanges,
  LimitsReport,
  ServedHost,
  TaskSummary,
} from './served-host.ts';

/** The task of every fixture. */
export const TASK = 'a'.repeat(64);
/** Its version. */
export const VERSION = '0123456789abcdef';

const FREE = { download: 0, upload: 0, origin: 0 };

type Script = (
  request: DownloadRequest,
  options: { readonly signal: AbortSignal },
) => AsyncIterable<DownloadEvent>;

/** A host whose downloads are told and whose tasks are in memory: the twin of `EngineHost`. */
export class MemoryHost implements ServedHost {
  readonly slots: DownloadSlots;
  readonly stored: (TaskSummary & { readonly bytes: () => AsyncIterable<Uint8Array> })[] = [];
  supernode: HostHealth['supernode'] = { state: 'none' };
  workers: HostHealth['workers'] = { alive: 1, total: 1 };
  limited: LimitsReport = {
    own: FREE,
    cell: {},
    inForce: FREE,
    adaptive: { isOn: false, blind: [] },
    tasks: [],
  };
  readonly #script: Script;

  constructor(script: Script, options: { readonly max?: number } = {}) {
    this.#script = script;
    this.slots = new DownloadSlots(options);
  }

  download(
    request: DownloadRequest,
    options: { signal: AbortSignal },
  ): AsyncIterable<DownloadEvent> {
    return this.#script(request, options);
  }

  async *content(of: {
    readonly task: string;
    readonly version: string;
  }): AsyncGenerator<Uint8Array> {
    yield* this.#find(of).bytes();
  }

  tasks(): readonly TaskSummary[] {
    return this.stored.map(({ bytes: _bytes, ...summary }) => summary);
  }

  versions(task: string): readonly TaskSummary[] {
    return this.tasks().filter((summary) => summary.task === task);
  }

  async remove(of: { readonly task: string; readonly version: string }): Promise<void> {
    this.stored.splice(this.stored.indexOf(this.#find(of)), 1);
  }

  async keep(
    of: { readonly task: string; readonly version: string },
    forMs: number | undefined,
  ): Promise<void> {
    const found = this.#find(of);
    const { keptUntilMs: _before, ...rest } = found;
    const keptUntilMs = new SystemClock().now() + (forMs ?? 0);
    const kept = forMs === undefined ? rest : { ...rest, keptUntilMs };
    this.stored.splice(this.stored.indexOf(found), 1, kept);
  }

  limits(): LimitsReport {
    return this.limited;
  }

  async setLimits({ tasks = [], ...changes }: LimitChanges): Promise<void> {
    const own = { ...this.limited.own, ...changes };
    this.limited = { ...this.limited, own, cell: {}, inForce: own, tasks };
  }

  health(): HostHealth {
    const running = this.supernode.state === 'disconnected' ? 'degraded' : 'ok';
    const { workers } = this;
    const alive = workers.alive === 0 ? 'down' : running;
    return {
      status: this.slots.isStopping ? 'stopping' : alive,
      store: { isReady: true, openMs: 1, repairs: 0 },
      link: { isReady: false },
      workers,
      supernode: this.supernode,
    };
  }

  async status(): Promise<HostStatus> {
    const traffic = {
      linkReceivedBytes: 0,
      linkSentBytes: 0,
      originReceivedBytes: 0,
      duplicateBytes: 0,
      links: 0,
    };
    return {
      ...this.health(),
      version: '0',
      pid: 1,
      uptimeSeconds: 0,
      peer: 'peer',
      addresses: [],
      downloads: { active: this.slots.active, activeTasks: 0, done: 0, failed: 0 },
      storage: {
        directory: '/nowhere',
        bytes: 0,
        tasks: this.stored.length,
        keptBytes: 0,
        repairs: [],
      },
      traffic,
    };
  }

  async metrics(): Promise<{ contentType: string; text: string }> {
    return { contentType: 'text/plain; version=0.0.4; charset=utf-8', text: 'x 1\n' };
  }

  #find(of: { readonly task: string; readonly version: string }): (typeof this.stored)[number] {
    const found = this.stored.find((one) => one.task === of.task && one.version === of.version);
    if (found === undefined) throw new CodedError('ERR_NOT_FOUND', 'no such task');
    return found;
  }
}

/** The events of a download of one byte that is here already. */
export async function* warmDownload(request: DownloadRequest): AsyncGenerator<DownloadEvent> {
  yield { type: 'started', task: TASK, url: request.url, length: 1 };
  yield doneEvent();
}

/** A `done` event of one byte from the cache. */
export function doneEvent(): Extract<DownloadEvent, { type: 'done' }> {
  const sources = { fromPeers: 0, fromSeed: 0, fromOrigin: 0, fromCache: 1 };
  const facts = { task: TASK, version: VERSION, length: 1, seconds: 0.001, duplicate: 0 };
  return { type: 'done', ...facts, ...sources };
}

/** A `progress` event. */
export function progressEvent(received: number): DownloadEvent {
  const sources = { fromPeers: received, fromSeed: 0, fromOrigin: 0, fromCache: 0 };
  return { type: 'progress', received, bytesPerSecond: 1, ...sources };
}

/** A complete stored version over these bytes. */
export function storedVersion(
  bytes: Uint8Array,
  changes: Partial<TaskSummary> = {},
): TaskSummary & { readonly bytes: () => AsyncIterable<Uint8Array> } {
  return {
    task: TASK,
    version: VERSION,
    length: bytes.length,
    receivedBytes: bytes.length,
    pieceLength: 1024,
    isComplete: true,
    isPrivate: false,
    isInUse: false,
    createdMs: 1,
    accessedMs: 2,
    ...changes,
    bytes: async function* () {
      yield bytes;
    },
  };
}

/** A path short enough for a Unix socket, in a folder of its own. */
export function freshSocketPath(): string {
  return join(temporaryFolder('dfd'), 'd.sock');
}

/** A local API over `host` on a socket of its own. */
export async function openApi(host: ServedHost): Promise<LocalApi & { readonly path: string }> {
  const path = freshSocketPath();
  const api = await LocalApi.open({
    host,
    socket: { path, mode: 0o600 },
    clock: new SystemClock(),
    log: silentLog,
  });
  return Object.assign(api, { path });
}

/** One request, its answer's head received and its body unread. */
export async function send(
  socketPath: string,
  options: {
    readonly method?: string;
    readonly path: string;
    readonly body?: string;
    readonly headers?: Record<string, string>;
  },
): Promise<{ request: ClientRequest; response: IncomingMessage }> {
  const { method = 'GET', path, body, headers = {} } = options;
  const type: Record<string, string> =
    body === undefined ? {} : { 'content-type': 'application/json' };
  const request = httpRequest({
    socketPath,
    agent: false,
    method,
    path,
    headers: { ...type, ...headers },
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { request, response };
}

/** One request and its whole answer. */
export async function ask(
  socketPath: string,
  options: Parameters<typeof send>[1],
): Promise<{ status: number; headers: IncomingMessage['headers']; text: string }> {
  const { response } = await send(socketPath, options);
  const text = (await response.setEncoding('utf8').toArray()).join('');
  return { status: response.statusCode ?? 0, headers: response.headers, text };
}

/** Asks for a download; the answer's lines, parsed. */
export async function askDownload(socketPath: string, body: object): Promise<DownloadEvent[]> {
  const { text } = await ask(socketPath, {
    method: 'POST',
    path: '/v1/downloads',
    body: JSON.stringify(body),
  });
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as DownloadEvent);
}
