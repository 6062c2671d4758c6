import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';

/** Content that a relay stops in mid-way: `passed` resolves when so many bytes of it went through. */
export interface Hold {
  readonly afterBytes: number;
  readonly passed: () => void;
  /** Resolves when the rest may go through. */
  readonly until: Promise<void>;
}

/**
 * The socket of a dfdaemon as a dfget in a container sees it: one that speaks, but whose files are not there. So
 * content comes over the socket, and a test can stop it in mid-way and knows that the output is half-written then.
 */
export class SocketRelay implements AsyncDisposable {
  readonly path: string;
  readonly #server: Server;
  readonly #target: string;
  /** Applies to the next content that is asked for, once. */
  hold: Hold | undefined;

  private constructor(path: string, target: string) {
    this.path = path;
    this.#target = target;
    this.#server = createServer((request, response) => {
      // Whoever broke off, the other one learns it.
      this.#relay(request, response).catch(() => response.destroy());
    });
  }

  /** Listens on `path` and passes everything on to the socket `target`. */
  static async start(path: string, target: string): Promise<SocketRelay> {
    const relay = new SocketRelay(path, target);
    relay.#server.listen(path);
    await once(relay.#server, 'listening');
    return relay;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #relay(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url: path, headers } = request;
    const onward = httpRequest({ socketPath: this.#target, method, path, headers, agent: false });
    response.once('close', () => onward.destroy());
    request.pipe(onward);
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      onward.once('response', resolve).once('error', reject);
    });
    response.writeHead(answer.statusCode ?? 500, answer.headers);
    if (path === '/v1/downloads') await passEvents(answer, response);
    else
      await passBytes(
        answer,
        response,
        path?.includes('/content') === true ? this.#take() : undefined,
      );
    if (answer.complete) response.end();
    else response.destroy();
  }

  #take(): Hold | undefined {
    const { hold } = this;
    this.hold = undefined;
    return hold;
  }
}

async function passEvents(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  for await (const line of createInterface({ input: answer })) {
    const { path: _elsewhere, ...event } = JSON.parse(line) as { readonly path?: string };
    response.write(`${JSON.stringify(event)}\n`);
  }
}

async function passBytes(
  answer: IncomingMessage,
  response: ServerResponse,
  hold: Hold | undefined,
): Promise<void> {
  let passed = 0;
  let left = hold;
  for await (const chunk of answer as AsyncIterable<Uint8Array>) {
    if (!response.write(chunk)) await once(response, 'drain');
    passed += chunk.length;
    if (left === undefined || passed < left.afterBytes) continue;
    left.passed();
    await left.until;
    left = undefined;
  }
}
