import type { Clock } from '../base/clock.ts';
import { abortable } from '../base/clock.ts';
import { CodedError } from '../base/error.ts';
import { taskIdOf } from '../piece/task-id.ts';
import type { DownloadEvent, DownloadRequest } from './download-events.ts';
import type { Engine } from './engine.ts';
import type { InlineRegistration, SwarmRegistration } from './registrar.ts';
import type { JoinOptions, TaskLease } from './swarm-tasks.ts';
import type { TaskPeer } from './task-peer.ts';

/** Progress events come at most this often. */
const PROGRESS_MS = 200;
/** A wait shorter than this is not worth telling. */
const STALL_MS = 2_000;

/**
 * The main path of every download: register the task, be done at once when it is tiny or complete here,
 * otherwise take part in the swarm until it is, and verify the whole. Yields what happens; throws
 * `CodedError` for a failure.
 */
export async function* download(
  engine: Engine,
  request: DownloadRequest,
  options: { readonly clock: Clock; readonly signal: AbortSignal },
): AsyncGenerator<DownloadEvent> {
  const { clock, signal } = options;
  const startedMs = clock.monotonic();
  const seconds = (): number => (clock.monotonic() - startedMs) / 1000;
  const { registration, lease: begun } = await begin(engine, request, { signal });
  const { task } = registration;

  if (begun === undefined) {
    const { version, content, digest } = registration;
    const bytes = Buffer.from(content, 'base64');
    yield { type: 'started', task, url: request.url, length: bytes.length };
    const checked = await engine.checkBytes(bytes, request.digest, digest);
    const sources = { fromPeers: 0, fromSeed: bytes.length, fromOrigin: 0, fromCache: 0 };
    const facts = { task, version, length: bytes.length, digest: checked, seconds: seconds() };
    const explain = request.explain === true ? { explain: INLINE } : {};
    yield { type: 'done', ...facts, ...sources, duplicate: 0, content, ...explain };
    return;
  }

  await using lease = begun;
  const { peer, stored } = lease;
  const fromCache = stored.receivedBytes;
  // Others may have brought the task this far.
  const before = peer?.ledger.since(NOTHING) ?? NOTHING;
  const duplicateBefore = peer?.ledger.duplicate ?? 0;
  yield { type: 'started', task, url: request.url, ...lengthOf(stored) };
  if (peer !== undefined) {
    for await (const event of progressOf(peer, { before, fromCache, clock, signal, lease }))
      yield event;
  }
  const digest = await engine.checkStored(stored, request.digest, { signal });
  const length = stored.length ?? stored.receivedBytes;
  const sources = peer?.ledger.since(before) ?? NOTHING;
  yield {
    type: 'done',
    task,
    version: stored.version,
    length,
    ...(digest === undefined ? {} : { digest }),
    seconds: seconds(),
    ...sources,
    fromCache,
    duplicate: (peer?.ledger.duplicate ?? 0) - duplicateBefore,
    path: stored.path,
    ...(request.explain === true ? { explain: peer?.ledger.explain() ?? CACHED } : {}),
  };
}

/** Registers and takes part. News of the task that comes in between is kept until then. */
export async function begin(
  engine: Engine,
  request: DownloadRequest,
  options: JoinOptions,
): Promise<
  | { readonly registration: InlineRegistration; readonly lease: undefined }
  | { readonly registration: SwarmRegistration; readonly lease: TaskLease }
> {
  using _news = engine.tasks.expect(taskIdOf(request));
  const registration = await engine.register(request, options);
  if (registration.kind === 'inline') return { registration, lease: undefined };
  return { registration, lease: await engine.join(registration, options) };
}

const NOTHING = { fromPeers: 0, fromSeed: 0, fromOrigin: 0 };
const INLINE = { sources: [], waits: [], notes: ['small enough to come inside the reply'] };
const CACHED = { sources: [], waits: [], notes: ['complete and still valid on this host'] };

async function* progressOf(
  peer: TaskPeer,
  options: {
    readonly before: { fromPeers: number; fromSeed: number; fromOrigin: number };
    readonly fromCache: number;
    readonly clock: Clock;
    readonly signal: AbortSignal;
    readonly lease: { readonly finished: Promise<void> };
  },
): AsyncGenerator<DownloadEvent> {
  const { before, fromCache, clock, signal, lease } = options;
  const { stored, ledger } = peer;
  let isFinished = false;
  let wake: (() => void) | undefined;
  // Raced with a timer at each turn, the promise would gather a listener for each.
  const finished = lease.finished.finally(() => {
    isFinished = true;
    wake?.();
  });
  finished.catch(() => undefined);
  let last = { ms: clock.monotonic(), bytes: stored.receivedBytes };
  let rate = 0;
  while (!isFinished) {
    const { promise, resolve } = Promise.withResolvers<void>();
    wake = resolve;
    const tick = clock.after(PROGRESS_MS, resolve);
    await abortable(promise, signal).finally(() => tick.cancel());
    const now = clock.monotonic();
    const received = stored.receivedBytes;
    const current = ((received - last.bytes) / Math.max(now - last.ms, 1)) * 1000;
    // Half-life of about a second: steady enough to read, quick enough to believe.
    rate = rate === 0 ? current : rate * 0.85 + current * 0.15;
    last = { ms: now, bytes: received };
    const sources = { ...ledger.since(before), fromCache };
    const bytesPerSecond = Math.round(rate);
    yield { type: 'progress', received, ...lengthOf(stored), bytesPerSecond, ...sources };
    const { waiting } = ledger;
    if (waiting !== undefined && waiting.ms > STALL_MS) {
      yield { type: 'stalled', reason: waiting.reason, ms: Math.round(waiting.ms) };
    }
  }
  await finished;
}

function lengthOf(stored: { readonly length: number | undefined }): { length?: number } {
  return stored.length === undefined ? {} : { length: stored.length };
}

/** The `failed` event of an error. */
export function failedEvent(error: unknown): DownloadEvent {
  return { type: 'failed', ...CodedError.from(error).toObject() };
}
