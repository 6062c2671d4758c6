import type { FastifyInstance } from 'fastify';
import type { Clock } from '../../core/base/clock.ts';
import type { Log } from '../../core/base/log.ts';
import { addDownloadRoute } from './download-route.ts';
import { addHealthRoutes, addStatusRoute } from './host-routes.ts';
import { addKeepRoutes } from './keep-routes.ts';
import { addLimitRoutes } from './limit-routes.ts';
import { newHttpServer } from './http-server.ts';
import type { ServedHost } from './served-host.ts';
import { SocketFile } from './socket-file.ts';
import { addTaskRoutes } from './task-routes.ts';

/** Beside the downloads: questions about health, tasks and content, and the answer that there are too many. */
const OTHER_CONNECTIONS = 1_000;
/** Connecting to a Unix socket fails at once when the line is full; the kernel's own bound is 4,096. */
const BACKLOG = 4_096;

/** How the local API is opened. */
export interface LocalApiOptions {
  readonly host: ServedHost;
  readonly socket: { readonly path: string; readonly mode: number };
  readonly clock: Clock;
  readonly log: Log;
}

/** The HTTP API on a Unix socket: what dfget and the operator of this machine speak with. */
export class LocalApi implements AsyncDisposable {
  readonly #server: FastifyInstance;
  readonly #file: SocketFile;

  private constructor(server: FastifyInstance, file: SocketFile) {
    this.#server = server;
    this.#file = file;
  }

  /** Listens; throws ERR_ADDRESS_IN_USE or ERR_USAGE naming the socket. */
  static async open(options: LocalApiOptions): Promise<LocalApi> {
    const { host, clock, log } = options;
    const server = newHttpServer({ log, maxConnections: host.slots.max + OTHER_CONNECTIONS });
    addDownloadRoute(server, { host, clock, log });
    addTaskRoutes(server, host);
    addKeepRoutes(server, host);
    addHealthRoutes(server, host);
    addStatusRoute(server, host);
    addLimitRoutes(server, host);
    try {
      const file = await SocketFile.publish({
        ...options.socket,
        listen: async (path) => void (await server.listen({ path, backlog: BACKLOG })),
      });
      return new LocalApi(server, file);
    } catch (error) {
      await server.close();
      throw error;
    }
  }

  /** Nobody new finds the socket from now on; those connected are still answered. */
  async retire(): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }

  /** Closes all connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.retire();
    await this.#server.close();
  }
}
