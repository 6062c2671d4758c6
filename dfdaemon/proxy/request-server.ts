/** The HTTP server that the proxy's port and its opened tunnels have in common. */
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';

const MAX_HEADER_BYTES = 64 * 1024;
/** Held to while the server listens; a connection that it is given has `IDLE_MS`. */
const HEADERS_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
/** A connection on which nothing moves; origins may take long to answer. */
const IDLE_MS = 600_000;
const CHECK_MS = 5000;

/** A server with the proxy's limits, which does not listen yet. */
export function createRequestServer(serve: RequestListener): Server {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      // Uploads may take as long as they move.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: CHECK_MS,
      joinDuplicateHeaders: true,
    },
    serve,
  );
  server.timeout = IDLE_MS;
  return server;
}
