import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { SystemClock } from '../../core/base/clock.ts';
import { contentChunks } from '../origin/content.ts';
import type { Content } from '../origin/content.ts';

/** What bencoding knows. */
export type Bencodable =
  | number
  | string
  | Uint8Array
  | readonly Bencodable[]
  | { readonly [key: string]: Bencodable };

/** BitTorrent's encoding (BEP 3). */
export function bencode(value: Bencodable): Buffer {
  if (typeof value === 'number') return Buffer.from(`i${value}e`);
  if (typeof value === 'string') return bencode(Buffer.from(value));
  if (value instanceof Uint8Array) return Buffer.concat([Buffer.from(`${value.length}:`), value]);
  if (Array.isArray(value)) {
    const items = value as readonly Bencodable[];
    return Buffer.concat([
      Buffer.from('l'),
      ...items.map((item) => bencode(item)),
      Buffer.from('e'),
    ]);
  }
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const parts = entries.flatMap(([key, item]) => [bencode(key), bencode(item)]);
  return Buffer.concat([Buffer.from('d'), ...parts, Buffer.from('e')]);
}

/** A torrent file of one content. */
export async function makeTorrent(
  content: Content,
  options: {
    readonly name: string;
    readonly length: number;
    readonly pieceLength: number;
    readonly announce: string;
  },
): Promise<Buffer> {
  const { name, length, pieceLength, announce } = options;
  const digests: Buffer[] = [];
  for (let start = 0; start < length; start += pieceLength) {
    const hash = createHash('sha1');
    const end = Math.min(length, start + pieceLength);
    for await (const chunk of contentChunks(content, start, end)) hash.update(chunk);
    digests.push(hash.digest());
  }
  const info = { length, name, 'piece length': pieceLength, pieces: Buffer.concat(digests) };
  return bencode({ announce, info });
}

/** How often clients ask for more peers; short, since they start within a second of each other. */
const INTERVAL_SECONDS = 5;
const MAX_PEERS = 50;
const clock = new SystemClock();

/** A BitTorrent tracker for one torrent, which remembers when each peer said that it has all. */
export class Tracker implements AsyncDisposable {
  readonly #server: Server;
  readonly #address: string;
  readonly #peers = new Map<string, number>();
  readonly #completed = new Map<string, number>();

  private constructor(address: string) {
    this.#address = address;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(address: string): Promise<Tracker> {
    const tracker = new Tracker(address);
    tracker.#server.listen(0, address);
    await once(tracker.#server, 'listening');
    return tracker;
  }

  get announceUrl(): string {
    const bound = this.#server.address();
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
    return `http://${this.#address}:${port}/announce`;
  }

  /** Addresses that have announced themselves. */
  get known(): ReadonlySet<string> {
    return new Set(this.#peers.keys());
  }

  /** Monotonic milliseconds at which the peer at each address had all; those that had it from the start are not here. */
  get completed(): ReadonlyMap<string, number> {
    return this.#completed;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const query = new URL(request.url ?? '/', this.announceUrl).searchParams;
    const address = query.get('ip') ?? request.socket.remoteAddress ?? '';
    const event = query.get('event');
    if (event === 'completed') this.#completed.set(address, clock.monotonic());
    if (event === 'stopped') this.#peers.delete(address);
    else this.#peers.set(address, Number(query.get('port')));
    const others = [...this.#peers].filter(([peer]) => peer !== address).slice(0, MAX_PEERS);
    const peers = Buffer.concat(others.map(([peer, port]) => compact(peer, port)));
    response.end(bencode({ interval: INTERVAL_SECONDS, 'min interval': INTERVAL_SECONDS, peers }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

function compact(address: string, port: number): Buffer {
  const bytes = address.split('.').map(Number);
  return Buffer.from([...bytes, port >> 8, port & 255]);
}
