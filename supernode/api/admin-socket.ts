import { chmod, rename, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { CodedError, systemCode } from '../../core/base/error.ts';
import type { Log } from '../../core/base/log.ts';
import { addAdminRoutes } from './admin-routes.ts';
import { adminSocketPath } from './admin-socket-path.ts';
import { newApiApp } from './fastify-app.ts';
import type { ApiApp } from '../../core/base/api-app.ts';
import type { SupernodeActions } from './supernode-view.ts';

/** What fits into `sun_path`, the closing zero aside. */
const MAX_SOCKET_PATH_BYTES = 107;

/** The API of the user who runs the supernode: tokens and revocation, over a Unix socket that only he can open. */
export class AdminSocket implements AsyncDisposable {
  readonly #app: ApiApp;
  readonly #path: string;

  private constructor(app: ApiApp, path: string) {
    this.#app = app;
    this.#path = path;
  }

  /** Listens in the data folder, whose `identity` folder exists; ERR_STORE_LOCKED when somebody answers there. */
  static async open(options: {
    readonly dataDir: string;
    readonly actions: SupernodeActions;
    readonly log: Log;
  }): Promise<AdminSocket> {
    const { dataDir, actions, log } = options;
    const path = adminSocketPath(dataDir);
    if (await isAnswered(path)) {
      throw new CodedError('ERR_STORE_LOCKED', `another supernode listens on ${path}`);
    }
    // Made where nobody else can go, and moved when its mode is right.
    const draft = join(dataDir, 'identity', 'admin.sock');
    if (Buffer.byteLength(draft) > MAX_SOCKET_PATH_BYTES) {
      throw new CodedError('ERR_CONFIG', `--data-dir: ${dataDir} is too long for a Unix socket`);
    }
    const app = newApiApp(log);
    addAdminRoutes(app, () => actions);
    try {
      await removeIfThere(draft);
      await app.listen({ path: draft });
      await chmod(draft, 0o600);
      await rename(draft, path);
      return new AdminSocket(app, path);
    } catch (cause) {
      await app.close();
      const reason = systemCode(cause) ?? String(cause);
      throw new CodedError('ERR_STORE_IO', `cannot listen on ${path} (${reason})`, { cause });
    }
  }

  /** Closes and removes the socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    await removeIfThere(this.#path);
    await this.#app.close();
  }
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/** True when a program listens on the socket; a file that a killed one left behind answers nobody. */
async function isAnswered(path: string): Promise<boolean> {
  const socket = connect({ path });
  const { promise, resolve } = Promise.withResolvers<boolean>();
  socket.once('connect', () => resolve(true));
  socket.once('error', () => resolve(false));
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
