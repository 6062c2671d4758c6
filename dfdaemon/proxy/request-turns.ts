import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** apt sends up to 10 requests ahead; nobody needs more. */
const MAX_AHEAD = 32;

interface Line {
  /** Requests that are not answered, the one in work included. */
  waiting: number;
  last: Promise<void>;
  /** Ends everybody's wait when the connection is gone. */
  readonly release: Set<() => void>;
}

/**
 * Requests that a client sends ahead on one connection, in turn: the next is begun once the last is answered, so that
 * answers never pile up in memory behind one that is slow or not read.
 */
export class RequestTurns {
  readonly #lines = new WeakMap<Socket, Line>();

  /** Resolves when it is the request's turn: true, or false when its connection is gone. */
  async take(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    const { socket } = request;
    const line = this.#lineOf(socket);
    if (line.waiting > MAX_AHEAD) socket.destroy();
    const before = line.last;
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = (): void => {
      if (line.release.delete(end)) line.waiting -= 1;
      resolve();
    };
    line.waiting += 1;
    line.release.add(end);
    line.last = promise;
    response.once('close', end);
    await before;
    return !socket.destroyed;
  }

  /** True while a request of this connection is not answered. */
  isBusy(socket: Socket): boolean {
    return (this.#lines.get(socket)?.waiting ?? 0) > 0;
  }

  #lineOf(socket: Socket): Line {
    const known = this.#lines.get(socket);
    if (known !== undefined) return known;
    const line: Line = { waiting: 0, last: Promise.resolve(), release: new Set() };
    this.#lines.set(socket, line);
    socket.once('close', () => {
      for (const end of line.release) end();
    });
    return line;
  }
}
