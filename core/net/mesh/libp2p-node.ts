// The one place that sets libp2p up. Its defaults are for a public network of browsers and strangers: 5 connections a
// second from one address, 300 in all, unbounded write buffers, a peer store that remembers everybody. Each default
// that would bite is set here, and whatever we do not use (identify, ping, discovery, routing, reconnecting) is off.
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { privateKeyFromProtobuf } from '@libp2p/crypto/keys';
import { FaultTolerance } from '@libp2p/interface';
import type {
  ComponentLogger,
  Connection,
  ConnectionEncrypter,
  ConnectionGater,
  Ed25519PrivateKey,
  Libp2p,
  Logger,
  MessageStream,
  PeerId,
  SecuredConnection,
} from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { createLibp2p } from 'libp2p';
import { CodedError } from '../../base/error.ts';
import { tcpMultiaddr } from './mesh-address.ts';
import type { MeshLimits } from './mesh-limits.ts';
import { emptyDatastore } from './empty-datastore.ts';
import { noiseCrypto, signingOnce } from './noise-crypto.ts';
import { readLengthsQuietly } from './noise-lengths.ts';
import { WINDOW_BYTES } from './stream-window.ts';

/** What may wait in a connection; streams stop when it is saturated, with up to one window each on the way. */
const MAX_UNWRITTEN_BYTES = WINDOW_BYTES * 4;

/** Writes to a saturated connection; an honest peer causes at most one for each frame of its own windows. */
const MAX_DEAF_WRITES = 8_192;

export interface Libp2pNodeOptions {
  readonly privateKeyProtobuf: Uint8Array;
  readonly listen?: { readonly host: string; readonly port: number } | undefined;
  readonly limits: MeshLimits;
  readonly gater: ConnectionGater;
}

/** A started libp2p node. Throws ERR_KEY_FILE, ERR_ADDRESS_IN_USE, or ERR_CONFIG for an address it cannot listen on. */
export async function startLibp2p(options: Libp2pNodeOptions): Promise<Libp2p> {
  const { limits, listen, gater } = options;
  const privateKey = ed25519Key(options.privateKeyProtobuf);
  const datastore = emptyDatastore();
  const listenOn = listen === undefined ? [] : [tcpMultiaddr(listen.host, listen.port).toString()];
  const inactivityMs = Math.max(60_000, limits.keepAliveMs * (limits.maxMissedKeepAlives + 2));
  const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 };
  try {
    const node = await createLibp2p({
      privateKey,
      datastore,
      addresses: { listen: listenOn },
      transports: [
        tcp({
          inboundSocketInactivityTimeout: inactivityMs,
          outboundSocketInactivityTimeout: inactivityMs,
          maxConnections: limits.maxConnections + limits.maxStrangers * 2,
          backlog: 511,
          dialOpts: socketOptions,
          listenOpts: { ...socketOptions, ...dualStack() },
        }),
      ],
      transportManager: { faultTolerance: FaultTolerance.FATAL_ALL },
      connectionEncrypters: [boundedNoise()],
      streamMuxers: [yamux(muxerOptions(limits))],
      connectionGater: gater,
      connectionMonitor: { enabled: false },
      connectionManager: connectionOptions(limits),
      logger: quietLogger,
      nodeInfo: { name: 'odonata', version: '1', userAgent: 'odonata' },
    });
    listConnectionsInOneGo(node);
    noteNoProtocols(node);
    return node;
  } catch (error) {
    throw startError(error, listen);
  }
}

function ed25519Key(protobuf: Uint8Array): Ed25519PrivateKey {
  try {
    const key = privateKeyFromProtobuf(protobuf);
    if (key.type === 'Ed25519') return signingOnce(key);
  } catch (error) {
    throw new CodedError('ERR_KEY_FILE', 'the key of this node is malformed', { cause: error });
  }
  throw new CodedError('ERR_KEY_FILE', 'the key of this node is not an ed25519 key');
}

/** `::` takes v4 as well; libp2p would set it v6 only. The option is Node's, libp2p passes it on. */
function dualStack(): { ipv6Only: boolean } {
  return { ipv6Only: false };
}

function connectionOptions(limits: MeshLimits) {
  return {
    // Members and strangers are counted apart by our own guard; this is the sum.
    maxConnections: limits.maxConnections + limits.maxStrangers,
    maxIncomingPendingConnections: limits.maxStrangers,
    inboundConnectionThreshold: limits.maxConnectionRate,
    inboundUpgradeTimeout: limits.upgradeMs,
    inboundStreamProtocolNegotiationTimeout: limits.stepMs,
    outboundStreamProtocolNegotiationTimeout: limits.stepMs,
    connectionCloseTimeout: limits.closeMs,
    maxParallelDials: 64,
    maxDialQueueLength: 256,
    dialTimeout: limits.dialMs,
    // The dialer shares the time out among the addresses of a name.
    addressDialTimeout: limits.dialMs,
    reconnectRetries: 0,
    maxParallelReconnects: 1,
  };
}

function muxerOptions(limits: MeshLimits) {
  return {
    // Sessions have signs of life of their own, and no round trip time means that windows stay as they are.
    enableKeepAlive: false,
    maxInboundStreams: limits.maxStreams,
    maxOutboundStreams: limits.maxStreams,
    maxEarlyStreams: limits.maxStreams,
    maxMessageSize: 65_536,
    streamOptions: {
      initialStreamWindowSize: WINDOW_BYTES,
      maxStreamWindowSize: WINDOW_BYTES,
      maxReadBufferLength: WINDOW_BYTES * 2,
      // A session hands over one frame at a time and waits when told to.
      maxWriteBufferLength: limits.maxFrameBytes * 2,
    },
  };
}

interface ConnectionManager {
  getConnections(peerId?: PeerId): Connection[];
}

interface PeerStore {
  merge(...args: readonly unknown[]): Promise<unknown>;
}

/**
 * libp2p counts its connections twice for each that comes, and copies the list once for each peer to do so: 1.1 ms for
 * a thousand peers, 5.3 ms for two thousand, as much as a handshake.
 */
function listConnectionsInOneGo(node: Libp2p): void {
  const manager = partOf(node, 'connectionManager');
  if (!isConnectionManager(manager)) throw new TypeError('libp2p has no connection manager');
  const all = new Set<Connection>();
  node.addEventListener('connection:open', ({ detail }) => {
    if (detail.status === 'open') all.add(detail);
  });
  node.addEventListener('connection:close', ({ detail }) => void all.delete(detail));
  const ofPeer = manager.getConnections.bind(manager);
  manager.getConnections = (peerId) => (peerId === undefined ? [...all] : ofPeer(peerId));
}

/** libp2p notes for each stream what its peer speaks, encoded and looked up in a store that forgets: 7 % of a handshake. */
function noteNoProtocols(node: Libp2p): void {
  const store = partOf(node, 'peerStore');
  if (!isPeerStore(store)) throw new TypeError('libp2p has no peer store');
  store.merge = async () => undefined;
}

function partOf(node: Libp2p, name: string): unknown {
  const components: unknown = Reflect.get(node, 'components');
  return isObject(components) ? Reflect.get(components, name) : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function isConnectionManager(value: unknown): value is ConnectionManager {
  return isObject(value) && 'getConnections' in value;
}

function isPeerStore(value: unknown): value is PeerStore {
  return isObject(value) && 'merge' in value;
}

type NoiseComponents = Parameters<ReturnType<typeof noise>>[0];

/**
 * Noise that drops a peer which asks and never reads. Yamux answers pings and refused streams without looking at
 * back-pressure; the answers are tiny, so their number is bounded besides their bytes (at 12 bytes each, 6 MiB of
 * them took 200 MB of memory).
 */
function boundedNoise(): (components: NoiseComponents) => ConnectionEncrypter {
  return (components) => {
    const inner = noise({ crypto: noiseCrypto() })(components);
    return {
      protocol: inner.protocol,
      secureInbound: async (socket, options) =>
        bounded(await inner.secureInbound(inOnePiece(socket), options)),
      secureOutbound: async (socket, options) =>
        bounded(await inner.secureOutbound(inOnePiece(socket), options)),
    };
  };
}

/** Noise writes a length and then the bytes; in one write, a round trip takes 6 TCP segments in place of 10. */
function inOnePiece(socket: MessageStream): MessageStream {
  const send = socket.send.bind(socket);
  socket.send = (data) => send(data instanceof Uint8Array ? data : data.subarray());
  return socket;
}

function bounded<T>(secured: SecuredConnection<T>): SecuredConnection<T> {
  const { connection } = secured;
  readLengthsQuietly(connection);
  const send = connection.send.bind(connection);
  let deaf = 0;
  connection.maxWriteBufferLength = MAX_UNWRITTEN_BYTES;
  connection.addEventListener('drain', () => (deaf = 0));
  connection.send = (data) => {
    deaf = connection.writableNeedsDrain ? deaf + 1 : 0;
    if (deaf <= MAX_DEAF_WRITES) return send(data);
    connection.abort(new CodedError('ERR_BUSY', 'the peer asks and does not read the answers'));
    return false;
  };
  return secured;
}

const quietLog: Logger = Object.assign(() => undefined, {
  enabled: false,
  error: () => undefined,
  trace: () => undefined,
  newScope: () => quietLog,
});

/** libp2p's own words are for its makers; what matters reaches us as errors and events. */
const quietLogger: ComponentLogger = { forComponent: () => quietLog };

function startError(error: unknown, listen: Libp2pNodeOptions['listen']): CodedError {
  const message = error instanceof Error ? error.message : String(error);
  if (listen === undefined) return CodedError.from(error);
  const where = `${listen.host} port ${listen.port}`;
  // libp2p keeps no cause, but prints the system's code.
  const code = /\b(E[A-Z]{4,})\b/.exec(message)?.[1] ?? 'unknown';
  if (code === 'EADDRINUSE') {
    return new CodedError('ERR_ADDRESS_IN_USE', `${where} is taken by another program`, {
      cause: error,
      detail: { host: listen.host, port: listen.port },
    });
  }
  return new CodedError('ERR_CONFIG', `cannot listen on ${where}: ${code}`, { cause: error });
}
