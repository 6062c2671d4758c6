import type { IncomingMessage, ServerResponse } from 'node:http';

/** Answers one request of a client; never throws: what goes wrong is in the answer, or ends the connection. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;
