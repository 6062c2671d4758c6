import { LRUCache } from 'lru-cache';
import { SystemClock } from '../../base/clock.ts';
import type { Timer } from '../../base/clock.ts';
import { CodedError } from '../../base/error.ts';
import type { Log } from '../../base/log.ts';
import { peerIdOfCertificate } from '../../identity/certificate.ts';
import { HostKey } from '../../identity/host-key.ts';
import { verifySignature } from '../../identity/peer-id.ts';
import { CellTrust } from '../../identity/trust.ts';
import type { CellTrustData } from '../../identity/trust.ts';
import type { Channel, HaveNews } from '../../net/link/channel.ts';
import { Compression } from '../../compression/compression.ts';
import { noCompression } from '../../compression/compression-stats.ts';
import { LinkEndpoint } from '../../net/link/endpoint.ts';
import type { FetchResult } from '../../net/link/piece-fetch.ts';
import type { ServedTask } from '../../net/link/served-task.ts';
import { RateLimiter } from '../../net/pacing.ts';
import type { FarRate } from '../far-turns.ts';
import type {
  ReceivedBytes,
  TransferEvents,
  TransferInit,
  TransferOperations,
  TransferStats,
  TransferTask,
  TransferTrust,
} from '../transfer-messages.ts';
import { PieceWriter, countOf, hasPiece, lengthOfPiece, piecesOf } from './task-files.ts';
import type { TaskFiles } from './task-files.ts';

type Args<N extends keyof TransferOperations> = TransferOperations[N]['args'];
type Emit = <N extends keyof TransferEvents>(name: N, value: TransferEvents[N]) => void;

const MAX_PEERS = 4_096;
/** Other idcs with a limiter: as many as the main thread keeps. */
const MAX_IDCS = 4_096;
/**
 * Twenty parents announce hundreds of pieces a second: told together, at a cost of 1 % of the time in simulation.
 * What comes after a silence is told at once, for somebody may wait for the first bytes.
 */
const HAVE_MS = 25;

/** The piece links of one worker: serves the tasks it knows and takes pieces for the main thread. */
export class LinkHost {
  readonly #endpoint: LinkEndpoint;
  /** By idc; one for all its hosts, so that they share by class and task. */
  readonly #farLimiters = new LRUCache<string, RateLimiter>({ max: MAX_IDCS });
  readonly #compression: Compression | undefined;
  readonly #files: TaskFiles;
  readonly #emit: Emit;
  readonly #clock = new SystemClock();
  readonly #channels = new Map<number, Channel>();
  readonly #manifests = new Map<string, string[]>();
  /** By task, the pieces that are not for everybody yet, and to whom each was offered. */
  readonly #offers = new Map<string, Map<number, Set<string>>>();
  /** When the record of each linked peer ends. */
  readonly #recordEnds = new LRUCache<string, number>({ max: MAX_PEERS });
  readonly #have = new Map<number, { pieces: number[]; offers: number[]; load: number }>();
  /** When that was told last. */
  #toldMs = Number.NEGATIVE_INFINITY;
  #haveTimer: Timer | undefined;
  #trust: CellTrust | undefined;
  #isSupervised = false;
  #record = '';
  /** Cell time minus monotonic time. */
  #timeOffset = 0;

  constructor(
    options: NonNullable<TransferInit['link']>,
    parts: { readonly files: TaskFiles; readonly log: Log; readonly emit: Emit },
  ) {
    this.#files = parts.files;
    this.#emit = parts.emit;
    const key = HostKey.fromPem(options.hostKeyPem);
    const { log } = parts;
    const isCompressing = options.isCompressing === true;
    this.#compression = isCompressing ? new Compression({ clock: this.#clock, log }) : undefined;
    this.#endpoint = new LinkEndpoint({
      identity: {
        peerId: key.peerId,
        keyPem: options.certificateKeyPem,
        certificatePem: options.certificatePem,
        sign: (bytes) => key.sign(bytes),
      },
      trust: {
        peerIdOfCertificate,
        verifySignature,
        verifyMember: (record, peerId) => {
          const { expires } = this.#trusted().verifyRecord(record, { peerId, now: this.#now() });
          this.#recordEnds.set(peerId, expires);
        },
        verifyTicket: (ticket, about) => {
          const graceUntil = this.#isSupervised ? undefined : this.#recordEnds.get(about.child);
          this.#trusted().verifyTicket(ticket, { ...about, now: this.#now(), graceUntil });
        },
      },
      record: () => this.#record,
      encryption: options.encryption,
      findTask: (task, version, child) => this.#served(`${task}/${version}`, child),
      clock: this.#clock,
      log,
      compression: this.#compression,
      uploadLimiter: new RateLimiter(options.uploadRate ?? 0, this.#clock),
      downloadLimiter: new RateLimiter(options.downloadRate ?? 0, this.#clock),
    });
  }

  setTrust(trust: TransferTrust): void {
    // Our own main thread sends what CellTrust.toData() made.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    this.#trust = CellTrust.fromData(trust.cell as CellTrustData);
    this.#record = trust.record;
    this.#isSupervised = trust.isSupervised;
    this.#timeOffset = trust.now - this.#clock.monotonic();
    this.#endpoint.recheck();
  }

  async listen(args: Args<'listen'>): Promise<{ port: number }> {
    return this.#endpoint.listen(args);
  }

  drop(key: string): void {
    this.#manifests.delete(key);
    this.#offers.delete(key);
    const served = this.#files.find(key);
    if (served !== undefined) this.#endpoint.withdraw(served);
  }

  keepManifest({ key, batches, replace }: Args<'manifest'>): void {
    // A task that was dropped meanwhile leaves nothing behind.
    if (this.#files.find(key) === undefined) return;
    const known = this.#manifests.get(key);
    if (replace || known === undefined) this.#manifests.set(key, [...batches]);
    else known.push(...batches);
  }

  announce({ key, pieces, to }: Args<'announce'>): void {
    const { task, version } = this.#files.get(key);
    if (to !== undefined) this.#noteOffer(key, to, pieces);
    else for (const piece of pieces) this.#offers.get(key)?.delete(piece);
    this.#endpoint.announce({ task, version, pieces, to });
  }

  retract({ key, pieces }: Args<'retract'>): void {
    const { task, version } = this.#files.get(key);
    this.#endpoint.retract({ task, version, pieces });
  }

  offerManifest({ key, batches }: Args<'offer-manifest'>): void {
    const { task, version } = this.#files.get(key);
    this.#endpoint.offerManifest({ task, version, batches });
  }

  #farLimiter({ idc, memory }: FarRate): RateLimiter {
    const limiter = this.#farLimiters.get(idc) ?? new RateLimiter(memory, this.#clock);
    this.#farLimiters.set(idc, limiter);
    return limiter;
  }

  async openChannel(
    args: Args<'channel-open'>,
    signal: AbortSignal,
  ): Promise<{ pieces: readonly number[]; address: string }> {
    const { channel: id, peer, addresses, task, version, ticket, rate, farRate } = args;
    const link = await this.#endpoint.connect({ peerId: peer, addresses }, { signal });
    const channel = await link.open(
      {
        task,
        version,
        ticket,
        limiter: rate && new RateLimiter(rate, this.#clock),
        farLimiter: farRate && this.#farLimiter(farRate),
        onHave: (news) => this.#gatherHave(id, news),
        onUnhave: (pieces) => {
          // In the order they were said: what is withdrawn may have been announced a moment ago.
          this.#tellHave();
          this.#emit('unhave', { channel: id, pieces });
        },
        onManifest: (batches) => this.#emit('manifest', { channel: id, batches }),
        onWasted: (bytes) => this.#emit('wasted', { channel: id, bytes }),
      },
      { signal },
    );
    this.#channels.set(id, channel);
    void channel.closed.then((error) => {
      this.#channels.delete(id);
      const { code, message } = error ?? new CodedError('ERR_LINK', 'the channel was closed');
      this.#emit('channel-closed', { channel: id, code, message });
    });
    return { pieces: channel.have.indexes(), address: link.remoteAddress };
  }

  renew({ channel, ticket }: Args<'channel-ticket'>): void {
    this.#channels.get(channel)?.renew(ticket);
  }

  closeChannel(channel: number): void {
    this.#channels.get(channel)?.close();
  }

  askManifest(channel: number): void {
    this.#channels.get(channel)?.askManifest();
  }

  receivedBytes(id: number): ReceivedBytes {
    const channel = this.#channels.get(id);
    return {
      bytes: channel?.receivedBytes ?? 0,
      allBytes: this.#endpoint.stats().bytesIn,
      parents: this.#channels
        .values()
        .reduce((sum, { fetching }) => sum + Math.min(1, fetching), 0),
      isHeldBack: channel?.isHeldBack === true,
    };
  }

  /** Takes one piece: hashed and written as it comes, and kept only if its digest is right. */
  async fetch(args: Args<'fetch'>, signal: AbortSignal): Promise<FetchResult> {
    const channel = this.#channels.get(args.channel);
    if (channel === undefined) throw new CodedError('ERR_LINK', 'the channel is closed');
    const { piece, length, digest, isUrgent, priority, isTold: isRaw = false } = args;
    const writer = new PieceWriter(this.#files, this.#files.get(args.key), piece);
    // Told of the first bytes and then of each doubling.
    let toldBytes = 0;
    const sink = {
      write: (_offset: number, chunk: Uint8Array): void => {
        writer.write(chunk);
        if (args.isTold !== true || writer.bytes < 2 * toldBytes) return;
        toldBytes = writer.bytes;
        this.#emit('piece-came', { channel: args.channel, piece, bytes: toldBytes });
      },
      finish: (): void => {
        if (writer.digest() === digest) return;
        throw new CodedError('ERR_PIECE_DIGEST', `piece ${piece} from ${channel.peerId} is wrong`, {
          detail: { peer: channel.peerId, piece },
        });
      },
      abort: (): void => undefined,
    };
    return channel.fetch({ piece, length, sink, isUrgent, isRaw, priority }, { signal });
  }

  /** Takes a request back that waits in the parent's line. */
  async takeBack({ channel, piece }: Args<'fetch-back'>): Promise<boolean> {
    return (await this.#channels.get(channel)?.takeBack(piece)) === true;
  }

  stats(): Omit<TransferStats, 'originBytes'> {
    const { bytesIn, bytesOut, receivedBytes, duplicateBytes, links, channels, ...sent } =
      this.#endpoint.stats();
    const { activeUploads, queuedBytes } = sent;
    const { stats: compression = noCompression } = this.#compression ?? {};
    const now = { links, channels, activeUploads, queuedBytes, compression };
    return { bytesIn, bytesOut, receivedBytes, duplicateBytes, ...now };
  }

  async close(): Promise<void> {
    await this.#endpoint.close();
    await this.#compression?.[Symbol.asyncDispose]();
  }

  /** What parents announce within a moment is told together: one message to the main thread, not one a piece. */
  #gatherHave(channel: number, { pieces, isOffer, load }: HaveNews): void {
    const known = this.#have.get(channel) ?? { pieces: [], offers: [], load };
    this.#have.set(channel, known);
    for (const piece of pieces) (isOffer ? known.offers : known.pieces).push(piece);
    known.load = load;
    const restMs = Math.max(0, this.#toldMs + HAVE_MS - this.#clock.monotonic());
    this.#haveTimer ??= this.#clock.after(restMs, () => this.#tellHave());
  }

  #tellHave(): void {
    this.#haveTimer?.cancel();
    this.#haveTimer = undefined;
    if (this.#have.size === 0) return;
    this.#toldMs = this.#clock.monotonic();
    const news = [...this.#have].map(([channel, told]) => ({ channel, ...told }));
    this.#have.clear();
    this.#emit('have', news);
  }

  #trusted(): CellTrust {
    if (this.#trust === undefined)
      throw new CodedError('ERR_NOT_MEMBER', 'this host has not joined');
    return this.#trust;
  }

  #now(): number {
    return this.#timeOffset + this.#clock.monotonic();
  }

  #noteOffer(key: string, child: string, pieces: readonly number[]): void {
    const byPiece = this.#offers.get(key) ?? new Map<number, Set<string>>();
    this.#offers.set(key, byPiece);
    for (const piece of pieces) {
      const children = byPiece.get(piece) ?? new Set<string>();
      byPiece.set(piece, children.add(child));
    }
  }

  #served(key: string, child: string): ServedTask | undefined {
    const task = this.#files.find(key);
    if (task === undefined) return undefined;
    const current = (): TransferTask => this.#files.get(key);
    return {
      pieceLength: task.pieceLength,
      lengthOf: (piece) => lengthOfPiece(current(), piece),
      has: (piece) => hasPiece(current(), piece),
      haveMap: () => haveMapOf(current()),
      offers: () => this.#offersTo(current(), child),
      pieceCount: () => countOf(current()),
      read: (piece, offset, target) => this.#read(current(), { piece, offset, target }),
      mediaType: () => this.#files.mediaType(key),
      manifest: () => this.#manifests.get(key) ?? [],
    };
  }

  #read(
    task: TransferTask,
    from: { readonly piece: number; readonly offset: number; readonly target: Uint8Array },
  ): number {
    // An output that shares the file may be edited by its user: nothing altered is sent.
    if (from.offset === 0 && this.#files.isAltered(task)) {
      this.#emit('altered', { key: task.key });
      throw new CodedError('ERR_NOT_FOUND', 'the stored file was altered');
    }
    return this.#files.read(task.key, from.piece * task.pieceLength + from.offset, from.target);
  }

  /** What a seed wants this child to take first. */
  #offersTo(task: TransferTask, child: string): number[] {
    const offers = this.#offers.get(task.key) ?? [];
    return [...offers].flatMap(([piece, children]) =>
      children.has(child) && hasPiece(task, piece) ? [piece] : [],
    );
  }
}

/** What everybody may know of: all of it, or at a seed what it announced to everybody. */
function haveMapOf(task: TransferTask): Uint8Array {
  const pieces = piecesOf(task);
  if (task.offered === undefined) return pieces.snapshot();
  return task.offered.map((byte, index) => byte & (pieces.bytes[index] ?? 0));
}
