// What tests of the mesh share: nodes on loopback, and a wire between them that can be frozen or cut.
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { SystemClock } from '../../core/base/clock.ts';
import { silentLog } from '../../core/base/log.ts';
import { SystemRandom } from '../../core/base/random.ts';
import { HostKey } from '../../core/identity/host-key.ts';
import { MeshNode } from '../../core/net/mesh/mesh-node.ts';
import type { MeshNodeOptions } from '../../core/net/mesh/mesh-node.ts';

/** A machine that runs many tests at once must not fail those that are not about time. */
const PATIENT = { dialMs: 45_000, upgradeMs: 45_000, stepMs: 45_000 };

/** A node with a new key; it listens on a free port of loopback when `listens` is true. */
export async function startNode(
  options: Partial<MeshNodeOptions> & { listens?: boolean } = {},
): Promise<MeshNode> {
  const { listens = false, limits, ...rest } = options;
  return MeshNode.start({
    privateKeyProtobuf: HostKey.generate().libp2pPrivateKey(),
    clock: new SystemClock(),
    random: new SystemRandom(),
    log: silentLog,
    ...(listens ? { listen: { host: '127.0.0.1', port: 0 } } : {}),
    ...rest,
    limits: { ...PATIENT, ...limits },
  });
}

/** `HOST:PORT` of a node started by `startNode({ listens: true })`. */
export function addressOf(node: MeshNode): string {
  return `127.0.0.1:${node.port}`;
}

/** A TCP relay in front of a port: it can stop passing bytes on, or drop its connections. */
export class Wire implements AsyncDisposable {
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #sockets: Set<Socket>;

  private constructor(server: ReturnType<typeof createServer>, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    this.port = (server.address() as AddressInfo).port;
  }

  static async to(port: number | undefined): Promise<Wire> {
    const sockets = new Set<Socket>();
    const server = createServer((near) => {
      const far = connect(port ?? 0, '127.0.0.1');
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(socket);
        socket.on('error', () => other.destroy());
        socket.on('close', () => other.destroy());
        socket.pipe(other);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Wire(server, sockets);
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Bytes stop moving, connections stay: a host that lost its power, seen from afar. */
  freeze(): void {
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  /** Connections break at once: a process that was killed. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
