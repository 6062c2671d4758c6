/**
 * One side of `bench link`, in a process of its own: the transfer worker that every dfdaemon has, told what to do
 * by the benchmark in place of a download. Nothing but calls passes through the main thread, as in dfdaemon.
 */
import { statSync } from 'node:fs';
import { SystemClock } from '../../core/base/clock.ts';
import { CodedError } from '../../core/base/error.ts';
import { silentLog } from '../../core/base/log.ts';
import { servePort } from '../../core/base/port-rpc.ts';
import type { PortPost } from '../../core/base/postbox.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { Bitfield } from '../../core/piece/bitfield.ts';
import { pieceCount } from '../../core/piece/piece-length.ts';
import { TransferThread } from '../../core/swarm/transfer-thread.ts';
import type { TransferCaller } from '../../core/swarm/transfer-thread.ts';
import type { LinkMember, LinkTask } from './link-member.ts';

/** Content and where it lies. */
export interface LinkFile extends LinkTask {
  readonly path: string;
  readonly length: number;
  readonly pieceLength: number;
}

/** What a side can be asked for. */
export interface LinkPeerOperations {
  /** Begins, and listens on loopback. */
  start: { args: LinkMember; result: { readonly port: number } };
  /** The file is whole: others may take it. */
  serve: { args: LinkFile; result: void };
  /** Takes every piece; seconds from the first request until the last piece is hashed and written. */
  take: {
    args: LinkFile & {
      readonly peer: string;
      readonly address: string;
      readonly ticket: string;
      /** sha256 of each piece, hex. */
      readonly digests: readonly string[];
    };
    result: { readonly seconds: number };
  };
}

/** Requests that wait at a parent: what the picker keeps in flight. */
const IN_FLIGHT = 8;
const CHANNEL = 1;
const clock = new SystemClock();
let thread: TransferThread | undefined;
let onChannelGone: (error: CodedError) => void = () => undefined;

function worker(): TransferCaller {
  if (thread?.worker === undefined) throw new CodedError('ERR_WORKER', 'the worker is gone');
  return thread.worker;
}

async function start(member: LinkMember): Promise<{ port: number }> {
  thread = await TransferThread.start({
    clock,
    random: new SystemRandom(),
    log: silentLog,
    prepare: async (caller) => {
      await caller.call('init', member.init);
      await caller.call('trust', member.trust);
    },
    onEvent: (event) => {
      if (event.name === 'channel-closed') onChannelGone(CodedError.fromObject(event.value));
    },
    onDeath: () => undefined,
  });
  return worker().call('listen', { host: '127.0.0.1', port: 0, reusePort: false });
}

async function serve(file: LinkFile): Promise<void> {
  const pieces = Bitfield.shared(pieceCount(file.length, file.pieceLength));
  for (let piece = 0; piece < pieces.length; piece += 1) pieces.set(piece);
  const { mtimeMs, size } = statSync(file.path);
  await putFile(file, pieces, { mtimeMs, size });
}

async function take(
  order: LinkPeerOperations['take']['args'],
  { signal }: { readonly signal: AbortSignal },
): Promise<{ seconds: number }> {
  const pieces = Bitfield.shared(order.digests.length);
  const key = keyOf(order);
  await putFile(order, pieces);
  const { peer, address, task, version, ticket } = order;
  const about = { channel: CHANNEL, peer, addresses: [address], key, task, version, ticket };
  await worker().call('channel-open', about, { signal });
  const gone = Promise.withResolvers<CodedError>();
  onChannelGone = gone.resolve;
  const startMs = clock.monotonic();
  const waiting = order.digests.entries();
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => lane(order, waiting, pieces)));
  const seconds = (clock.monotonic() - startMs) / 1000;
  if (!pieces.isFull) throw new CodedError('ERR_INTERNAL', 'pieces are missing');
  await worker().call('channel-close', { channel: CHANNEL });
  await gone.promise;
  await worker().call('task-drop', { key });
  return { seconds };
}

/** Takes one piece after the other of those that nobody took. */
async function lane(
  order: LinkPeerOperations['take']['args'],
  waiting: Iterator<[number, string]>,
  pieces: Bitfield,
): Promise<void> {
  const key = keyOf(order);
  for (;;) {
    const next = waiting.next();
    if (next.done === true) return;
    const [piece, digest] = next.value;
    const length = Math.min(order.pieceLength, order.length - piece * order.pieceLength);
    const request = {
      channel: CHANNEL,
      key,
      piece,
      length,
      digest,
      isUrgent: false,
      priority: 'normal',
    } as const;
    await worker().call('fetch', request);
    pieces.set(piece);
  }
}

async function putFile(
  file: LinkFile,
  pieces: Bitfield,
  sealed?: { readonly mtimeMs: number; readonly size: number },
): Promise<void> {
  await worker().call('task-put', {
    key: keyOf(file),
    task: file.task,
    version: file.version,
    path: file.path,
    pieceLength: file.pieceLength,
    length: file.length,
    pieces: pieces.bytes,
    capacity: pieces.length,
    ...(sealed === undefined ? {} : { sealed }),
  });
}

function keyOf({ task, version }: LinkTask): string {
  return `${task}/${version}`;
}

servePort<LinkPeerOperations>(
  {
    postMessage: (messages) => void process.send?.(messages),
    on: (_event, listener) =>
      process.on('message', (messages) => {
        // The benchmark sends what the table of operations says.
        // oxlint-disable-next-line typescript/no-unsafe-type-assertion
        listener(messages as PortPost);
      }),
  },
  { start, serve, take },
);
// The benchmark hangs up when it is done, however it ends.
process.once('disconnect', () => void thread?.[Symbol.asyncDispose]());
