/**
 * One run of dfget: check the output, let dfdaemon (or the engine in this process) fetch, put the content in
 * place, report. Nothing here knows flags or terminals.
 */
import { stat } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { Clock } from '../core/base/clock.ts';
import { CodedError } from '../core/base/error.ts';
import type { DownloadRequest, Downloader } from '../core/swarm/download-events.ts';
import { DaemonClient } from '../core/local-api/daemon-client.ts';
import { exitCodeOf } from './exit-code.ts';
import type { OpenEngine } from './in-process.ts';
import type { LocatedRequest, Locate } from './locate.ts';
import { OwnEngine } from './own-engine.ts';
import { checkOutput, deliver, loadStoreOutput } from './output.ts';
import type { DoneEvent, OutputTarget } from './output.ts';
import type { DownloadPlan } from './plan.ts';
import type { Reporter } from './reporter.ts';

/** A dfdaemon that is replaced by a newer one is back within these waits, and has kept what it had. */
const RECONNECT_WAITS_MS = [250, 500, 1000, 2000, 4000];
/** Silence of dfdaemon longer than this is told. */
const SILENCE_MS = 5_000;

/** What a run is given. */
export interface RunTools {
  readonly clock: Clock;
  /** Aborted by the user's signals. */
  readonly signal: AbortSignal;
  readonly reporter: Reporter;
  readonly stdout: Writable;
  readonly openEngine: OpenEngine;
  readonly locate: Locate;
  readonly uid: number;
  /** Monotonic time at which the user started to wait. */
  readonly startedMs: number;
}

/** One content on its way to its output. */
export interface Run {
  /** As the user named it; what is asked of the mesh may hold a signature, and is shown to nobody. */
  readonly url: string;
  readonly sockets: readonly string[];
  readonly target: OutputTarget;
  readonly tools: Pick<RunTools, 'clock' | 'reporter' | 'stdout' | 'uid'>;
  readonly signal: AbortSignal;
  /** For when no dfdaemon can be had. */
  readonly engine: OwnEngine;
  /** What is known so far. */
  readonly state: { length: number; hasBegunOutput: boolean };
  /** False: what came is in place already. */
  readonly isWanted?: (done: DoneEvent) => Promise<boolean>;
}

type LocatedRun = Run & { readonly request: DownloadRequest };

/** Carries out the plan and reports; resolves with the exit code, never rejects. */
export async function runDownload(plan: DownloadPlan, tools: RunTools): Promise<number> {
  const { clock, reporter } = tools;
  const { timeoutMs } = plan.request;
  using deadline = timeoutMs === undefined ? undefined : clock.deadline(timeoutMs, tools);
  const signal = deadline?.signal ?? tools.signal;
  const state = { length: -1, hasBegunOutput: false };
  const seconds = (): number => (clock.monotonic() - tools.startedMs) / 1000;
  try {
    const target = await checkOutput(plan.output);
    for (const note of plan.notes) reporter.note(note);
    const done = await fetchOne(plan, { target, tools, signal, state });
    reporter.done(done, {
      seconds: seconds(),
      output: target.kind === 'stdout' ? '-' : target.path,
    });
    return 0;
  } catch (error) {
    // After an abort whatever failed, failed because of it.
    const failure = CodedError.from(signal.aborted ? signal.reason : error);
    reporter.failed(failure, { seconds: seconds(), length: state.length });
    return exitCodeOf(failure);
  }
}

async function fetchOne(
  plan: DownloadPlan,
  parts: Pick<Run, 'target' | 'signal' | 'state'> & { readonly tools: RunTools },
): Promise<DoneEvent> {
  const { sockets, request } = plan;
  const { tools, signal } = parts;
  const located = await tools.locate(request, { signal });
  await using engine = new OwnEngine(plan.engine, tools);
  // Awaited here: the engine must not be closed before.
  return await fetchAndDeliver({ ...parts, url: request.url, sockets, engine }, located);
}

/** Has `dfdaemon`, or the engine in this process, fetch what was located, and puts it where it belongs. */
export async function fetchAndDeliver(
  run: Run,
  { request, local }: LocatedRequest,
): Promise<DoneEvent> {
  const located = { ...run, request };
  if (local !== undefined) return follow(located, local, run.tools.uid);
  if (run.sockets.length > 0) {
    const done = await throughDaemon(located);
    if (done !== undefined) return done;
  }
  const downloader = await run.engine.opened({ signal: run.signal });
  return follow(located, downloader, run.tools.uid);
}

/** The result, or undefined after a note when no dfdaemon can be had. */
async function throughDaemon(run: LocatedRun): Promise<DoneEvent | undefined> {
  const { sockets, tools } = run;
  let why = `no dfdaemon on ${sockets.join(' or ')}`;
  for (const path of sockets) {
    const uid = await socketOwner(path);
    if (uid === undefined) continue;
    const result = await persistently(run, { path, uid });
    if (!(result instanceof CodedError)) return result;
    why = result.message;
  }
  tools.reporter.note(`${why}; downloading in this process`);
  return undefined;
}

/** Asks again while a dfdaemon that answered before restarts; its last loss when it stays away. */
async function persistently(
  run: LocatedRun,
  socket: { readonly path: string; readonly uid: number },
): Promise<DoneEvent | CodedError> {
  const { clock, reporter } = run.tools;
  for (let attempt = 0, wasReached = false; ; attempt += 1) {
    try {
      return await once(run, socket);
    } catch (error) {
      const loss = lossOf(error, run);
      if (loss === undefined) throw error;
      const waitMs = RECONNECT_WAITS_MS[attempt];
      wasReached ||= loss.detail['reached'] !== false;
      if (!wasReached || waitMs === undefined) return loss;
      if (attempt === 0) reporter.note(`${loss.message}; asking it again`);
      reporter.passing({ type: 'stalled', reason: 'dfdaemon to come back', ms: 0 });
      await clock.sleep(waitMs, { signal: run.signal });
    }
  }
}

async function once(
  run: LocatedRun,
  socket: { readonly path: string; readonly uid: number },
): Promise<DoneEvent> {
  await using client = new DaemonClient(socket.path);
  return await follow(run, client, socket.uid);
}

/** `error` when it means that dfdaemon went away and the download may be asked for again. */
function lossOf(error: unknown, run: Run): CodedError | undefined {
  if (!(error instanceof CodedError) || run.signal.aborted) return undefined;
  // What standard output or a device has swallowed cannot be taken back.
  if (run.state.hasBegunOutput && run.target.kind !== 'file') return undefined;
  const isGone = error.code === 'ERR_DAEMON_UNAVAILABLE' || error.code === 'ERR_INTERRUPTED';
  return isGone ? error : undefined;
}

/** Downloads with `downloader`, passes on what it says, and delivers the content. */
async function follow(
  run: LocatedRun,
  downloader: Downloader,
  storeUid: number,
): Promise<DoneEvent> {
  const { request, target, tools, signal, state } = run;
  // The request first: all that follows is done while dfdaemon works on it.
  const events = downloader.download(request, { signal });
  using watch = new SilenceWatch(tools);
  const loading = loadWhileWaiting();
  for await (const event of events) {
    watch.heard();
    switch (event.type) {
      case 'started':
      case 'progress':
        state.length = event.length ?? state.length;
        tools.reporter.passing(event.type === 'started' ? { ...event, url: run.url } : event);
        break;
      case 'stalled':
        tools.reporter.passing(event);
        break;
      case 'failed':
        throw CodedError.fromObject(event);
      case 'done': {
        const { stdout, uid } = tools;
        state.length = event.length;
        if ((await run.isWanted?.(event)) === false) return event;
        state.hasBegunOutput = true;
        await loading;
        await deliver(event, target, { downloader, stdout, signal, storeUid, uid });
        return event;
      }
    }
  }
  throw new CodedError('ERR_PROTOCOL', 'the download ended without a result');
}

/** Loads what the end of a download needs while dfdaemon works on it. */
async function loadWhileWaiting(): Promise<void> {
  // Loading takes the thread for milliseconds: first this turn of the event loop sends the request.
  await new Promise((resolve) => setImmediate(resolve));
  // Should it fail, it fails again where it is used.
  await loadStoreOutput().catch(() => undefined);
}

/** Tells when nothing has been heard for a while: a wait has to say so. */
class SilenceWatch {
  readonly #tools: Pick<RunTools, 'clock' | 'reporter'>;
  readonly #timer: Disposable;
  #heardMs: number;

  constructor(tools: Pick<RunTools, 'clock' | 'reporter'>) {
    const { clock } = tools;
    this.#tools = tools;
    this.#heardMs = clock.monotonic();
    const timer = clock.every(1000, () => this.#tell());
    this.#timer = { [Symbol.dispose]: () => timer.cancel() };
  }

  heard(): void {
    this.#heardMs = this.#tools.clock.monotonic();
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
  }

  #tell(): void {
    const ms = this.#tools.clock.monotonic() - this.#heardMs;
    if (ms < SILENCE_MS) return;
    this.#tools.reporter.passing({ type: 'stalled', reason: 'no word from the downloader', ms });
  }
}

async function socketOwner(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).uid;
  } catch {
    return undefined;
  }
}
